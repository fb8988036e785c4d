"""Rates and irregularity of populations, from arrays of spikes."""

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


def spike_statistics(
    steps: np.ndarray, ids: np.ndarray, dt: float, populations: Sequence[Population], duration_ms: float
) -> list[PopulationStatistics]:
    """Statistics of each population.

    Args:
        steps, ids: int64 steps and global ids of the spikes, in any order.
        dt: the step, ms.
        populations: (name, first global id, size) each.
        duration_ms: the model time that the spikes cover.

    Source: the CV is that of `elephant.statistics.cv` (no bias correction).
    """
    steps, ids = np.asarray(steps, dtype=np.int64), np.asarray(ids, dtype=np.int64)
    order_ids, order_steps = _by_neuron(steps, ids)
    neurons, first = np.unique(order_ids, return_index=True) if len(ids) else (order_ids, np.empty(0, np.int64))
    counts = np.diff(np.append(first, len(ids)))
    cv = _cv_of_sorted(order_steps, first, counts)
    result = []
    for name, first_id, size in populations:
        low, high = np.searchsorted(neurons, (first_id, first_id + size))
        spikes = int(counts[low:high].sum())
        known = cv[low:high]
        known = known[np.isfinite(known)]
        rate = spikes / (size * duration_ms * 1e-3) if size and duration_ms > 0 else 0.0
        mean = float(known.mean()) if len(known) else None
        result.append(PopulationStatistics(name=name, size=size, spikes=spikes, rate=rate, cv=mean))
    return result


def _by_neuron(steps: np.ndarray, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(ids, steps) ordered by (id, step)."""
    if len(steps) == 0:
        return ids, steps
    low = int(steps.min())
    bits = (int(steps.max()) - low).bit_length()
    if ids.min() >= 0 and int(ids.max()).bit_length() + bits < 63:
        # One sort of a packed key is about ten times faster than a lexsort.
        keys = (ids << bits) | (steps - low)
        keys.sort()
        return keys >> bits, (keys & ((1 << bits) - 1)) + low
    order = np.lexsort((steps, ids))
    return ids[order], steps[order]


def _cv_of_sorted(steps: np.ndarray, first: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """CV of the intervals of each neuron, NaN below 3 spikes; `first`, `counts`: each neuron's run in `steps`."""
    cv = np.full(len(first), np.nan)
    enough = counts >= 3
    if not enough.any():
        return cv
    # interval[i] = steps[i + 1] - steps[i]; the last spike of each neuron begins no interval of its own.
    interval = np.append(np.diff(steps), 0).astype(np.float64)
    last = first + counts - 1
    mean = np.where(counts > 1, (steps[last] - steps[first]) / np.maximum(counts - 1, 1), 0.0)
    deviation = interval - np.repeat(mean, counts)
    deviation[last] = 0.0
    variance = np.add.reduceat(deviation * deviation, first) / np.maximum(counts - 1, 1)
    # A mean of 0 (several spikes in one step, and in no other) has no CV.
    good = enough & (mean > 0)
    cv[good] = np.sqrt(variance[good]) / mean[good]
    return cv
