"""The contract kit over every registered format, and proof that the kit notices what it is for."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from augsuite import registry
from augsuite.dataset import Images
from augsuite.dataset.tables import strings
from augsuite.protocols import Losses
from augsuite.testing.examples import example_datasets
from augsuite.testing.formats import (
    FORMAT_CHECKS,
    ContractError,
    check_declaration,
    check_round_trip,
    differences,
)

FORMATS = registry.default().formats()


@pytest.mark.parametrize("check", FORMAT_CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("name", FORMATS)
def test_a_registered_format_keeps_the_contract(name, check, tmp_path, request):
    if FORMATS[name].scheme != "fiftyone":
        check(FORMATS[name], tmp_path)
        return
    fo = request.getfixturevalue("fo")  # its datasets are no files: they go into a database of the tests
    check(FORMATS[name], tmp_path)
    for left in fo.list_datasets():
        if tmp_path.name in left or any(left.startswith(f"{path.name} ") for path in tmp_path.iterdir()):
            fo.delete_dataset(left)


@pytest.mark.parametrize(
    ("name", "claim"), [("csv", "ids"), ("folder", "boxes"), ("voc", "stranger.*"), ("voc", "unused_categories")]
)
def test_the_kit_notices_a_format_that_claims_to_keep_more(name, claim, tmp_path):
    liar = replace(FORMATS[name], keeps=FORMATS[name].keeps | {claim})
    with pytest.raises(ContractError, match="lost in silence"):
        check_round_trip(liar, tmp_path)


def test_the_kit_notices_an_unknown_word_in_keeps(tmp_path):
    with pytest.raises(ContractError, match="boxen"):
        check_declaration(replace(FORMATS["coco"], keeps=frozenset({"boxen"})), tmp_path)


def _shifted(data):
    boxes = data.annotations.boxes.copy()
    boxes[0, 0] += 0.01
    return replace(data, annotations=replace(data.annotations, boxes=boxes))


def _without_extras(data):
    return replace(data, annotations=replace(data.annotations, extra={}))


@pytest.mark.parametrize(
    ("spoil", "kind"),
    [
        (_shifted, "boxes: 1 differ"),
        (lambda data: data.take([0, 1, 2, 3, 5]), "images without annotations"),
        (lambda data: data.take([0, 1, 2, 3, 4]), "images: 1 differ"),
        (_without_extras, "stranger.score: 2 differ"),
        (lambda data: replace(data, extra={}), "stranger.note: 1 differ"),
        (lambda data: replace(data, images=replace(data.images, splits=strings([""] * 6))), "splits: 5 differ"),
        (lambda data: replace(data, images=replace(data.images, ids=np.arange(6) + 1)), "image ids"),
        (
            lambda data: replace(data, annotations=replace(data.annotations, ignore=np.zeros(6, bool))),
            "ignore: 2 differ",
        ),
        (
            lambda data: replace(
                data,
                images=Images.of(data.images.names, None, data.images.ids, data.images.splits, extra=data.images.extra),
            ),
            "images",
        ),
    ],
)
def test_the_kit_notices_each_kind_of_loss(spoil, kind, tmp_path):
    data = example_datasets(tmp_path)["hard"]
    assert differences(data, data, Losses()) == []
    problems = differences(data, spoil(data), Losses())
    assert any(kind in problem for problem in problems), problems
