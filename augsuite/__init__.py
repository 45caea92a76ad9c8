"""augsuite prepares vision datasets, augments them, and measures what each augmentation does.

Everything but `hookimpl` and `__version__` is imported when it is first used, so that `import augsuite` stays light.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

import pluggy

if TYPE_CHECKING:
    from augsuite.augment.policies import Policy, policy
    from augsuite.conversion import convert, read, write
    from augsuite.correction import correct
    from augsuite.dataset import Annotations, Categories, Dataset, Images, Sample
    from augsuite.dataset.difference import diff
    from augsuite.dataset.duplicates import dedupe
    from augsuite.dataset.fetch import fetch
    from augsuite.dataset.merging import merge
    from augsuite.dataset.validation import validate
    from augsuite.detection import formats
    from augsuite.errors import AugsuiteError, ConfigError, DataError, MissingExtraError, PluginError
    from augsuite.study.results import StudyResults, read_study

__version__ = "0.1.0"

hookimpl = pluggy.HookimplMarker("augsuite")

_HOME = {
    "Annotations": "dataset",
    "AugsuiteError": "errors",
    "Categories": "dataset",
    "ConfigError": "errors",
    "DataError": "errors",
    "Dataset": "dataset",
    "Images": "dataset",
    "MissingExtraError": "errors",
    "PluginError": "errors",
    "Policy": "augment",
    "Sample": "dataset",
    "StudyResults": "study.results",
    "convert": "conversion",
    "correct": "correction",
    "dedupe": "dataset.duplicates",
    "diff": "dataset.difference",
    "fetch": "dataset.fetch",
    "formats": "detection",
    "merge": "dataset.merging",
    "policy": "augment",
    "read": "conversion",
    "read_study": "study.results",
    "validate": "dataset.validation",
    "write": "conversion",
}

__all__ = [
    "Annotations",
    "AugsuiteError",
    "Categories",
    "ConfigError",
    "DataError",
    "Dataset",
    "Images",
    "MissingExtraError",
    "PluginError",
    "Policy",
    "Sample",
    "StudyResults",
    "__version__",
    "convert",
    "correct",
    "dedupe",
    "diff",
    "fetch",
    "formats",
    "hookimpl",
    "merge",
    "policy",
    "read",
    "read_study",
    "validate",
    "write",
]


def __getattr__(name: str) -> Any:
    """Import a public name from the module it lives in."""
    if name not in _HOME:
        raise AttributeError(f"module 'augsuite' has no attribute {name!r}")
    return getattr(importlib.import_module(f"augsuite.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
