"""AP over images that stand there several times or not at all, as a bootstrap draws them, thousands of times."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from augsuite.dataset.tables import Rows
from augsuite.evaluation.matching import HIT, IGNORED


@dataclass(frozen=True, slots=True)
class Curve:
    """One category, prepared: only hits raise precision, so that for everything else a count suffices.

    Attributes:
        images: `(N,)` image rows of its detections, the surest first.
        truth_images: `(G,)` image rows of its objects that are to be found.
        ignored: `(J,)` where those are that do not count, threshold after threshold.
        before: `(2, H)` of these, the first of a hit's threshold and the first after the hit.
        places: `(H,)` where the hits are among the detections, threshold after threshold.
        starts: `(T + 1,)` where each threshold's hits begin.
    """

    images: Rows
    truth_images: Rows
    ignored: Rows
    before: Rows
    places: Rows
    starts: Rows

    @classmethod
    def of(cls, states: NDArray[np.int8], images: Rows, truth_images: Rows) -> Curve:
        """Prepare `(T, N)` states, as `augsuite.evaluation.matching.match` gives them."""
        rows, places = np.nonzero(states == HIT)
        ignored_rows, ignored = np.nonzero(states == IGNORED)
        keys = ignored_rows * states.shape[1] + ignored
        before = np.stack([np.searchsorted(ignored_rows, rows), np.searchsorted(keys, rows * states.shape[1] + places)])
        starts = np.searchsorted(rows, np.arange(len(states) + 1))
        return cls(images, truth_images, ignored, before, places, starts)

    def precision(self, times: Rows, wanted: int, recalls: NDArray[np.float64]) -> NDArray[np.float64]:
        """`(T, R)` precision at `recalls` where each image stands so many times, and there are so many objects, at least 1.

        Copies of a detection come together. Where it is a hit, the last copy has the best precision, which holds for all of them.
        """
        own = times[self.images]
        skipped = np.concatenate([[0], np.cumsum(own[self.ignored])])[self.before]
        seen = np.cumsum(own)[self.places] - (skipped[1] - skipped[0])
        hits = np.concatenate([[0], np.cumsum(own[self.places])])
        found = np.zeros((len(self.starts) - 1, len(recalls)))
        for row, (low, high) in enumerate(zip(self.starts[:-1].tolist(), self.starts[1:].tolist(), strict=True)):
            number = hits[low + 1 : high + 1] - hits[low]
            precision = number / (seen[low:high] + np.spacing(1))
            best = np.maximum.accumulate(precision[::-1])[::-1]
            at = (number / wanted).searchsorted(recalls)
            reached = int(at.searchsorted(high - low))
            found[row, :reached] = best[at[:reached]]
        return found
