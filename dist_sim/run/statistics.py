"""Rates and irregularity of populations, gathered while a run goes on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np

Population = tuple[str, int, int]
"""A population: (name, first global id, size)."""


@final
@dataclass(frozen=True, kw_only=True)
class PopulationStatistics:
    """What a population did.

    Fields: spikes; rate [Hz], the mean over its neurons; cv, the coefficient of variation of the inter-spike intervals (standard
    deviation over mean), averaged over the neurons with at least 3 spikes, None if there are none.
    """

    name: str
    size: int
    spikes: int
    rate: float
    cv: float | None


@final
class SpikeStatistics:
    """Rates and CVs from spikes that come chunk by chunk; memory follows the neurons (32 bytes each), not the spikes.

    All sums are of integers, so that the result does not depend on where the chunks are cut.
    """

    def __init__(self) -> None:
        # Per global id: number of spikes, step of the first and the last, sum of the squared intervals between them [steps^2].
        self._count = self._first = self._last = self._squares = np.zeros(0, np.int64)

    def update(self, steps: np.ndarray, ids: np.ndarray) -> None:
        """Add a chunk: int64 steps and global ids in any order, none of them before those of an earlier chunk."""
        if len(steps) == 0:
            return
        self._grow(int(ids.max()) + 1)
        ids, steps = _by_neuron(steps, ids)
        begins = np.flatnonzero(np.append(True, ids[1:] != ids[:-1]))
        neurons, counts = ids[begins], np.diff(np.append(begins, len(ids)))
        new = self._count[neurons] == 0
        self._first[neurons[new]] = steps[begins[new]]
        # The first interval of a neuron in this chunk begins at its last spike in an earlier one, if there was one.
        interval = np.empty_like(steps)
        interval[1:] = steps[1:] - steps[:-1]
        interval[begins] = np.where(new, 0, steps[begins] - self._last[neurons])
        self._squares[neurons] += np.add.reduceat(interval * interval, begins)
        self._count[neurons] += counts
        self._last[neurons] = steps[begins + counts - 1]

    def of(self, populations: Sequence[Population], duration_ms: float) -> list[PopulationStatistics]:
        """The statistics of each population (name, first global id, size) over `duration_ms` of model time."""
        cv = self._cv()
        result = []
        for name, first, size in populations:
            spikes = int(self._count[first : first + size].sum())
            known = cv[first : first + size]
            known = known[np.isfinite(known)]
            rate = spikes / (size * duration_ms * 1e-3) if size and duration_ms > 0 else 0.0
            mean = float(known.mean()) if len(known) else None
            result.append(PopulationStatistics(name=name, size=size, spikes=spikes, rate=rate, cv=mean))
        return result

    def _cv(self) -> np.ndarray:
        """CV of the intervals of each neuron; NaN below 3 spikes, or with all of them in one step."""
        intervals = np.maximum(self._count - 1, 1)
        span = self._last - self._first
        # Deviations from the whole number below the mean: integers, so that nothing cancels (a regular neuron has exactly 0).
        # They do not overflow below 3e9 steps between two spikes.
        middle = span // intervals
        squares = self._squares - 2 * middle * span + intervals * middle * middle
        rest = span - intervals * middle
        variance = squares / intervals - (rest / intervals) ** 2
        good = (self._count >= 3) & (span > 0)
        cv = np.full(len(span), np.nan)
        cv[good] = np.sqrt(np.maximum(variance[good], 0.0)) * intervals[good] / span[good]
        return cv

    def _grow(self, size: int) -> None:
        if size > len(self._count):
            more = max(size, 2 * len(self._count)) - len(self._count)
            self._count, self._first, self._last, self._squares = (
                np.append(old, np.zeros(more, np.int64)) for old in (self._count, self._first, self._last, self._squares)
            )


def spike_statistics(
    steps: np.ndarray, ids: np.ndarray, populations: Sequence[Population], duration_ms: float
) -> list[PopulationStatistics]:
    """Statistics of each population from all its spikes at once.

    Args:
        steps, ids: int64 steps and global ids of the spikes, in any order.
        populations: (name, first global id, size) each.
        duration_ms: the model time that the spikes cover.

    Source: the CV is that of `elephant.statistics.cv` (no bias correction).
    """
    statistics = SpikeStatistics()
    statistics.update(np.asarray(steps, dtype=np.int64), np.asarray(ids, dtype=np.int64))
    return statistics.of(populations, duration_ms)


def _by_neuron(steps: np.ndarray, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(ids, steps) ordered by (id, step)."""
    low = int(steps.min())
    bits = (int(steps.max()) - low).bit_length()
    if ids.min() >= 0 and int(ids.max()).bit_length() + bits < 63:
        # One sort of a packed key is about ten times faster than a lexsort.
        keys = (ids << bits) | (steps - low)
        keys.sort()
        return keys >> bits, (keys & ((1 << bits) - 1)) + low
    order = np.lexsort((steps, ids))
    return ids[order], steps[order]
