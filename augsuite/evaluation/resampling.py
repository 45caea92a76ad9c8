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
        live: `(T, N)` which detections count at each threshold; None where all do at all of them.
        places: `(H,)` where the hits are among the detections, threshold after threshold.
        starts: `(T + 1,)` where each threshold's hits begin.
    """

    images: Rows
    truth_images: Rows
    live: NDArray[np.bool_] | None
    places: Rows
    starts: Rows

    @classmethod
    def of(cls, states: NDArray[np.int8], images: Rows, truth_images: Rows) -> Curve:
        """Prepare `(T, N)` states, as `augsuite.evaluation.matching.match` gives them."""
        hits = states == HIT
        live = states != IGNORED
        _, places = np.nonzero(hits)
        starts = np.concatenate([[0], np.cumsum(np.count_nonzero(hits, axis=1))])
        return cls(images, truth_images, None if live.all() else live, places, starts)

    def precision(self, times: Rows, recalls: NDArray[np.float64]) -> NDArray[np.float64] | None:
        """`(T, R)` precision at `recalls` where each image stands so many times; None where nothing is to be found.

        Copies of a detection come together. Where it is a hit, the last copy has the best precision, which holds for all of them.
        """
        wanted = int(times[self.truth_images].sum())
        if not wanted:
            return None
        own = times[self.images]
        if self.live is None:
            seen = np.cumsum(own)[self.places]
        else:
            rows = np.repeat(np.arange(len(self.live)), np.diff(self.starts))
            seen = np.cumsum(self.live * own, axis=1)[rows, self.places]
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
