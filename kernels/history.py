"""The spikes in flight: a ring of rows of the synapse table, in order of steps.

`ring` (capacity,) uint32 holds the row of every spike that has synapses on this device; `marks` (slots, 2) uint32 its (start,
count) for each of the last `slots` steps; `counters` (8,) uint32 the head of the ring, the largest number of spikes that were
alive, the delivered and the scheduled synaptic events (two words each, low first) and an overflow flag. Past the capacity
nothing is written and the flag is set: the caller runs the chunk again with more room.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from dist_sim.kernels.backend import call

HEAD, LIVE_MAX, DELIVERED, SCHEDULED, OVERFLOW = 0, 1, 2, 4, 6
NUM_COUNTERS = 8


def count64(counters: np.ndarray, which: int) -> int:
    """A 64-bit count out of its two words, summed over the devices; `counters` (devices, 8)."""
    words = np.asarray(counters, dtype=np.uint64).reshape(-1, NUM_COUNTERS)
    return int((words[:, which] + (words[:, which + 1] << np.uint64(32))).sum())


def push_masks(step, masks, events, sources, history, *, num_delays: int, backend: str):
    """Appends the spikes of an interval.

    Args:
        step: () int32, first step of the interval.
        masks: (devices, steps, words) uint32, a bit per source slot.
        events: (2, num_events) uint32, (step, row) of spikes from outside, in order of steps.
        sources: (present, rank, pointers) of the table.
        history: (ring, marks, counters).

    Returns:
        The new (ring, marks, counters).
    """
    if backend == "cpp":
        return call("push_masks", _like(history), step, masks, events, *sources, *history,
                    in_place={6: 0, 7: 1, 8: 2}, num_delays=np.int64(num_delays))  # fmt: skip
    present, rank, pointers = sources
    words = jnp.swapaxes(masks, 0, 1).reshape(masks.shape[1], -1) & present[: masks.shape[0] * masks.shape[2]]
    bits = (words[:, :, None] >> jnp.arange(32, dtype=jnp.uint32)) & 1
    slots = jnp.arange(words.shape[1] * 32, dtype=jnp.uint32)
    rows = row_of(slots, present, rank)
    for s in range(words.shape[0]):
        spiking = bits[s].reshape(-1).astype(bool)
        history = _append(history, step + s, jnp.where(spiking, rows, _NO_ROW), events, pointers, num_delays)
    return history


def push_ids(step, ids, counts, events, sources, history, *, num_delays: int, backend: str):
    """As `push_masks`, from lists: `ids` (devices, steps, capacity) uint32 source slots, `counts` (devices, steps) uint32.

    A count above the capacity sets the overflow flag.
    """
    if backend == "cpp":
        return call("push_ids", _like(history), step, ids, counts, events, *sources, *history,
                    in_place={7: 0, 8: 1, 9: 2}, num_delays=np.int64(num_delays))  # fmt: skip
    present, rank, pointers = sources
    capacity = ids.shape[2]
    for s in range(ids.shape[1]):
        listed = jnp.arange(capacity, dtype=jnp.uint32) < counts[:, s, None]
        known = (present[ids[:, s] >> 5] >> (ids[:, s] & 31)) & 1
        rows = jnp.where(listed & (known == 1), row_of(ids[:, s], present, rank), _NO_ROW).reshape(-1)
        history = _append(history, step + s, rows, events, pointers, num_delays)
        ring, marks, counters = history
        history = ring, marks, counters.at[OVERFLOW].max((counts[:, s] > capacity).any().astype(jnp.uint32))
    return history


def row_of(slots, present, rank):
    """Row of each source slot (meaningless where its bit of `present` is not set)."""
    below = present[slots >> 5] & ((jnp.uint32(1) << (slots & 31)) - jnp.uint32(1))
    return rank[slots >> 5] + jax.lax.population_count(below)


def add64(counters, which: int, n):
    """Adds a uint32 to a 64-bit count."""
    low = counters[which] + n
    return counters.at[which].set(low).at[which + 1].add((low < n).astype(jnp.uint32))


_NO_ROW = np.uint32(0xFFFFFFFF)


def _append(history, step, rows, events, pointers, num_delays):
    """One step of the reference: the rows that are not `_NO_ROW`, and the events from outside."""
    ring, marks, counters = history
    capacity, slot = ring.shape[0], step % marks.shape[0]
    marks = marks.at[slot].set(jnp.stack([counters[HEAD], jnp.uint32(0)]))
    now = events[0] == step.astype(jnp.uint32)
    rows = jnp.concatenate([rows, jnp.where(now, events[1], _NO_ROW)])
    valid = rows != _NO_ROW
    order = jnp.cumsum(valid.astype(jnp.uint32))
    count, alive = order[-1], marks[:, 1].sum(dtype=jnp.uint32)
    live = alive + count
    place = jnp.where(
        valid & (order + alive <= capacity), (counters[HEAD] + order - 1) % jnp.uint32(capacity), jnp.uint32(capacity)
    )
    ring = ring.at[place].set(rows, mode="drop")
    written = jnp.minimum(count, jnp.uint32(capacity) - jnp.minimum(alive, jnp.uint32(capacity)))
    marks = marks.at[slot, 1].set(written)
    safe = jnp.where(valid, rows, 0)
    sizes = jnp.where(valid, pointers[(safe + 1) * num_delays] - pointers[safe * num_delays], 0)
    counters = add64(counters, SCHEDULED, sizes.sum(dtype=jnp.uint32))
    counters = counters.at[HEAD].set((counters[HEAD] + written) % jnp.uint32(capacity))
    counters = counters.at[LIVE_MAX].max(live).at[OVERFLOW].max((live > capacity).astype(jnp.uint32))
    return ring, marks, counters


def _like(history) -> list[jax.ShapeDtypeStruct]:
    return [jax.ShapeDtypeStruct(h.shape, h.dtype) for h in history]


def compact(masks, first, *, capacity: int, backend: str):
    """Bits to lists: `masks` (steps, words) uint32 -> (steps, capacity) uint32 slots numbered from `first`, (steps,) counts.

    A count may exceed the capacity; the list then holds the first ones.
    """
    steps, words = masks.shape
    if backend == "cpp":
        results = [jax.ShapeDtypeStruct((steps, capacity), jnp.uint32), jax.ShapeDtypeStruct((steps,), jnp.uint32)]
        return call("compact", results, masks, first)
    bits = ((masks[:, :, None] >> jnp.arange(32, dtype=jnp.uint32)) & 1).reshape(steps, words * 32)
    counts = bits.sum(axis=1, dtype=jnp.uint32)
    place = jnp.where(bits == 1, jnp.cumsum(bits, axis=1) - 1, capacity)
    slots = first + jnp.arange(words * 32, dtype=jnp.uint32)
    empty = jnp.zeros((steps, capacity), jnp.uint32) + first * 0
    return jax.vmap(lambda ids, at: ids.at[at].set(slots, mode="drop"))(empty, place), counts
