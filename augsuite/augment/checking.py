"""What a transform drew, checked before it becomes part of a plan."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from augsuite.augment.plan import Warp


def warp_problem(warp: Any, width: int, height: int) -> str:
    """What is wrong with a warp of a canvas of `width` x `height`; empty for nothing."""
    if not isinstance(warp, Warp):
        return f"{type(warp).__name__}, not a Warp"
    if len(warp.matrix) != 9 or not all(map(math.isfinite, warp.matrix)):
        return f"the matrix {warp.matrix}, not 9 finite numbers"
    if problem := _matrix_problem(warp.matrix, width, height):
        return f"the matrix {warp.matrix}, {problem}"
    if warp.width < 1 or warp.height < 1:
        return f"a canvas of {warp.width}x{warp.height}"
    if warp.field is not None and (problem := warp.field.problem(warp.width, warp.height)):
        return problem
    return fill_problem(warp.fill)


def _matrix_problem(matrix: Sequence[float], width: int, height: int) -> str:
    a, b, c, d, e, f, g, h, i = matrix
    if g == h == 0:
        if i != 1:
            return "whose third row is neither 0, 0, 1 nor a perspective"
        return "which flattens the plane" if a * e == b * d else ""
    if a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g) == 0:
        return "which flattens the plane"
    if min(g * x + h * y + i for x in (0, width) for y in (0, height)) <= 0:
        return f"whose horizon crosses the canvas of {width}x{height} that it takes"
    return ""


def fill_problem(fill: Sequence[int]) -> str:
    """What is wrong with a colour; empty for nothing."""
    if len(fill) != 3 or not 0 <= min(fill) <= max(fill) <= 255:
        return f"the fill {fill}, not three numbers from 0 to 255"
    return ""
