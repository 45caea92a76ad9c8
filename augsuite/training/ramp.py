"""The learning-rate range test: the loss while the learning rate rises, and what it suggests."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from augsuite.training.schedule import RANGE_STEPS

EXPLODED = 4.0
"""The test ends when the smoothed loss exceeds its lowest value this many times."""

_SMOOTHING = 0.9
_FALLEN = 0.95  # share of the fall after which the loss counts as close to its lowest
_LEAST = 10  # steps before the end is looked for, and fewer than which suggest nothing


class Curve(msgspec.Struct, frozen=True, kw_only=True):
    """What a range test found; `lr.json` holds it.

    Attributes:
        lr: of each step, ascending.
        loss: of each step.
        smoothed: exponential average of the loss, bias-corrected as Adam's.
        lowest: learning rate where the smoothed loss is lowest; None for a test too short to say.
        steepest: learning rate where it falls fastest over the logarithm of the rate, before its lowest.
        close: learning rate from which it is close to its lowest: 95 % of its fall is done.
        suggestion: a tenth of `close`: high enough to learn fast, with room before the loss grows. Of few images a network soon knows
            all, and the loss is lowest wherever the test ends, at rates far too high; therefore not a tenth of `lowest`. None where
            the loss did not fall.
    """

    lr: list[float]
    loss: list[float]
    smoothed: list[float]
    lowest: float | None
    steepest: float | None
    close: float | None
    suggestion: float | None


@dataclass
class RangeTest:
    """Takes the losses of a range test.

    Source: Smith 2017, Cyclical Learning Rates, section 3.3, arXiv:1506.01186; smoothing and end as in fast.ai's finder.
    """

    lr: list[float] = field(default_factory=list)
    loss: list[float] = field(default_factory=list)
    smoothed: list[float] = field(default_factory=list)
    _average: float = 0.0

    def take(self, lr: float, loss: float) -> bool:
        """Take one step.

        Returns:
            Whether the test is over: the loss has exploded, or the last rate was reached. A loss that is not a number is not kept.
        """
        if not math.isfinite(loss):
            return True
        self._average = _SMOOTHING * self._average + (1 - _SMOOTHING) * loss
        self.lr.append(lr)
        self.loss.append(loss)
        self.smoothed.append(self._average / (1 - _SMOOTHING ** len(self.lr)))
        exploded = len(self.lr) > _LEAST and self.smoothed[-1] > EXPLODED * min(self.smoothed)
        return exploded or len(self.lr) >= RANGE_STEPS

    def curve(self) -> Curve:
        """What was found."""
        lowest = steepest = close = None
        if len(self.lr) > _LEAST:
            bottom = min(range(len(self.lr)), key=self.smoothed.__getitem__)
            lowest = self.lr[bottom]
            slopes = [
                (self.smoothed[at + 1] - self.smoothed[at - 1]) / math.log(self.lr[at + 1] / self.lr[at - 1])
                for at in range(1, bottom)
            ]
            if bottom:
                low, top = self.smoothed[bottom], max(self.smoothed[:bottom])
                enough = top - _FALLEN * (top - low)
                close = next(rate for rate, loss in zip(self.lr, self.smoothed, strict=True) if loss <= enough)
            if slopes:
                steepest = self.lr[1 + min(range(len(slopes)), key=slopes.__getitem__)]
        return Curve(
            lr=self.lr,
            loss=self.loss,
            smoothed=self.smoothed,
            lowest=lowest,
            steepest=steepest,
            close=close,
            suggestion=None if close is None else close / 10,
        )


def range_epochs(epoch_steps: int) -> int:
    """Epochs that a test takes which runs to its end, of so many steps each."""
    return -(-RANGE_STEPS // epoch_steps)


def write_curve(folder: Path, curve: Curve) -> None:
    """Leave `lr.json` and `lr.svg` in a folder, each whole or not there."""
    json = msgspec.json.format(msgspec.json.encode(curve), indent=2) + b"\n"
    for name, content in (("lr.json", json), ("lr.svg", draw_curve(curve).encode())):
        partial = folder / f".{name}.partial"
        partial.write_bytes(content)
        partial.replace(folder / name)


def draw_curve(curve: Curve) -> str:
    """The loss over the learning rate as SVG, with the suggestion marked."""
    wide, high, left, foot = 640, 360, 60, 40
    if not curve.lr:
        return f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {wide} {high}"><text x="20" y="40">no steps</text></svg>\n'
    first, last = math.log10(curve.lr[0]), math.log10(max(curve.lr[-1], curve.lr[0] * 10))
    low = min(*curve.smoothed, *curve.loss)
    top = max(curve.smoothed[0] * 1.5, *curve.smoothed[:1], low + 1e-9)

    def x(rate: float) -> float:
        return left + (math.log10(rate) - first) / (last - first) * (wide - left - 20)

    def y(loss: float) -> float:
        return high - foot - (min(loss, top) - low) / (top - low) * (high - foot - 20)

    def line(values: Sequence[float], style: str) -> str:
        points = " ".join(f"{x(rate):.1f},{y(value):.1f}" for rate, value in zip(curve.lr, values, strict=True))
        return f'<polyline points="{points}" fill="none" {style}/>'

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {wide} {high}" font-family="sans-serif" font-size="12">',
        f'<rect width="{wide}" height="{high}" fill="white"/>',
    ]
    for power in range(math.ceil(first), math.floor(last) + 1):
        at = x(10.0**power)
        parts += [
            f'<line x1="{at:.1f}" y1="20" x2="{at:.1f}" y2="{high - foot}" stroke="#ddd"/>',
            f'<text x="{at:.1f}" y="{high - foot + 16}" text-anchor="middle">1e{power}</text>',
        ]
    for share in (0.0, 0.5, 1.0):
        value = low + share * (top - low)
        parts.append(f'<text x="{left - 6}" y="{y(value) + 4:.1f}" text-anchor="end">{value:.3g}</text>')
    parts += [line(curve.loss, 'stroke="#bbb"'), line(curve.smoothed, 'stroke="#1f6fb4" stroke-width="2"')]
    if curve.suggestion is not None:
        at = x(max(curve.suggestion, curve.lr[0]))
        parts += [
            f'<line x1="{at:.1f}" y1="20" x2="{at:.1f}" y2="{high - foot}" stroke="#c33" stroke-dasharray="4 3"/>',
            f'<text x="{at + 5:.1f}" y="32" fill="#c33">suggested: {curve.suggestion:.2g}</text>',
        ]
    parts.append(f'<text x="{(left + wide) / 2}" y="{high - 8}" text-anchor="middle">learning rate</text></svg>')
    return "\n".join(parts) + "\n"
