"""One contender of `fiftyone.py`: augments a dataset when asked, on standard input, and answers with what it took.

    python bench/fiftyone_worker.py FOLDER

FOLDER is a checkout of another plugin; an empty name is our own.
"""

from __future__ import annotations

import sys

sys.path.append(sys.path.pop(0))  # `fiftyone.py` lies beside this file

import contextlib
import importlib.util
import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image

FIELD = "ground_truth"
LEVEL = 128


def main(folder: str) -> None:
    """Answer until the input ends."""
    answers = sys.stdout
    with contextlib.redirect_stdout(sys.stderr):
        from augsuite_fiftyone.database import connect

        fo = connect(quiet=True)
        fo.config.show_progress_bars = False
        augment = _theirs(Path(folder)) if folder else _ours
        for line in sys.stdin:
            question = json.loads(line)
            dataset = fo.load_dataset(question["dataset"])
            try:
                said = _answer(dataset, question, augment)
            except Exception as error:  # noqa: BLE001 - a peer's failure is a result
                lines = str(error).strip().splitlines() or [""]
                said = {"failure": f"{type(error).__name__}: {lines[0][:120]}"}
                _clean(dataset, question)
            print(json.dumps(said), file=answers, flush=True)


def _answer(dataset: Any, question: dict[str, Any], augment: Callable[..., list[str]]) -> dict[str, Any]:
    before = {path: tuple(box) for path, box in _boxes(dataset)} if question.get("labels") else {}
    start = time.process_time()
    ids = augment(dataset, question)
    said: dict[str, Any] = {"cpu_s": time.process_time() - start, "images": len(ids)}
    if len(ids) != len(dataset) - len(ids):
        said["failure"] = f"made {len(ids)} samples of {len(dataset) - len(ids)}"
    if before:
        areas = {Path(path).stem: (box[2] - box[0]) * (box[3] - box[1]) for path, box in before.items()}
        said["labels"] = [_looked_at(sample, min(areas.values())) for sample in dataset.select(ids)]
    _clean(dataset, question)
    return said


def _clean(dataset: Any, question: dict[str, Any]) -> None:
    made = dataset.match_tags("augmented").values("id")
    if made:
        dataset.delete_samples(made)
    for run in dataset.list_runs():
        dataset.delete_run(run)
    shutil.rmtree(question["folder"], ignore_errors=True)


def _ours(dataset: Any, question: dict[str, Any]) -> list[str]:
    import augsuite
    from augsuite_fiftyone.app_plugin.running import Settings, augment

    settings = Settings(augsuite.policy(question["policy"]), [FIELD], folder=Path(question["folder"]))
    return augment(dataset, settings).ids


def _theirs(folder: Path) -> Callable[[Any, dict[str, Any]], list[str]]:
    """The work of a plugin's operator, without its forms: all samples in turn."""
    spec = importlib.util.spec_from_file_location(
        "peer", folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    if spec is None or spec.loader is None:
        raise RuntimeError(f"{folder}: no plugin there")
    peer = importlib.util.module_from_spec(spec)
    sys.modules["peer"] = peer
    spec.loader.exec_module(peer)

    def run(dataset: Any, question: dict[str, Any]) -> list[str]:
        import albumentations

        out = Path(question["folder"])
        out.mkdir(parents=True)
        transforms = [getattr(albumentations, name)(**given) for name, given in question["transforms"]]
        return [
            peer.transform_sample(sample, transforms, [FIELD], str(out / f"{number}.jpg"))
            for number, sample in enumerate(list(dataset))
        ]

    return run


def _boxes(dataset: Any) -> list[tuple[str, list[float]]]:
    found = []
    for sample in dataset:
        width, height = sample.metadata.width, sample.metadata.height
        x, y, w, h = sample[FIELD].detections[0].bounding_box
        found.append((sample.filepath, [x * width, y * height, (x + w) * width, (y + h) * height]))
    return found


def _looked_at(sample: Any, area: float) -> dict[str, Any]:
    """What a new sample says, and what its image shows."""
    with PIL.Image.open(sample.filepath) as opened:
        bright = np.asarray(opened.convert("L")) > LEVEL
    height, width = bright.shape
    rows, columns = np.flatnonzero(bright.any(axis=1)), np.flatnonzero(bright.any(axis=0))
    seen = None
    if len(rows):
        seen = [float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)]
    labels = sample[FIELD].detections if sample.has_field(FIELD) and sample[FIELD] is not None else []
    boxes = [
        [box[0] * width, box[1] * height, (box[0] + box[2]) * width, (box[1] + box[3]) * height]
        for box in (label.bounding_box for label in labels)
    ]
    attributes = {}
    for label in labels[:1]:
        for name in ("number", "flag", "text"):
            field = next((each for each in label.field_names if each.endswith(name)), None)
            if field is not None:
                attributes[name] = label[field]
    cut = seen is not None and (seen[0] <= 0 or seen[1] <= 0 or seen[2] >= width or seen[3] >= height)
    return {"seen": seen, "boxes": boxes, "attributes": attributes, "share": float(bright.sum() / area), "cut": cut}


if __name__ == "__main__":
    main(sys.argv[1])
