"""A commented study file to start from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec

from augsuite.config import parse_yaml

Task = Literal["detection", "classification"]

SCHEMA = "study.schema.json"
"""Where the first line of a study file tells an editor to look for its schema."""


def example(
    dataset: str,
    name: str,
    trainer: str = "ssd",
    *,
    task: str = "detection",
    design: str = "named",
    seeds: int = 3,
    epochs: int | None = None,
    split: tuple[int, int] | None = None,
) -> str:
    """Write a study file.

    Args:
        dataset: as the file should name it.
        name: of the study.
        trainer: the trainer's name.
        task: `detection` or `classification`: which augmentations are worth a try.
        design: one of `DESIGNS`.
        seeds: runs of each arm.
        epochs: of each run; the trainer's default where nothing is said.
        split: images trained on and measured on, drawn once; the dataset's own splits, or 80 % and 20 %, where nothing is said.
    """
    sizes = f"{{train: {split[0]}, val: {split[1]}}}" if split else "{train: 40, val: 160}"
    steps = _STEPS.get(task, _STEPS["detection"])
    lines = [
        ("study: " + _scalar(name), f"results go to studies/{name}"),
        ("dataset: " + msgspec.json.encode(dataset).decode(), "a folder as seen from this file, or a name"),
        (
            ("" if split else "# ") + "split: " + sizes,
            "numbers of images, shares (0.8) or names; else the dataset's own",
        ),
        (f"trainer: {trainer}", "see `augsuite trainers`"),
        (
            "config: {}" if epochs is None else f"config: {{epochs: {epochs}}}",
            "the trainer's settings, where not its defaults",
        ),
        (f"seeds: {seeds}", "runs of each arm; more seeds show smaller effects"),
    ]
    text = _HEAD + "".join(f"{left:<37} # {right}\n" for left, right in lines)
    text += "\n" + DESIGNS[design].format(**{key: _listed(value, design) for key, value in steps.items()})
    parse_yaml(text, "the example")  # a name that breaks the YAML shows here, not in the user's hands
    return text


def _scalar(text: str) -> str:
    """Text for YAML; in quotes where it would be something else: 2019, true, null."""
    return text if parse_yaml(text, "the example") == text else msgspec.json.encode(text).decode()


def _listed(arms: Sequence[Sequence[str]], design: str) -> str:
    """Steps as lines: under the name of their arm, or one after the other."""
    if design == "named":
        return "".join(
            f"  {'+'.join(map(_transform, steps))}:\n" + "".join(f"    - {{{step}}}\n" for step in steps)
            for steps in arms
        )
    return "".join(f"    - {{{step}}}\n" for step in dict.fromkeys(step for steps in arms for step in steps))


def _transform(step: str) -> str:
    return step.partition(",")[0].removeprefix("do: ")


_HFLIP, _VFLIP = "do: hflip, p: 0.5", "do: vflip, p: 0.5"

_STEPS: dict[str, dict[str, tuple[tuple[str, ...], ...]]] = {
    "detection": {
        "steps": ((_HFLIP,), (_HFLIP, _VFLIP), ("do: iou_crop",), ("do: photometric",)),
        "pair": ((_HFLIP,), ("do: iou_crop",)),
    },
    "classification": {
        "steps": ((_HFLIP,), ("do: translate",), ("do: color_jitter",), ("do: cutout",)),
        "pair": ((_HFLIP,), ("do: translate",)),
    },
}

_HEAD = f"""\
# yaml-language-server: $schema={SCHEMA}
# Which augmentation helps? Plan it with `augsuite study plan FILE`, run it with `augsuite study run FILE`.
"""

DESIGNS: dict[str, str] = {
    "named": """\
reference: none                       # the arm that the others are compared with
arms:                                 # name: a policy's name, a YAML file, or steps; {{policy: ..., config: ...}} with settings
  none: none
{steps}""",
    "add-one": """\
arms:
  rule: add-one                       # the base with each of these alone
  base: none                          # a policy, or {{policy: ..., config: ...}}; the reference
  steps:
{steps}\
    # - {{config: {{epochs: 60}}}}        # a setting of the trainer is tried like an augmentation
""",
    "cumulative": """\
arms:
  rule: cumulative                    # the base with the first of these, with the first two, ...
  base: none
  steps:
{steps}""",
    "leave-one-out": """\
arms:
  rule: leave-one-out                 # everything but each of its steps
  full:                               # a policy's name, a file, or steps; the reference
{steps}""",
    "grid": """\
arms:
  rule: grid                          # one step at several values of a parameter, or of its probability
  base: none
  step: {{do: hflip}}
  over: {{p: [0.1, 0.25, 0.5, 0.75]}}
""",
    "factorial": """\
arms:
  rule: factorial                     # each of these alone, and each pair: do two interact?
  base: none
  steps:
{pair}""",
}
"""Design -> the end of a study file."""
