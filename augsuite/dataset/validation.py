"""Is a dataset fit to train on? A report of findings, by severity."""

from __future__ import annotations

import msgspec
import numpy as np

from augsuite.dataset.checks import Intake
from augsuite.dataset.file_checks import file_findings, reader_findings
from augsuite.dataset.findings import Finding
from augsuite.dataset.inspection import Inspection, inspect
from augsuite.dataset.table_checks import box_findings, category_findings, image_findings
from augsuite.dataset.tables import Dataset, Rows

_ORDER = ("error", "warning", "info")


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What `validate` found.

    Attributes:
        images: how many images the dataset has.
        annotations: how many boxes and image labels.
        files_opened: whether the image files were looked at.
        findings: errors first; empty where nothing is to be said.
    """

    images: int
    annotations: int
    files_opened: bool
    findings: list[Finding]

    @property
    def errors(self) -> int:
        """How many things are wrong, counted over all findings that are errors."""
        return sum(each.count for each in self.findings if each.severity == "error")


def validate(
    data: Dataset,
    intake: Intake | None = None,
    *,
    files: bool = True,
    inspection: Inspection | None = None,
    places: int = 5,
) -> Report:
    """Look for whatever would make training go wrong.

    Args:
        data: the dataset.
        intake: of its reading, with `skip_invalid` set: what the reader left out is a finding, too.
        files: open and decode every image file. Without, only the annotations are looked at.
        inspection: of the same dataset, where its files were looked at before.
        places: how many places each finding names.
    """
    if files and inspection is None:
        inspection = inspect(data)
    sizes = sizes_of(data, inspection)
    findings: list[Finding] = []
    if intake is not None:
        findings += reader_findings(intake.skipped, dict(intake.notes), places)
    findings += box_findings(data, sizes, places)
    findings += category_findings(data, places)
    findings += image_findings(data, places)
    if inspection is not None:
        findings += file_findings(data, inspection, places)
    return Report(
        images=len(data),
        annotations=len(data.annotations),
        files_opened=inspection is not None,
        findings=sorted(findings, key=lambda each: _ORDER.index(each.severity)),
    )


def sizes_of(data: Dataset, inspection: Inspection | None) -> Rows:
    """`(I, 2)` the sizes that the dataset says; where it says none, those of the files."""
    sizes = data.images.sizes
    if inspection is None:
        return sizes
    return np.where((sizes > 0).all(axis=1, keepdims=True), sizes, inspection.sizes)
