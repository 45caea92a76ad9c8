"""The pictures of a report: what the arms make of training images, and the test images that changed most."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape

import msgspec
import numpy as np
import PIL.Image
from markupsafe import Markup
from numpy.typing import NDArray

from augsuite.boxes import Boxes
from augsuite.dataset import Dataset, Sample
from augsuite.dataset.colors import class_color
from augsuite.errors import DataError
from augsuite.evaluation import Detections, Evaluator, LabelScores, best_threshold, read_labels, read_results
from augsuite.study.arms import Arm
from augsuite.study.predicted import Changes, Image
from augsuite.study.store import State, Store

_SHOWN, _LEAST = 6, 2  # training images of an arm, where there are few arms and where there are many
_STRIPS = 96  # pictures of all arms
_POLICIES = 32  # arms whose pictures are shown
_CHANGED_ARMS, _CHANGED = 4, 3  # arms, and images of each that gained, and that lost
_SIDE, _LARGE, _SMALL = 200, 320, 96  # pixels of a picture's longer side: up to twice what is shown, for dense screens
_BOXES = 150  # of one kind in one picture
_ROOM = 1_100_000  # bytes of JPEG, beyond which pictures become small


@dataclass
class Album:
    """Embeds images in a page, each once; smaller ones when there are too many bytes already.

    Attributes:
        spent: bytes of JPEG so far.
    """

    spent: int = 0
    _known: dict[str, str] = field(default_factory=dict)

    def picture(self, pixels: NDArray[np.uint8], shapes: str, said: str, name: str = "") -> Markup:
        """An image as SVG: the pixels as an embedded JPEG, boxes as shapes.

        Args:
            pixels: `(H, W, 3)`.
            shapes: SVG in pixels of the image.
            said: what is to be seen, for a reader who does not see it.
            name: of an image that comes several times; the others then refer to the first. It is embedded a little larger.
        """
        height, width = pixels.shape[:2]
        return _safe(
            f'<svg class="sample" viewBox="0 0 {width} {height}" role="img" aria-label="{escape(said)}">'
            f"{self._embedded(pixels, name)}{shapes}</svg>"
        )

    def _embedded(self, pixels: NDArray[np.uint8], name: str) -> str:
        if name in self._known:
            return f'<use href="#{self._known[name]}"/>'
        image = PIL.Image.fromarray(pixels)
        side = _SMALL if self.spent >= _ROOM else _LARGE if name else _SIDE
        image.thumbnail((side, side), PIL.Image.Resampling.BOX)
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=78)
        self.spent += buffer.tell()
        own = ""
        if name:
            self._known[name] = f"picture-{len(self._known)}"
            own = f'id="{self._known[name]}" '
        height, width = pixels.shape[:2]
        return (
            f'<image {own}width="{width}" height="{height}" preserveAspectRatio="none" '
            f'href="data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"/>'
        )


@dataclass(frozen=True, slots=True)
class Strip:
    """The same training images under one policy.

    Attributes:
        arms: those that have it.
        pictures: one for each image.
    """

    arms: list[str]
    pictures: list[Markup]


def strips(data: Dataset, arms: Mapping[str, Arm], album: Album) -> tuple[list[Strip], int]:
    """What each policy makes of the same training images in one epoch, evenly chosen among them.

    Args:
        data: the images trained on.
        arms: by name; those with the same steps come together.
        album: takes the pictures.

    Returns:
        The strips, the first of which has the images as they are, and how many more policies there are than are shown.
    """
    alike: dict[bytes, list[str]] = {}
    for name, arm in arms.items():
        alike.setdefault(msgspec.json.encode(arm.policy.steps), []).append(name)
    groups = list(alike.values())[:_POLICIES]
    count = min(max(_STRIPS // max(len(groups), 1), _LEAST), _SHOWN, len(data))
    rows = np.unique(np.linspace(0, len(data) - 1, count).round().astype(int)).tolist()
    # The policy without steps first, whether or not an arm has it.
    groups.sort(key=lambda names: bool(arms[names[0]].policy.steps))
    found = []
    if groups and arms[groups[0][0]].policy.steps:
        found.append(Strip(["the images as they are"], [_sample(data.sample(row), data, album) for row in rows]))
    for names in groups:
        policy = arms[names[0]].policy
        samples = [policy(data.sample(row), key=(0, 0, row), pool=data) for row in rows]
        found.append(Strip(names, [_sample(sample, data, album) for sample in samples]))
    return found, len(alike) - len(groups)


def _sample(sample: Sample, data: Dataset, album: Album) -> Markup:
    names = [str(data.categories.names[label]) for label in sample.labels.tolist()]
    shapes = _rectangles(sample.boxes, names, "", [f"rgb{class_color(label)}" for label in sample.labels.tolist()])
    count = len(sample.boxes)
    return album.picture(sample.image, shapes, f"training image with {count} box{'' if count == 1 else 'es'}")


@dataclass(frozen=True, slots=True)
class Changed:
    """One test image, as the reference and as an arm see it.

    Attributes:
        name: of its file.
        change: what it gained or lost, in words.
        truth: of a classified image, its labels; empty for boxes.
        reference: picture, and what is said under it.
        arm: the same.
    """

    name: str
    change: str
    truth: str
    reference: tuple[Markup, str]
    arm: tuple[Markup, str]


@dataclass(frozen=True, slots=True)
class ChangedMost:
    """The images that an arm changed most.

    Attributes:
        arm: its name.
        changes: how many it made better and worse.
        gains: those that gained.
        losses: those that lost.
        unreadable: how many images could not be read.
    """

    arm: str
    changes: Changes
    gains: list[Changed]
    losses: list[Changed]
    unreadable: int


def changed_most(
    state: State, store: Store, val: Dataset, found: Sequence[Changes], strongest: Sequence[str], album: Album
) -> list[ChangedMost]:
    """Draw the test images that changed most, for the arms with the largest effects; arms with the same runs once.

    Of each image that seed is shown whose change is nearest to the mean over seeds.

    Args:
        state: the question.
        store: where its runs are.
        val: the images measured on.
        found: what changed.
        strongest: arms, the largest effect first.
        album: takes the pictures.
    """
    by_arm = {each.arm: each for each in found if each.gains or each.losses}
    alike = {frozenset(run.digest for run in state.runs if run.arm == arm): arm for arm in reversed(strongest)}
    drawn = _Drawn(state, store, val, album)
    shown = []
    for arm in [name for name in strongest if name in by_arm and name in alike.values()][:_CHANGED_ARMS]:
        lists: list[list[Changed]] = []
        unreadable = 0
        for images in (by_arm[arm].gains, by_arm[arm].losses):
            lists.append([])
            for image in images[:_CHANGED]:
                try:
                    lists[-1].append(drawn.changed(arm, image))
                except DataError:
                    unreadable += 1
        shown.append(ChangedMost(arm, by_arm[arm], lists[0], lists[1], unreadable))
    return shown


class _Drawn:
    """Draws predictions of runs; each run's are read once."""

    def __init__(self, state: State, store: Store, val: Dataset, album: Album) -> None:
        self.store, self.val, self.album, self.reference = store, val, album, state.reference
        self.labels = state.metric == "top1"
        self.digests = {(run.arm, run.seed): run.digest for run in state.runs}
        self.detected: dict[str, tuple[Detections, float]] = {}
        self.scored: dict[str, LabelScores] = {}

    def changed(self, arm: str, image: Image) -> Changed:
        sample = self.val.sample(image.row)
        pixels = sample.image
        seeds = image.up + image.down
        change = f"{image.before:.0f} to {image.after:.0f} %"
        if seeds:
            change += f" (better with {image.up}, worse with {image.down} seed{'' if image.down == 1 else 's'})"
        own = self.val.rows_of(image.row)
        table = self.val.annotations
        names = dict.fromkeys(self._name(label) for label in table.category_rows[own[~table.is_box[own]]].tolist())
        if self.labels:
            pair = [self._labelled(name, image, pixels) for name in (self.reference, arm)]
        else:
            pair = [self._boxes(name, image, sample, pixels) for name in (self.reference, arm)]
        return Changed(image.name, f"{change}, seed {image.seed}", ", ".join(names), pair[0], pair[1])

    def _labelled(self, arm: str, image: Image, pixels: NDArray[np.uint8]) -> tuple[Markup, str]:
        digest = self.digests[arm, image.seed]
        if digest not in self.scored:
            self.scored[digest] = read_labels(self.store.run_folder(digest) / "predictions.csv", self.val)
        said = self.scored[digest]
        scores = said.scores[np.flatnonzero(said.image_rows == image.row)[0]]
        best = int(scores.argmax())
        words = f"{self._name(best)} {scores[best]:.2f}"
        return self.album.picture(pixels, "", f"{image.name}: {arm} says {words}", f"val {image.row}"), words

    def _boxes(self, arm: str, image: Image, sample: Sample, pixels: NDArray[np.uint8]) -> tuple[Markup, str]:
        found, threshold = self._detections(self.digests[arm, image.seed])
        rows = np.flatnonzero((found.image_rows == image.row) & (found.scores >= threshold))
        rows = rows[np.argsort(-found.scores[rows], kind="stable")]
        labels = found.category_rows[rows].tolist()
        names = [f"{self._name(label)} {score:.2f}" for label, score in zip(labels, found.scores[rows], strict=True)]
        colors = [f"rgb{class_color(label)}" for label in labels]
        true = [self._name(label) for label in sample.labels.tolist()]
        shapes = _rectangles(sample.boxes, [f"true {name}" for name in true], "under", [])
        shapes += _rectangles(sample.boxes, [f"true {name}" for name in true], "truth", [])
        shapes += _rectangles(found.boxes[rows], names, "", colors)
        words = f"{len(rows)} found, {len(true)} there"
        return self.album.picture(pixels, shapes, f"{image.name}: {arm}, {words}", f"val {image.row}"), words

    def _detections(self, digest: str) -> tuple[Detections, float]:
        """A run's detections, and the score from which on they are drawn: that of the best F1 over all images."""
        if digest not in self.detected:
            found = read_results(self.store.run_folder(digest) / "predictions.json", self.val)
            self.detected[digest] = found, best_threshold(Evaluator(self.val, found))
        return self.detected[digest]

    def _name(self, label: int) -> str:
        return str(self.val.categories.names[label])


def _rectangles(boxes: Boxes, names: Sequence[str], kind: str, colors: Sequence[str]) -> str:
    parts = []
    for row, ((x0, y0, x1, y1), name) in enumerate(zip(boxes[:_BOXES].tolist(), names[:_BOXES], strict=True)):
        look = f'class="{kind}" ' if kind else f'stroke="{colors[row]}" '
        parts.append(
            f'<rect {look}x="{x0:.1f}" y="{y0:.1f}" width="{max(x1 - x0, 0):.1f}" height="{max(y1 - y0, 0):.1f}">'
            f"<title>{escape(name)}</title></rect>"
        )
    return "".join(parts)


def legend(data: Dataset, most: int = 20) -> list[tuple[str, str]]:
    """Categories and their colours; the first `most`."""
    return [(str(name), f"rgb{class_color(row)}") for row, name in enumerate(data.categories.names[:most])]


def _safe(html: str) -> Markup:
    """HTML of our own making, in which every name has been escaped where it was put in."""
    return Markup(html)  # noqa: S704 - see above; the template escapes everything else
