"""Parts of a state without placement: what one process gives, and a network that is put together from those of all."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, final

import jax
import numpy as np
from jax.sharding import NamedSharding

from dist_sim.partition.mesh import NEURON, from_blocks, local_part

if TYPE_CHECKING:
    from dist_sim.network.plasticity import Plasticity
    from dist_sim.network.projection import Projection

PADDING = 2**32 - 1  # the place of the padding


def split_part(array: jax.Array) -> np.ndarray:
    """This process's part of an array, along whichever axis the mesh splits it."""
    spec = array.sharding.spec if isinstance(array.sharding, NamedSharding) else ()
    return local_part(array, spec.index(NEURON) if NEURON in spec else 0)


def distances(numbers: np.ndarray) -> np.ndarray:
    """Ascending numbers below 2**32 as the first one and the distances between them: mostly equal, so that they compress to
    nothing."""
    return np.diff(numbers, prepend=0).astype(np.uint32)


def found_in(wanted: np.ndarray, part: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Which of the numbers wanted a part has, as flags, and where in the part those are.

    Args:
        part: as `distances` says; None for all numbers from 0 on.
    """
    if part is None:
        return np.ones(len(wanted), dtype=bool), wanted
    numbers = np.cumsum(part, dtype=np.int64)
    at = np.searchsorted(numbers, wanted)
    known = at < len(numbers)
    known[known] = numbers[at[known]] == wanted[known]
    return known, at[known]


def in_order(place: np.ndarray) -> np.ndarray:
    """Where the synapses (or targets) of some devices are, in order of their places; the padding is left out."""
    real = np.flatnonzero(place != PADDING)
    if len(real) and int(place[real].max()) == len(real) - 1:
        order = np.empty_like(real)
        order[place[real]] = real
        return order
    return real[np.argsort(place[real])]


@final
class RestoringFlight:
    """The spikes in flight, put together from the parts of a checkpoint: several processes may know the same spike."""

    def __init__(self, projection: Projection, step: int):
        self._projection, self._step = projection, step
        self._spikes, self._totals = np.zeros((0, 3), np.int64), np.zeros(2, np.int64)

    def take(self, saved: Mapping[str, np.ndarray]) -> None:
        """Takes in what `Projection.portable` gave on one process."""
        first = self._projection.exchanged_until(self._step) - self._projection.slots
        steps = np.repeat(np.arange(len(saved["spike_counts"])) + first, saved["spike_counts"])
        number = saved.get("spike_numbers", np.ones(len(steps), np.uint32))
        spikes = np.stack([steps, saved["spike_ids"].astype(np.int64), number.astype(np.int64)], axis=1)
        self._spikes = np.unique(np.concatenate([self._spikes, spikes]), axis=0)
        self._totals += saved["totals"]

    def finish(self) -> None:
        """Puts the projection there."""
        self._projection.restore_flight(self._spikes, self._totals, self._step)


@final
class RestoringPlasticity:
    """The synapses and targets of this process, filled from the parts of a checkpoint one after the other."""

    def __init__(self, plastic: Plasticity):
        self._plastic = plastic
        self._state, self._last = (local_part(s.value).copy() for s in (plastic.state, plastic.last))
        self._real, self._posts = (local_part(s.value) for s in (plastic.place, plastic.target_place))
        self._at = np.flatnonzero(self._real != PADDING)
        self._targets_at = np.flatnonzero(self._posts != PADDING)
        self._capacity = plastic.post_steps.value.shape[1]
        self._found: list[tuple[np.ndarray, ...]] = []

    def take(self, saved: Mapping[str, np.ndarray]) -> None:
        """Takes in what `Plasticity.portable` gave on one process."""
        known, at = found_in(self._real[self._at].astype(np.int64), saved.get("synapses"))
        self._state[self._at[known]] = np.stack([saved[name][at] for name in self._plastic.text.variables], axis=1)
        self._last[self._at[known]] = saved["last"][at]
        known, at = found_in(self._posts[self._targets_at].astype(np.int64), saved.get("targets"))
        kept = saved["post_kept"].astype(np.int64)
        self._capacity = max(self._capacity, 1 << (int(kept.max(initial=1)) - 1).bit_length())
        first, length = (np.cumsum(kept) - kept)[at], kept[at]
        number = np.arange(length.sum()) - np.repeat(np.cumsum(length) - length, length)
        which = np.repeat(first, length) + number
        row = np.repeat(self._targets_at[known], length)
        text = self._plastic.text
        traces = np.zeros((len(which), text.stored), self._state.dtype)
        for column, name in enumerate(text.traces[: text.stored]):
            traces[:, column] = saved[name][which]
        self._found.append((row, number, saved["post_steps"][which], traces))

    def finish(self) -> None:
        """Puts the synapses there."""
        plastic, rows = self._plastic, len(self._posts)
        steps = np.zeros((rows, self._capacity), np.int32)
        traces = np.zeros((rows, self._capacity, plastic.text.stored), self._state.dtype)
        count = np.zeros(rows, np.uint32)
        for row, number, of_row, trace in self._found:
            steps[row, number], traces[row, number] = of_row, trace
            np.add.at(count, row, 1)
        states = (plastic.state, plastic.last, plastic.post_steps, plastic.post_traces, plastic.post_count)
        for state, value in zip(states, (self._state, self._last, steps, traces, count), strict=True):
            state.reset_value(from_blocks(plastic.mesh, np.split(value, len(plastic.local))))
