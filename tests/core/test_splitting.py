"""Splits: shares by hand, against a random split, and groups that are never cut."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

import augsuite
from augsuite.dataset import Annotations, Categories, Dataset, Images, Intake
from augsuite.dataset.splitting import class_shares
from augsuite.errors import ConfigError

THREE = {"train": 0.8, "val": 0.1, "test": 0.1}


def labelled(labels, names=None):
    """One image for each set of category rows."""
    rows = [row for row, found in enumerate(labels) for _ in found]
    flat = [each for found in labels for each in found]
    names = [f"{row:05d}.jpg" for row in range(len(labels))] if names is None else names
    boxes = np.tile([1.0, 1, 5, 5], (len(rows), 1))
    count = max(flat, default=0) + 1
    return Dataset(
        Images.of(names), Categories.of([f"c{each}" for each in range(count)]), Annotations.of(rows, flat, boxes)
    )


def multi_label(count, seed=0):
    """Images with several of 12 classes, the rarest in about 1 of 60 images; one in ten has none."""
    rng = np.random.default_rng(seed)
    odds = 0.6 / np.arange(1, 13) ** 1.4
    return labelled(
        [np.flatnonzero(rng.random(12) < odds).tolist() if rng.random() > 0.1 else [] for _ in range(count)]
    )


def counted(data):
    """(split, category row) -> images, by hand; category -1 for images without annotations."""
    counts = Counter()
    for row, split in enumerate(data.images.splits):
        found = {int(each) for each in data.annotations.category_rows[data.annotations.image_rows == row]}
        counts.update((split, each) for each in found or {-1})
    return counts


def test_one_class_is_cut_exactly():
    parts = labelled([[0]] * 70 + [[1]] * 20 + [[]] * 10).with_splits(THREE)
    # 70 -> 56, 7, 7; 20 -> 16, 2, 2; 10 -> 8, 1, 1
    assert counted(parts) == {
        ("train", 0): 56, ("val", 0): 7, ("test", 0): 7,
        ("train", 1): 16, ("val", 1): 2, ("test", 1): 2,
        ("train", -1): 8, ("val", -1): 1, ("test", -1): 1,
    }  # fmt: skip


def deviation(data, shares):
    """The largest distance of a class's share in a split from the share asked for."""
    counts = counted(data)
    totals = Counter()
    for (_, each), count in counts.items():
        totals[each] += count
    return max(abs(counts[split, each] / totals[each] - share) for split, share in shares.items() for each in totals)


@pytest.mark.parametrize("seed", range(3))
def test_every_class_of_multi_label_images_gets_its_share(seed):
    data = multi_label(1200, seed)
    cut = data.with_splits(THREE, seed=seed)
    ours = deviation(cut, THREE)
    rng = np.random.default_rng(seed)
    random = [
        replace(data, images=replace(data.images, splits=rng.permutation(np.repeat(np.array(["train", "val", "test"], object), [960, 120, 120]))))
        for _ in range(5)
    ]  # fmt: skip
    assert ours < min(deviation(each, THREE) for each in random) / 2
    counts = counted(cut)
    for each in {each for _, each in counts}:
        total = sum(counts[split, each] for split in THREE)
        assert all(abs(counts[split, each] - share * total) < 1.5 for split, share in THREE.items())


def test_without_stratification_the_numbers_of_images_are_right_and_classes_are_not_looked_at():
    data = labelled([[0]] * 50 + [[1]] * 50)
    cut = data.with_splits({"a": 0.3, "b": 0.7}, stratify=False)
    assert Counter(cut.images.splits) == {"a": 30, "b": 70}
    other = labelled([[1]] * 10 + [[0]] * 90).with_splits({"a": 0.3, "b": 0.7}, stratify=False)
    assert cut.images.splits.tolist() == other.images.splits.tolist()


