"""The dataset: tables, checks, edits, statistics and image files."""

from augsuite.dataset.checks import Intake, checked
from augsuite.dataset.sample import ArraySource, FileSource, Sample
from augsuite.dataset.tables import ABSENT, UNREAD, Annotations, Categories, Dataset, Images, objects, strings

__all__ = [
    "ABSENT",
    "UNREAD",
    "Annotations",
    "ArraySource",
    "Categories",
    "Dataset",
    "FileSource",
    "Images",
    "Intake",
    "Sample",
    "checked",
    "objects",
    "strings",
]
