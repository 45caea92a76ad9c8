"""The packages: whether they are installed in a version that fits, and whether they can be imported."""

from __future__ import annotations

import platform
import sys
from collections.abc import Callable, Iterator
from typing import Any

from augsuite import __version__, registry
from augsuite.doctor.probing import probe
from augsuite.doctor.report import Check
from augsuite.doctor.requirements import GIVES, Needed, fits, version
from augsuite.errors import PluginError

_GROUP, _PACKAGES = "augsuite", "packages"
_OPENCVS = ("opencv-python-headless", "opencv-python", "opencv-contrib-python", "opencv-contrib-python-headless")
_LEAST_PYTHON = (3, 11)

_TORCH_FACTS = """
import torch
found["torch"] = torch.__version__
found["threads"] = torch.get_num_threads()
found["capability"] = torch.backends.cpu.get_cpu_capability()
found["built_for"] = torch.version.cuda or torch.version.hip or ""
found["mps"] = torch.backends.mps.is_available()
found["gpus"] = []
if torch.cuda.is_available():
    for number in range(torch.cuda.device_count()):
        of = torch.cuda.get_device_properties(number)
        value = (torch.ones(64, 64, device=f"cuda:{number}") @ torch.ones(64, 64, device=f"cuda:{number}")).sum().item()
        found["gpus"].append({"name": of.name, "gb": of.total_memory / 1e9, "right": value == 64.0**3,
                              "bf16": torch.cuda.is_bf16_supported(including_emulation=False)})
"""


def ourselves() -> Iterator[Check]:
    """Python, augsuite, its plugins, and one OpenCV that needs no windows."""
    said = f"{platform.python_version()} ({sys.executable})"
    fine = sys.version_info[:2] >= _LEAST_PYTHON
    yield Check(
        group=_GROUP,
        name="Python",
        status="ok" if fine else "broken",
        said=said,
        advice="" if fine else "make an environment with Python 3.11 or later: python3.11 -m venv .venv",
    )
    found = registry.default()
    for hook in registry.HOOKS:
        try:
            getattr(found, hook.removeprefix("augsuite_"))()
        except PluginError as error:
            yield Check(group=_GROUP, name="plugins", status="broken", said=str(error), advice="augsuite plugins")
    for failure in found.failures:
        yield Check(
            group=_GROUP,
            name=f"plugin {failure.plugin}",
            status="broken",
            said=f"{failure.stage}: {failure.message}",
            advice=f"update or uninstall it, or leave it out: export AUGSUITE_DISABLE_PLUGINS={failure.plugin}",
        )
    yield Check(group=_GROUP, name="augsuite", status="ok", said=f"{__version__}, {len(found.plugins())} plugins")
    yield from _opencv()


def _opencv() -> Iterator[Check]:
    installed = [(name, version(name)) for name in _OPENCVS]
    there = [name for name, said in installed if said]
    if len(there) > 1:
        yield Check(
            group=_GROUP,
            name="OpenCV",
            status="broken",
            said=f"{' and '.join(there)} are installed, and write over each other's files",
            advice=f"pip uninstall -y {' '.join(there)} && pip install 'opencv-python-headless<5'",
        )
    elif there and "headless" not in there[0]:
        yield Check(
            group=_GROUP,
            name="OpenCV",
            status="note",
            said=f"{there[0]} opens windows, for which it needs libraries that servers lack (libGL)",
            advice=f"pip uninstall -y {there[0]} && pip install 'opencv-python-headless<5'",
        )


def installed(extra: str, packages: list[Needed]) -> list[Check]:
    """What is missing of an extra, or of another version than it needs; nothing is imported."""
    checks = []
    missing = [each.name for each in packages if version(each.name) is None]
    if missing and extra:
        checks.append(
            Check(
                group=_PACKAGES,
                name=extra,
                status="missing",
                said=f"{GIVES[extra]}: {', '.join(missing)} not installed",
                advice=f"pip install 'augsuite[{extra}]'",
            )
        )
    elif missing:
        checks.append(
            Check(
                group=_PACKAGES,
                name="core",
                status="broken",
                said=f"{', '.join(missing)} not installed",
                advice="pip install --force-reinstall --no-deps augsuite && pip install augsuite",
            )
        )
    for each in packages:
        own = version(each.name)
        if own is not None and not fits(own, each.wanted):
            checks.append(
                Check(
                    group=_PACKAGES,
                    name=each.name,
                    status="broken",
                    said=f"{own} is installed, and augsuite needs {each.wanted}",
                    advice=f"pip install '{each.name}{each.wanted}'",
                )
            )
    return checks