def test_frames_of_one_video_stay_together():
    rng = np.random.default_rng(5)
    names, labels = [], []
    for video in range(120):
        classes = rng.choice(8, 2, replace=False).tolist()
        for frame in range(int(rng.integers(3, 30))):
            names.append(f"cam1/v{video:03d}_f{frame:03d}.png")
            labels.append(classes[: int(rng.integers(0, 3))])
    data = labelled(labels, names)
    cut = data.with_splits(THREE, group=r"v(\d+)_f")
    of_video = {}
    for name, split in zip(cut.images.names, cut.images.splits, strict=True):
        of_video.setdefault(name.split("_f")[0], set()).add(split)
    assert all(len(splits) == 1 for splits in of_video.values())
    assert deviation(cut, THREE) < 0.06
    sizes = Counter(cut.images.splits)
    assert all(abs(sizes[split] / len(data) - share) < 0.02 for split, share in THREE.items())


def test_groups_that_have_all_classes_are_cut_well_for_each_of_them(real_data):
    data = augsuite.read(real_data / "bccd")  # BloodImage_00012.jpg: ten neighbours to a group, most with all classes
    cut = data.with_splits(THREE, group=r"BloodImage_\d{4}")
    assert deviation(cut, THREE) < 0.02
    groups = {}
    for name, split in zip(cut.images.names, cut.images.splits, strict=True):
        groups.setdefault(name[:15], set()).add(split)
    assert len(groups) > 30
    assert all(len(splits) == 1 for splits in groups.values())


def test_images_outside_every_group_are_on_their_own():
    intake = Intake()
    names = [f"v1_{frame}.png" for frame in range(10)] + [f"still{each}.png" for each in range(10)]
    data = labelled([[0]] * 20, names)
    cut = data.with_splits({"a": 0.5, "b": 0.5}, group=r"^v\d_", intake=intake)
    assert len(set(cut.images.splits[:10])) == 1
    assert Counter(cut.images.splits) == {"a": 10, "b": 10}
    (note,) = intake.notes
    assert note.endswith("is not found in the names of 10 images; each is on its own")


def by_name(data):
    return dict(zip(data.images.names, data.images.splits, strict=True))


def test_the_same_seed_is_the_same_cut_whatever_the_order_and_the_splits_before():
    data = multi_label(300)
    cut = data.with_splits(THREE, seed=4)
    shuffled = data.take(np.random.default_rng(0).permutation(300)).with_splits({"x": 0.5, "y": 0.5})
    assert by_name(shuffled.with_splits(THREE, seed=4)) == by_name(cut)
    assert by_name(cut.with_splits(THREE, seed=4)) == by_name(cut)
    assert by_name(data.with_splits(THREE, seed=5)) != by_name(cut)


def test_nothing_but_the_splits_changes():
    data = multi_label(50)
    cut = data.with_splits({"only": 1.0})
    assert set(cut.images.splits) == {"only"}
    assert cut.annotations is data.annotations
    assert data.images.splits.tolist() == [""] * 50


def test_an_empty_dataset_has_nothing_to_cut():
    empty = Dataset(Images.of([]), Categories.of([]), Annotations.of([], []))
    assert len(empty.with_splits(THREE)) == 0
    assert len(empty.with_splits(THREE, group="x")) == 0


def test_class_shares_are_the_sums():
    data = labelled([[0, 0, 1], [1], []])
    data = replace(data, images=replace(data.images, splits=np.array(["a", "b", "b"], object)))
    first, second, bare = class_shares(data)
    assert (first.images, first.annotations) == ({"a": 1, "b": 0}, {"a": 2, "b": 0})
    assert (second.images, second.annotations) == ({"a": 1, "b": 1}, {"a": 1, "b": 1})
    assert (bare.name, bare.images, bare.annotations) == ("", {"a": 0, "b": 1}, {"a": 0, "b": 0})


@pytest.mark.parametrize(
    ("shares", "group", "said"),
    [
        ({}, None, "no splits were named"),
        ({"train": 0.8, "val": 0.1}, None, "sum to 0.9"),
        ({"train": 1.2, "val": -0.2}, None, "'train': expected a name and a share above 0"),
        ({" ": 1.0}, None, "expected a name"),
        ({"train": 1.0}, "(", "no regular expression"),
        ({"train": 1.0}, "video", "is found in no image's name, such as '00000.jpg'"),
    ],
)
def test_what_makes_no_sense_is_refused(shares, group, said):
    with pytest.raises(ConfigError, match=said.replace("(", r"\(")):
        labelled([[0]] * 3).with_splits(shares, group=group)
