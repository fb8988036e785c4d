"""Poisson input as a function of (seed, stream, global id, step): no state, no history, the same on every device.

The count of a neuron in a step is found by inversion of 32 random bits; four neighbours by global id share one Philox block. A
delay is a shift of the step, so a generator costs nothing but the counts themselves.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from dist_sim.kernels import cuda
from dist_sim.kernels.backend import BLOCK, call, kernel
from dist_sim.kernels.philox import philox4x32

_GUIDE_BITS = 10


@dataclass(frozen=True, kw_only=True)
class CountTables:
    """Inverse distribution functions, one row per mean.

    Attributes:
        first: (rows,) uint32, smallest count that 32 bits can give.
        thresholds: (rows, width) uint32: count = first + number of thresholds below the bits.
        guide: (rows * 1024,) uint8: that number for the top 10 bits, 255 where they do not decide.
        largest: the largest count of each row.
    """

    first: np.ndarray
    thresholds: np.ndarray
    guide: np.ndarray
    largest: np.ndarray


def count_tables(means: np.ndarray, *, rows: int = 0) -> CountTables:
    """Tables for Poisson counts of the given means (events per step), each in (0, 1e6].

    The probabilities grow from the mode by recurrence and are normalised by their sum: IEEE arithmetic alone, so every machine
    gets the same table. Resolution 2**-32: rarer counts do not occur.

    Args:
        rows: at least so many, the last ones for no mean.
    """
    known = [_thresholds(float(mean)) for mean in means]
    known += [(0, np.zeros(0, np.uint32))] * (rows - len(known))
    width = roomy_width(max((len(t) for _, t in known), default=1))
    thresholds = np.full((len(known), width), 0xFFFFFFFF, dtype=np.uint32)
    for r, (_, t) in enumerate(known):
        thresholds[r, : len(t)] = t
    low = np.arange(2**_GUIDE_BITS, dtype=np.uint64) << np.uint64(32 - _GUIDE_BITS)
    guide = np.empty((len(known), 2**_GUIDE_BITS), dtype=np.uint8)
    for r, t in enumerate(thresholds):
        at_low, at_high = (np.searchsorted(t, low + np.uint64(k), side="left") for k in (0, 2 ** (32 - _GUIDE_BITS) - 1))
        guide[r] = np.where((at_low == at_high) & (at_low < 255), at_low, 255)
    first = np.array([f for f, _ in known], dtype=np.uint32)
    largest = first + np.array([len(t) for _, t in known], dtype=np.uint32)
    return CountTables(first=first, thresholds=thresholds, guide=guide.reshape(-1), largest=largest)


def roomy_width(largest: int) -> int:
    """The width of a table for counts up to `largest`: one of few (24, 32, 48, 64, 96, ...), so that tables of other rates have
    the same."""
    power = 1 << max(largest - 1, 23).bit_length()
    return power * 3 // 4 if largest <= power * 3 // 4 else power


def _thresholds(mean: float) -> tuple[int, np.ndarray]:
    reach = int(7.5 * mean**0.5) + 40
    mode = int(mean)
    low = max(0, mode - reach)
    weights = np.zeros(mode + reach - low + 1)
    weights[mode - low] = 1.0
    for k in range(mode - 1, low - 1, -1):
        weights[k - low] = weights[k + 1 - low] * (k + 1) / mean
    for k in range(mode + 1, mode + reach + 1):
        weights[k - low] = weights[k - 1 - low] * mean / k
    ends = np.cumsum(weights)
    edges = np.floor(ends / ends[-1] * 2.0**32)  # bits < edges[k] give a count of at most low + k
    skipped = int(np.count_nonzero(edges < 1))
    edges = edges[skipped:]
    return low + skipped, (edges[edges < 2.0**32] - 1).astype(np.uint32)


def alike_blocks(table: np.ndarray, ids: np.ndarray, index: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """(n / 128,) uint8: 1 for a block of neurons with consecutive ids, 2 if also their places are consecutive and they have one
    table and one weight: the kernel then reads no array per neuron.
    """
    consecutive, places = (
        ((a.astype(np.int64).reshape(-1, BLOCK) - np.arange(BLOCK)) == a.reshape(-1, BLOCK)[:, :1]).all(axis=1)
        for a in (ids, index)
    )
    one_table, one_weight = ((a.reshape(-1, BLOCK) == a.reshape(-1, BLOCK)[:, :1]).all(axis=1) for a in (table, weight))
    return np.where(consecutive, 1 + (places & one_table & one_weight), 0).astype(np.uint8)


def _poisson(call, step, key, window, tables, targets, input_vector, *, stream: int, threads: int):
    return call("poisson", [jax.ShapeDtypeStruct(input_vector.shape, input_vector.dtype)], step, key, window, *tables, *targets,
                input_vector, in_place={11: 0}, stream=np.uint32(stream), threads=np.int64(threads))[0]  # fmt: skip


@kernel(native=partial(_poisson, call), cuda=partial(_poisson, cuda.call))
def poisson(step, key, window, tables, targets, input_vector, *, stream: int, threads: int):
    """Adds weight x count of the step `step - delay` to the input vector.

    Args:
        step: () int32.
        key: (2,) uint32, see `key_words`.
        window: (3,) int32: delay, and the steps `start` and `stop` between which the generator is active.
        tables: (thresholds, first, guide) arrays of `CountTables`.
        targets: (alike, table, id, index, weight): (n / 128,) uint8, see `alike_blocks`; (n,) int32 row of the tables or -1 for
            no input; (n,) uint32 global id; (n,) uint32 place in the input vector; (n,) integer weight.
        input_vector: (threads, size) integers; row 0 receives.
        stream: number of the drive among those of a neuron.

    Returns:
        The new input vector.
    """
    delay, start, stop = window
    thresholds, first, _ = tables
    _, table, ids, index, weight = targets
    emitted = step - delay
    words = philox4x32(key[0], key[1], ids >> 2, emitted.astype(jnp.uint32), jnp.uint32(0), jnp.uint32(stream))
    bits = jnp.where(ids & 2, jnp.where(ids & 1, words[3], words[2]), jnp.where(ids & 1, words[1], words[0]))
    row, width = jnp.maximum(table, 0), thresholds.shape[1]
    below = jnp.zeros_like(bits)  # thresholds below the bits, found by halves: one operation on a GPU
    for half in reversed(range(width.bit_length())):
        more = below + jnp.uint32(1 << half)
        probed = thresholds[row, jnp.minimum(more, width) - 1]
        below = jnp.where((more <= width) & (probed < bits), more, below)
    counts = first[row] + below
    active = (table >= 0) & (emitted >= start) & (emitted < stop)
    return input_vector.at[0, index].add(jnp.where(active, weight * counts.astype(weight.dtype), 0))