def importing(extra: str, packages: list[Needed]) -> Callable[[], list[Check]]:
    """A function that tries to import what is installed of an extra, in another process."""

    def run() -> list[Check]:
        there = [each for each in packages if version(each.name) is not None]
        # Importing FiftyOne attaches to a database: `database.trial` does it, with one of its own.
        tried = [each for each in there if each.module != "fiftyone"]
        if not there:
            return []
        found = probe([each.module for each in tried], _TORCH_FACTS if any(e.module == "torch" for e in tried) else "")
        checks = [
            Check(
                group=_PACKAGES,
                name=each.name,
                status="broken",
                said=f"{version(each.name)} is installed, and importing {each.module} fails: {problem}",
                advice=_repair(each, problem),
            )
            for each in tried
            if (problem := found.errors.get(each.module, ""))
        ]
        if not checks and len(there) == len(packages):
            listed = ", ".join(f"{each.name} {version(each.name)}" for each in there)
            said = f"{GIVES[extra]}: {listed}" if extra else listed
            checks.append(Check(group=_PACKAGES, name=extra or "core", status="ok", said=said))
        return checks + (list(_device(found.facts)) if "torch" in found.facts else [])

    return run


def _repair(each: Needed, problem: str) -> str:
    if "libGL" in problem or "libgthread" in problem:
        return "sudo apt install libgl1 libglib2.0-0, or use the OpenCV that needs neither: opencv-python-headless"
    return f"pip install --force-reinstall '{each.name}{each.wanted}'"


def _device(facts: dict[str, Any]) -> Iterator[Check]:
    """What PyTorch computes on."""
    for number, gpu in enumerate(facts.get("gpus", [])):
        said = f"cuda:{number} {gpu['name']}, {gpu['gb']:.0f} GB, bfloat16: {'yes' if gpu['bf16'] else 'no'}"
        right = gpu["right"]
        yield Check(
            group=_PACKAGES,
            name="device",
            status="ok" if right else "broken",
            said=said if right else f"{said}; it multiplies wrongly",
            advice="" if right else "update its driver, or train on the CPU: export CUDA_VISIBLE_DEVICES=",
        )
    if facts.get("error"):
        yield Check(
            group=_PACKAGES,
            name="device",
            status="broken",
            said=f"asking PyTorch for its devices fails: {facts['error']}",
            advice="update the GPU's driver, or train on the CPU: export CUDA_VISIBLE_DEVICES=",
        )
        return
    threads = f"{facts['threads']} threads, {facts['capability']}"
    if facts.get("mps"):
        yield Check(group=_PACKAGES, name="device", status="ok", said=f"mps (Apple), {threads}")
    elif not facts.get("gpus"):
        from augsuite.engines.places import visible_gpus

        idle = len(visible_gpus())
        reason = f"; {idle} GPUs are there, and this PyTorch does not see them" if idle else ""
        yield Check(
            group=_PACKAGES,
            name="device",
            status="broken" if idle else "ok",
            said=f"the CPU: {threads}{reason}",
            advice=(
                "pip install --force-reinstall torch torchvision (the build of CUDA that the driver supports: pytorch.org)"
                if idle
                else ""
            ),
        )


JOBS: dict[str, tuple[str, ...]] = {
    "convert": (),
    "augment": ("augment",),
    "train": ("augment", "train"),
    "fiftyone": ("augment", "fiftyone"),
    "ray": ("ray",),
    "remote": ("remote",),
    **{extra: ("augment", "train", extra) for extra in ("timm", "tensorboard", "mlflow", "wandb", "visdom")},
}
"""What somebody may want to do, and the extras that it takes; everything takes the core."""
