"""Plans as files: what was drawn, what it was drawn for, and the fingerprint of the pixels that came of it."""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec
import numpy as np

from augsuite.augment.draw import Key
from augsuite.augment.plan import Mix, Plan, Warp
from augsuite.augment.policies import Policy
from augsuite.augment.render import Pool, render
from augsuite.dataset import Dataset, Sample
from augsuite.dataset.images import Image
from augsuite.dataset.saving import save_text
from augsuite.errors import ConfigError, DataError


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """A plan with what it takes to find its image again.

    Attributes:
        plan: what was drawn.
        policy: the name of the policy that drew it.
        key: seed, epoch and image row that it was drawn from.
        dataset: what the user called the dataset.
        image: the name of the image in it.
        sha256: `digest` of the pixels that it gave.
    """

    plan: Plan
    policy: str = ""
    key: Key = (0, 0, -1)
    dataset: str = ""
    image: str = ""
    sha256: str = ""

    def write(self, path: Path) -> None:
        """Write the record as indented JSON, whole or not at all.

        Raises:
            ConfigError: if the file cannot be written.
        """
        save_text(msgspec.json.format(msgspec.json.encode(self), indent=1).decode() + "\n", path)


def digest(image: Image) -> str:
    """SHA-256, in hex, of an image: its height, its width, then its bytes row by row."""
    height, width = image.shape[:2]
    found = hashlib.sha256(f"{height}x{width} ".encode())
    found.update(np.ascontiguousarray(image).data)
    return found.hexdigest()


def record(plan: Plan, policy: Policy, data: Dataset, key: Key, result: Sample) -> Record:
    """The record of a plan that a policy drew for an image of a dataset.

    Args:
        plan: what was drawn.
        policy: what drew it.
        data: the dataset.
        key: what it was drawn from; its row is the image's.
        result: what rendering it gave.
    """
    return Record(
        plan=plan, policy=policy.name, key=key, image=str(data.images.names[key[2]]), sha256=digest(result.image)
    )


def read_record(path: Path) -> Record:
    """Read what `Record.write` wrote, or a bare plan as `Plan.to_json` writes it.

    Raises:
        ConfigError: if there is no such file, or it holds no plan; says where in it.
    """
    try:
        values = msgspec.json.decode(path.read_bytes())
        if isinstance(values, dict) and "start" in values:
            return Record(plan=msgspec.convert(values, Plan))
        return msgspec.convert(values, Record)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror or error}). Name a file with a plan.") from error
    except (msgspec.DecodeError, RecursionError) as error:  # a ValidationError is a DecodeError
        raise ConfigError(
            f"{path}: not a plan: {error}. `augsuite preview --save-plans` and `Plan.to_json` write plans."
        ) from error


def replay(record: Record, sample: Sample, pool: Pool | None = None) -> Sample:
    """Render a plan again.

    Args:
        record: the plan. What it says of boxes is left out where the sample has none: pixels do not depend on it.
        sample: the image that it was drawn for.
        pool: where the partners of a mix step are.

    Raises:
        DataError: if the plan does not fit the image.
        ConfigError: if it mixes and there is no pool, or names a transform that is not there.
    """
    plan = record.plan if len(sample.boxes) else _without_boxes(record.plan)
    try:
        return render(plan, sample, pool)
    except (ArithmeticError, LookupError, TypeError, ValueError) as error:
        # A plan is a file that anybody can have edited; its values were not checked one by one.
        said = (str(error).splitlines() or [""])[0]
        raise DataError(
            f"the plan cannot be rendered ({type(error).__name__}: {said}). Draw it again, or undo the edit."
        ) from error


def _without_boxes(plan: Plan) -> Plan:
    ops = tuple(msgspec.structs.replace(op, keep=None) if isinstance(op, Warp) else op for op in plan.ops)
    start = plan.start
    if isinstance(start, Mix):
        start = msgspec.structs.replace(start, parts=(_without_boxes(start.parts[0]), *start.parts[1:]))
    return msgspec.structs.replace(plan, start=start, ops=ops)
