"""The packages that augsuite and its extras need, as its own metadata lists them, and the versions that are installed."""

from __future__ import annotations

import importlib.metadata
import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType

import msgspec

CORE = ""
"""What everything needs, among the extras."""

GIVES: Mapping[str, str] = MappingProxyType(
    {
        "augment": "policies, previews, augmented copies",
        "train": "trainers, studies, predictions",
        "timm": "a thousand more networks for the trainer finetune",
        "tensorboard": "curves in TensorBoard",
        "mlflow": "curves in MLflow",
        "wandb": "curves in Weights & Biases",
        "visdom": "curves in Visdom",
        "fiftyone": "datasets, samples and studies in the FiftyOne App",
        "ray": "runs and conversions on a Ray cluster",
        "remote": "datasets on S3, Google Cloud and web servers",
    }
)
"""The extras that the doctor looks at, and what each brings."""

_MODULES = {
    "defusedxml": "defusedxml",
    "mlflow-skinny": "mlflow",
    "opencv-python-headless": "cv2",
    "pillow": "PIL",
    "pyyaml": "yaml",
}
"""How a package is imported, where it is not as it is called."""

_LINE = re.compile(r"\s*([A-Za-z0-9._-]+)\s*(?:\[[^\]]*\])?\s*([^;]*)(?:;(.*))?")
_EXTRA = re.compile(r"extra\s*==\s*['\"]([^'\"]+)['\"]")
_COMPARED = re.compile(r"(>=|<=|==|!=|<|>|~=)\s*([^,\s]+)")


class Needed(msgspec.Struct, frozen=True):
    """A package that an extra needs.

    Attributes:
        name: as it is installed.
        wanted: which versions, such as `>=4.11,<5`.
        module: as it is imported.
    """

    name: str
    wanted: str
    module: str


def needed(requires: Sequence[str] | None = None) -> dict[str, list[Needed]]:
    """The packages of the core and of each extra; what an extra shares with a smaller one is listed there alone.

    Args:
        requires: lines of metadata; those of this distribution by default.
    """
    if requires is None:
        requires = importlib.metadata.requires("augsuite") or []
    listed: dict[str, dict[str, Needed]] = {extra: {} for extra in (CORE, *GIVES)}
    for line in requires:
        found = _LINE.fullmatch(line)
        if found is None:
            continue
        name, wanted, condition = found[1], found[2].replace(" ", ""), found[3] or ""
        said = _EXTRA.search(condition)
        extra = said[1] if said else CORE
        if extra in listed and name not in {"augsuite", "editables"}:  # the second belongs to an editable installation
            listed[extra][name] = Needed(name, wanted, _MODULES.get(name, name.replace("-", "_")))
    taken = set(listed[CORE])
    result = {CORE: list(listed[CORE].values())}
    for extra in sorted(GIVES, key=lambda each: len(listed[each])):
        result[extra] = [each for name, each in listed[extra].items() if name not in taken]
        taken.update(listed[extra])
    return {extra: result[extra] for extra in (CORE, *GIVES)}


def version(name: str) -> str | None:
    """The installed version of a package; None where it is not installed."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def fits(installed: str, wanted: str) -> bool:
    """Whether a version satisfies conditions such as `>=4.11,<5`; only the release counts (`2.1.0+cpu` is 2.1.0).

    Source: PEP 440, without pre-releases and wildcards, which our conditions do not use.
    """
    own = _release(installed)
    for sign, text in _COMPARED.findall(wanted):
        other = _release(text)
        width = max(len(own), len(other))
        left, right = (each + (0,) * (width - len(each)) for each in (own, other))
        good = {
            ">=": left >= right,
            "<=": left <= right,
            "==": left == right,
            "!=": left != right,
            "<": left < right,
            ">": left > right,
            "~=": left >= right and own[: len(other) - 1] == other[:-1],
        }[sign]
        if not good:
            return False
    return True


def _release(text: str) -> tuple[int, ...]:
    found = re.match(r"v?(\d+(?:\.\d+)*)", text)
    return tuple(int(part) for part in found[1].split(".")) if found else ()
