"""Cut a dataset into splits that have the same share of every class, without tearing apart what belongs together."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

import msgspec
import numpy as np
from numpy.typing import NDArray

from augsuite.dataset.checks import Intake
from augsuite.dataset.heads import recut, without_spellings
from augsuite.dataset.tables import Dataset, Rows, strings
from augsuite.errors import ConfigError

_SUM = 1e-6
"""How far the sum of shares may be from 1: 1/3 is typed as 0.333333."""


class ClassShares(msgspec.Struct, frozen=True):
    """How the images of one class are spread.

    Attributes:
        name: the category; "" for images without annotations.
        images: split -> images that have at least one annotation of it.
        annotations: split -> annotations of it.
    """

    name: str
    images: dict[str, int]
    annotations: dict[str, int]


def with_splits(
    data: Dataset,
    shares: Mapping[str, float],
    *,
    seed: int = 0,
    stratify: bool = True,
    group: str | None = None,
    intake: Intake | None = None,
) -> Dataset:
    """Give every image a split, in place of the one that it has.

    The cut depends on the seed, the shares, and the images' names and annotations; not on the order of the images. What was said of
    an old split (`coco.info@train`) goes to a new one only where all its images come from there; see `augsuite.dataset.heads.recut`.

    Args:
        data: the dataset.
        shares: name -> share of the images, such as `{"train": 0.8, "val": 0.2}`; they sum to 1.
        seed: the same seed gives the same cut.
        stratify: give each split the same share of every category's images, as nearly as whole images (or groups) allow. An image
            counts for each category that it has; images without annotations are one more class.
        group: a regular expression, searched in the image's name; images for which it finds the same text (that of its groups in
            parentheses, where it has some) stay together. An image in which it finds nothing is on its own.
        intake: takes what was surprising.

    Raises:
        ConfigError: if the shares do not sum to 1, a name is blank, or `group` is no regular expression or finds nothing anywhere.

    Source: Sechidis, Tsoumakas and Vlahavas 2011, On the Stratification of Multi-Label Data, algorithm 1, for the order; the choice of
    the split weighs all classes of a group instead of the rarest, see `_assign`.
    """
    _check(shares)
    groups, keys = _groups(data, group, intake or Intake())
    pairs = memberships(data) if stratify else np.stack([np.arange(len(data)), np.zeros(len(data), np.int64)], axis=1)
    rank = _shuffled(keys, seed)
    chosen = _assign(groups, pairs, rank, np.array(list(shares.values()), np.float64))
    names = strings(shares)
    splits = names[chosen[groups]]
    extra = recut(without_spellings(data.extra), data.images.splits.tolist(), splits.tolist())
    return replace(data, images=replace(data.images, splits=splits), extra=extra)


def memberships(data: Dataset) -> NDArray[np.int64]:
    """`(M, 2)` which image has which class, each pair once: image rows, and category rows or C for an image without annotations."""
    classes = len(data.categories) + 1
    table = data.annotations
    bare = np.flatnonzero(np.bincount(table.image_rows, minlength=len(data)) == 0)
    codes = np.concatenate([table.image_rows * classes + table.category_rows, bare * classes + classes - 1])
    codes = np.unique(codes)
    return np.stack([codes // classes, codes % classes], axis=1)


def class_shares(data: Dataset) -> list[ClassShares]:
    """How each category, and last the images without annotations, are spread over the splits."""
    splits, rows = np.unique(data.images.splits.astype(str), return_inverse=True)
    rows, classes = rows.reshape(-1), len(data.categories) + 1
    pairs = memberships(data)
    images = np.zeros((classes, len(splits)), np.int64)
    np.add.at(images, (pairs[:, 1], rows[pairs[:, 0]]), 1)
    annotations = np.zeros_like(images)
    np.add.at(annotations, (data.annotations.category_rows, rows[data.annotations.image_rows]), 1)
    order = [splits.tolist().index(name) for name in dict.fromkeys(data.images.splits.tolist())]
    return [
        ClassShares(
            name,
            {str(splits[each]): int(images[row, each]) for each in order},
            {str(splits[each]): int(annotations[row, each]) for each in order},
        )
        for row, name in enumerate([*data.categories.names.tolist(), ""])
    ]


def _check(shares: Mapping[str, float]) -> None:
    if not shares:
        raise ConfigError("no splits were named. Write them as train=0.8,val=0.2.")
    for name, share in shares.items():
        if not name.strip() or not 0 < share <= 1:
            raise ConfigError(f"split {name!r}: expected a name and a share above 0 and up to 1, got {share:g}.")
    total = sum(shares.values())
    if abs(total - 1) > _SUM:
        raise ConfigError(f"the shares of {', '.join(shares)} sum to {total:g}. They must sum to 1.")


def _groups(data: Dataset, pattern: str | None, intake: Intake) -> tuple[Rows, list[str]]:
    """`(I,)` the group of each image, and a text for each group that does not depend on the order of the images."""
    names = data.images.names.tolist()
    if pattern is None:
        return np.arange(len(data), dtype=np.int64), _own_keys(data)
    try:
        search = re.compile(pattern).search
    except re.error as error:
        raise ConfigError(f"group {pattern!r}: no regular expression: {error}.") from error
    numbers: dict[str, int] = {}
    groups = np.empty(len(data), np.int64)
    alone = 0
    own = _own_keys(data)
    for row, name in enumerate(names):
        found = search(name)
        alone += found is None
        # The mark in front keeps an image that is on its own out of a group whose text is its name.
        key = f"\1{own[row]}" if found is None else "\0".join(map(str, found.groups() or (found[0],)))
        groups[row] = numbers.setdefault(key, len(numbers))
    if names and alone == len(names):
        raise ConfigError(
            f"group {pattern!r}: is found in no image's name, such as {names[0]!r}. Check the expression."
        )
    if alone:
        intake.note(f"group {pattern!r}: is not found in the names of {alone:,} images; each is on its own")
    return groups, list(numbers)


def _own_keys(data: Dataset) -> list[str]:
    """The images' names; with the old split where several have one name."""
    names = data.images.names.tolist()
    times = Counter(names)
    splits = data.images.splits.tolist()
    return [name if times[name] == 1 else f"{split}\0{name}" for split, name in zip(splits, names, strict=True)]


