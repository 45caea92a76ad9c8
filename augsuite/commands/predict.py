"""`augsuite predict`: ask a trained model about images and videos."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import click
import msgspec
import numpy as np
import PIL.Image

from augsuite.commands.console import json_option, print_json, print_table, progress
from augsuite.commands.predict_inputs import Inputs, Shot, find_inputs
from augsuite.commands.reading import Reading, reading_options, tell
from augsuite.dataset.images import Image
from augsuite.dataset.saving import save_picture, save_text
from augsuite.dataset.video import Video, VideoWriter
from augsuite.errors import ConfigError, DataError
from augsuite.prediction import BATCH, SURE, drawn, load_model, surest
from augsuite.prediction import predict as ask

if TYPE_CHECKING:
    from augsuite.dataset import Dataset
    from augsuite.protocols import Prediction, Predictor

_LISTED = 20  # images that are told one by one
_KEPT = {".jpg", ".jpeg", ".png", ".bmp", ".webp"}


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("paths", nargs=-1, required=True, metavar="PATH...")
@reading_options
@click.option("--split", help="A split of the dataset.")
@click.option(
    "--min-score",
    type=click.FloatRange(0, 1),
    help=f"Leave out what scores less: from the pictures by default {SURE:g}, from the results nothing.",
)
@click.option(
    "--out", "-o", type=click.Path(path_type=Path, file_okay=False), default=Path("predictions"), show_default=True
)
@click.option("--no-pictures", is_flag=True, help="Write the results only.")
@click.option("--batch", type=click.IntRange(1, 1024), default=BATCH, show_default=True, help="Images at once.")
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True)
@json_option
def predict(
    model: Path,
    paths: tuple[str, ...],
    reading: Reading,
    split: str | None,
    min_score: float | None,
    out: Path,
    no_pictures: bool,
    batch: int,
    device: str,
    as_json: bool,
) -> None:
    """Ask MODEL, a run's folder or its model.pt, what it sees in images, folders, videos, or a dataset.

    The folder --out gets each image with its boxes or classes drawn, a video for each video, and the results: predictions.json as COCO
    has them, or predictions.csv.
    """
    predictor = load_model(model, device)
    inputs = find_inputs(paths, reading, split)
    folder = _folder(out)
    shown = SURE if min_score is None else min_score
    answers = Answers(min_score or 0.0)
    with progress() as display, ExitStack() as stack:
        task = display.add_task("predicting", total=inputs.total)
        album = None if no_pictures else stack.enter_context(_Album(folder, predictor, shown))
        for shot, pixels, prediction in ask(predictor, inputs.shots(), batch):
            answers.add(shot, pixels, prediction)
            if album is not None:
                album.put(shot, pixels, prediction)
            display.advance(task, 1)
    tell({}, inputs.skipped)
    if not answers.shots:
        raise DataError(f"{paths[0]}: no image could be read. Name other files.")
    written = answers.write(folder, inputs, predictor)
    if as_json:
        print_json({"folder": str(folder), "skipped": inputs.skipped, "predictions": answers.plain(predictor, shown)})
        return
    _print(answers, predictor, shown)
    skipped = f"   {len(inputs.skipped):,} skipped" if inputs.skipped else ""
    click.echo(f"{len(answers.shots):,} images{skipped}   results: {written}")
    if not no_pictures:
        click.echo(f"pictures: {folder}")


def _folder(out: Path) -> Path:
    """The folder of the pictures; made where it does not exist.

    Raises:
        ConfigError: if it is that of a run, whose own predictions would be lost, or it cannot be made.
    """
    if any((out / name).exists() for name in ("run.json", "model.pt")):
        raise ConfigError(f"{out}: is the folder of a run, which has predictions of its own. Name another with -o.")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"{out}: cannot be made ({error.strerror or error}). Choose another place.") from error
    return out


@dataclass
class Answers:
    """What the model said, image by image.

    Attributes:
        min_score: what scores less is left out.
        shots: which images.
        sizes: width and height of each.
        predictions: one for each.
    """

    min_score: float
    shots: list[Shot] = field(default_factory=list)
    sizes: list[tuple[int, int]] = field(default_factory=list)
    predictions: list[Prediction] = field(default_factory=list)

    def add(self, shot: Shot, pixels: Image, prediction: Prediction) -> None:
        """Take one answer."""
        self.shots.append(shot)
        self.sizes.append((pixels.shape[1], pixels.shape[0]))
        self.predictions.append(prediction)

    def write(self, folder: Path, inputs: Inputs, predictor: Predictor) -> Path:
        """Write the results, and, where no dataset gives the ids, the images and categories that they are of.

        Returns:
            The file of the results.
        """
        from augsuite.evaluation import write_labels

        names = predictor.categories
        described = inputs.described(self.shots, self.sizes, names)
        rows = {str(name): row for row, name in enumerate(described.categories.names)}
        places = np.array([rows[name] for name in names], np.int64)
        if predictor.task == "classification":
            scores = np.zeros((len(described), len(described.categories)))
            for row, prediction in enumerate(self.predictions):
                scores[row, places[prediction.labels]] = prediction.scores
            path = folder / "predictions.csv"
            write_labels(path, described, scores)
            return path
        path = folder / "predictions.json"
        self._write_boxes(path, described, places)
        if inputs.data is None or described.categories is not inputs.data.categories:
            save_text(_index(described), folder / "images.json")
        return path

    def _write_boxes(self, path: Path, described: Dataset, places: np.ndarray) -> None:
        from augsuite.evaluation import Detections, write_results

        kept = [surest(prediction, self.min_score) for prediction in self.predictions]
        found = Detections(
            np.repeat(np.arange(len(kept)), [len(one.scores) for one in kept]),
            places[np.concatenate([one.labels for one in kept])],
            np.concatenate([one.boxes for one in kept]),
            np.concatenate([one.scores for one in kept]),
        )
        write_results(path, described, found)

    def plain(self, predictor: Predictor, shown: float) -> list[dict[str, Any]]:
        """What is drawn, as plain values: for each image its name and what was found, surest first."""
        names = predictor.categories
        return [
            {
                "image": shot.name,
                "found": [
                    {"category": names[label], "score": score, **({"box": box} if box else {})}
                    for label, score, box in _entries(prediction, shown)
                ],
            }
            for shot, prediction in zip(self.shots, self.predictions, strict=True)
        ]


def _entries(prediction: Prediction, shown: float) -> Iterator[tuple[int, float, list[float]]]:
    """Label, score and XYXY box of what scores enough; the box is empty for a classifier."""
    kept = surest(prediction, shown)
    for row, (label, score) in enumerate(zip(kept.labels.tolist(), kept.scores.tolist(), strict=True)):
        yield label, score, kept.boxes[row].tolist() if len(kept.boxes) else []


def _index(described: Dataset) -> str:
    """The images and categories of results, as a COCO file without annotations."""
    images = described.images
    value = {
        "images": [
            {"id": number, "file_name": name, "width": width, "height": height}
            for number, name, (width, height) in zip(
                images.ids.tolist(), map(str, images.names), images.sizes.tolist(), strict=True
            )
        ],
        "categories": [
            {"id": number, "name": name}
            for number, name in zip(
                described.categories.ids.tolist(), map(str, described.categories.names), strict=True
            )
        ],
        "annotations": [],
    }
    return msgspec.json.format(msgspec.json.encode(value), indent=1).decode()


class _Album:
    """Writes pictures and videos with predictions drawn on them; a context manager that ends the last video."""

    def __init__(self, folder: Path, predictor: Predictor, shown: float) -> None:
        self._folder, self._predictor, self._shown = folder, predictor, shown
        self._made: set[Path] = set()
        self._video: Video | None = None
        self._writer: VideoWriter | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._writer is not None:
            self._writer.__exit__(kind, error, trace)

    def put(self, shot: Shot, pixels: Image, prediction: Prediction) -> None:
        """Draw one prediction, and write it."""
        picture = drawn(pixels, prediction, self._predictor.categories, self._predictor.task, self._shown)
        if shot.video is None:
            save_picture(PIL.Image.fromarray(picture), self._place(shot.name, shot.source))
            return
        if shot.video is not self._video or self._writer is None:
            if self._writer is not None:
                self._writer.close()
            path = self._place(str(PurePosixPath(shot.name.rpartition("#")[0]).with_suffix(".mp4")), shot.source)
            self._writer = VideoWriter(path, shot.video.width, shot.video.height, shot.video.fps)
            self._video = shot.video
        self._writer.write(picture)

    def _place(self, name: str, source: Path | None) -> Path:
        """Where a picture goes: within the folder, as its source is called; two of one name get different ones.

        Raises:
            ConfigError: if that is the source itself.
        """
        parts = [part for part in PurePosixPath(name.replace("\\", "/")).parts if part not in {"/", "..", "."}]
        path = self._folder.joinpath(*parts or ["image"])
        if path.suffix.lower() not in _KEPT | {".mp4"}:
            path = path.with_name(path.name + ".png")
        first, number = path, 1
        while path in self._made:
            number += 1
            path = first.with_stem(f"{first.stem}-{number}")
        self._made.add(path)
        if source is not None and path.exists() and path.samefile(source):
            raise ConfigError(f"{path}: the picture would replace the image itself. Name another folder with -o.")
        path.parent.mkdir(parents=True, exist_ok=True)
        return path


def _print(answers: Answers, predictor: Predictor, shown: float) -> None:
    """Say what was found: image by image where there are few, else by category."""
    names = predictor.categories
    found = [surest(prediction, shown) for prediction in answers.predictions]
    if predictor.task == "classification":
        best = [(int(one.labels[0]), float(one.scores[0])) for one in answers.predictions]
        if len(best) <= _LISTED:
            rows = [
                [shot.name, names[label], f"{score:.2f}"]
                for shot, (label, score) in zip(answers.shots, best, strict=True)
            ]
            print_table(["image", "class", "score"], rows, right=frozenset({2}))
            return
        counts = Counter(label for label, _ in best)
    elif len(found) <= _LISTED:
        rows = [
            [shot.name, _counted(Counter(one.labels.tolist()), names)]
            for shot, one in zip(answers.shots, found, strict=True)
        ]
        print_table(["image", "found"], rows)
        return
    else:
        counts = Counter(label for one in found for label in one.labels.tolist())
    print_table(
        ["category", "found"],
        [[names[label], f"{count:,}"] for label, count in counts.most_common()],
        right=frozenset({1}),
    )


def _counted(counts: Counter[int], names: list[str]) -> str:
    return ", ".join(f"{count} {names[label]}" for label, count in sorted(counts.items())) or "nothing"