def _shuffled(keys: list[str], seed: int) -> NDArray[np.int64]:
    """`(G,)` a random rank for each group: by a keyed hash of its text, so that no other group has a say in it."""
    salt = str(seed).encode()[:64]
    hashes = [hashlib.blake2b(key.encode("utf-8", "surrogatepass"), digest_size=8, key=salt).digest() for key in keys]
    # The sort is stable: two images of one name and split stay in their order.
    order = sorted(range(len(keys)), key=hashes.__getitem__)
    rank = np.empty(len(keys), np.int64)
    rank[order] = np.arange(len(keys))
    return rank


def _assign(groups: Rows, pairs: NDArray[np.int64], rank: NDArray[np.int64], shares: NDArray[np.float64]) -> Rows:
    """Iterative stratification.

    Groups are given away class by class, the class with the fewest images left first. A group goes to the split that it brings least
    above its share: the sum of squares, over the group's classes and over all images, of what a split has of a class relative to what
    there is of it, divided by the split's share, grows least. The paper looks at the rarest class alone, which is as good for
    single images, but for groups that have all classes would leave all classes but one to chance.

    Args:
        groups: `(I,)` the group of each image.
        pairs: `(M, 2)` image rows and classes.
        rank: `(G,)` the order among groups that are alike.
        shares: `(S,)` of the splits, summing to 1.

    Returns:
        `(G,)` the split of each group.
    """
    count, classes = len(rank), int(pairs[:, 1].max(initial=0)) + 1
    sizes = np.bincount(groups, minlength=count)
    # One entry for each group and class that it has: `images` of the group's images have it.
    codes, images = np.unique(groups[pairs[:, 0]] * classes + pairs[:, 1], return_counts=True)
    owner, which = codes // classes, codes % classes
    total = np.bincount(which, weights=images, minlength=classes)
    weights = (images / total[which] ** 2).tolist()
    weight_of_image = 1 / max(len(groups), 1) ** 2
    starts = np.concatenate([[0], np.cumsum(np.bincount(owner, minlength=count))]).tolist()
    # Within a class the groups with most of its images come first: small ones can level out what large ones leave.
    by_class = np.lexsort((rank[owner], -sizes[owner], -images, which))
    members = np.split(owner[by_class], np.cumsum(np.bincount(which, minlength=classes))[:-1])
    entry_class, entry_images, group_images = which.tolist(), images.tolist(), sizes.tolist()
    left = total.astype(int).tolist()
    have = [([0] * classes, share) for share in shares.tolist()]
    filled = [0] * len(have)
    chosen = [-1] * count
    while waiting := [(images_left, each) for each, images_left in enumerate(left) if images_left]:
        for group in members[min(waiting)[1]].tolist():
            if chosen[group] >= 0:
                continue
            size, entries = group_images[group], range(starts[group], starts[group + 1])
            costs = []
            for (own, share), full in zip(have, filled, strict=True):
                cost = size * (full + size / 2) * weight_of_image
                for entry in entries:
                    cost += weights[entry] * (own[entry_class[entry]] + entry_images[entry] / 2)
                costs.append(cost / share)
            best = chosen[group] = costs.index(min(costs))
            filled[best] += size
            own = have[best][0]
            for entry in entries:
                own[entry_class[entry]] += entry_images[entry]
                left[entry_class[entry]] -= entry_images[entry]
    return np.array(chosen, np.int64)
