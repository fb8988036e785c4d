"""The spikes in flight: a ring of rows of the synapse table, in order of steps.

`ring` (capacity,) uint32 holds the row of every spike that has synapses on this device; `marks` (slots, 2) uint32 its (start,
count) for each of the last `slots` steps; `counters` (8,) uint32 the head of the ring, the largest number of spikes that were
alive, the delivered and the scheduled synaptic events (two words each, low first), an overflow flag, and the largest number of
runs that were due at once (of the reference, see `DueCapacity`). Past the capacity nothing is written and the flag is
set: the caller runs the chunk again with more room.

A device's spikes of a step are words: a bit per neuron, and after the bits, for models whose neurons can send several spikes in a
step or changes of state, a whole number per neuron. `Counted` says where these lie. The top bit of a row in the ring says that
the weights are taken away instead of added: a neuron of two states went down.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from dist_sim.kernels import cuda
from dist_sim.kernels.backend import call, kernel
from dist_sim.kernels.prefix import owner, prefix_sum

DOWN = np.uint32(1 << 31)
HEAD, LIVE_MAX, DELIVERED, SCHEDULED, OVERFLOW, DUE_MAX = 0, 1, 2, 4, 6, 7
NUM_COUNTERS = 8


def count64(counters: np.ndarray, which: int) -> int:
    """A 64-bit count out of its two words, summed over the devices; `counters` (devices, 8)."""
    words = np.asarray(counters, dtype=np.uint64).reshape(-1, NUM_COUNTERS)
    return int((words[:, which] + (words[:, which + 1] << np.uint64(32))).sum())


@dataclass(frozen=True)
class Counted:
    """Neurons of one model on a device whose number of spikes is sent beside their bits.

    Attributes:
        slot: of the first, among the device's; count: how many they are.
        word: place of the first one's number among the device's words.
        binary: whether the number says that a neuron of two states went down (1) or up (2), not how often it spiked.
    """

    slot: int
    count: int
    word: int
    binary: bool


def _push_masks(call, step, masks, events, sources, history, *, num_delays: int, counted: tuple[Counted, ...] = ()):
    return call("push_masks", _like(history), step, masks, events, *sources, _regions(counted), *history,
                in_place={7: 0, 8: 1, 9: 2}, num_delays=np.int64(num_delays), bits_words=_bits_words(masks, counted))  # fmt: skip


@kernel(native=partial(_push_masks, call), cuda=partial(_push_masks, cuda.call))
def push_masks(step, masks, events, sources, history, *, num_delays: int, counted: tuple[Counted, ...] = ()):
    """Appends the spikes of an interval.

    Args:
        step: () int32, first step of the interval.
        masks: (devices, steps, words) uint32, a bit per source slot, and the numbers of `counted` models.
        events: (2, num_events) uint32, (step, row) of spikes from outside, in order of steps.
        sources: (present, rank, pointers) of the table.
        history: (ring, marks, counters).

    Returns:
        The new (ring, marks, counters).
    """
    bits_words = int(_bits_words(masks, counted))
    present, rank, pointers = sources
    numbers = {c: masks[:, :, c.word : c.word + c.count] for c in counted}
    masks = masks[:, :, :bits_words]
    words = jnp.swapaxes(masks, 0, 1).reshape(masks.shape[1], -1) & present[: masks.shape[0] * masks.shape[2]]
    slots = jnp.arange(words.shape[1] * 32, dtype=jnp.uint32)
    rows = row_of(slots, present, rank)
    for s in range(words.shape[0]):
        spiking, ends = _numbered(words[s])
        sent = jnp.where(spiking, rows, _NO_ROW)
        times = jnp.ones_like(rows)
        for c, number in numbers.items():
            place = (np.arange(masks.shape[0])[:, None] * bits_words * 32 + c.slot + np.arange(c.count)).reshape(-1)
            of_model = number[:, s].reshape(-1)
            if c.binary:
                sent = sent.at[place].set(jnp.where(spiking[place] & (of_model == 1), sent[place] | DOWN, sent[place]))
            else:
                times = times.at[place].set(of_model)
        history = _append(history, step + s, sent, ends, events, pointers, num_delays)
        history = _append_again(history, step + s, sent, times, pointers, num_delays) if counted else history
    return history


def _push_ids(call, step, ids, counts, events, sources, history, *, num_delays: int):
    return call("push_ids", _like(history), step, ids, counts, events, *sources, *history,
                in_place={7: 0, 8: 1, 9: 2}, num_delays=np.int64(num_delays))  # fmt: skip


@kernel(native=partial(_push_ids, call), cuda=partial(_push_ids, cuda.call))
def push_ids(step, ids, counts, events, sources, history, *, num_delays: int):
    """As `push_masks`, from lists: `ids` (devices, steps, capacity) uint32 source slots, `counts` (devices, steps) uint32. A slot
    occurs as often as its neuron spikes; its top bit says that a neuron of two states went down.

    A count above the capacity sets the overflow flag.
    """
    present, rank, pointers = sources
    capacity = ids.shape[2]
    ids, down_flags = ids & ~DOWN, ids & DOWN
    for s in range(ids.shape[1]):
        listed = jnp.arange(capacity, dtype=jnp.uint32) < counts[:, s, None]
        known = (present[ids[:, s] >> 5] >> (ids[:, s] & 31)) & 1
        down = down_flags[:, s]
        rows = jnp.where(listed & (known == 1), row_of(ids[:, s], present, rank) | down, _NO_ROW).reshape(-1)
        ends = prefix_sum((rows != _NO_ROW).astype(jnp.uint32))
        history = _append(history, step + s, rows, ends, events, pointers, num_delays)
        ring, marks, counters = history
        history = ring, marks, counted64(counters, {}, {OVERFLOW: (counts[:, s] > capacity).any().astype(jnp.uint32)})
    return history


def row_of(slots, present, rank):
    """Row of each source slot (meaningless where its bit of `present` is not set)."""
    below = present[slots >> 5] & ((jnp.uint32(1) << (slots & 31)) - jnp.uint32(1))
    return rank[slots >> 5] + jax.lax.population_count(below)


def _numbered(words):
    """Bits (words * 32,) bool, and how many are set up to and with each."""
    bit = jnp.arange(32, dtype=jnp.uint32)
    number = jax.lax.population_count(words)
    upto = jax.lax.population_count(words[:, None] & (jnp.uint32(0xFFFFFFFF) >> (31 - bit)))
    ends = (prefix_sum(number) - number)[:, None] + upto
    return ((words[:, None] >> bit) & 1).astype(bool).reshape(-1), ends.reshape(-1)


def add64(counters, which: int, n):
    """Adds a uint32 to a 64-bit count."""
    return counted64(counters, {which: n}, {})


def counted64(counters, more, most, put=None):
    """The counters in one operation: `more` is added to counts of two words each, of `most` the larger number stays, and `put`
    takes the place of what was there."""
    word, new = np.arange(NUM_COUNTERS), counters
    for which, n in more.items():
        low = counters[which] + n
        new = jnp.where(word == which, low, new + ((word == which + 1) & (low < n)))
    for which, n in most.items():
        new = jnp.where(word == which, jnp.maximum(new, n), new)
    for which, n in (put or {}).items():
        new = jnp.where(word == which, n, new)
    return new


_NO_ROW = np.uint32(0xFFFFFFFF)


def _append(history, step, rows, ends, events, pointers, num_delays):
    """One step of the reference: the rows that are not `_NO_ROW`, of which `ends` counts those up to and with each, and the
    events from outside."""
    now = step.astype(jnp.uint32)
    is_now, earlier = events[0] == now, (events[0] < now).sum(dtype=jnp.uint32)
    count = ends[-1] + is_now.sum(dtype=jnp.uint32)
    of_events = ends[-1] + jnp.arange(1, events.shape[1] + 1, dtype=jnp.uint32) - earlier  # they come in order of steps
    rows = jnp.concatenate([rows, jnp.where(is_now, events[1], _NO_ROW)])
    ends = jnp.concatenate([ends, of_events])
    return _extend(history, step, rows, ends, count, pointers, num_delays, begins=True)


def _extend(history, step, rows, ends, count, pointers, num_delays, *, begins: bool):
    """More rows of a step, or the first ones."""
    ring, marks, counters = history
    capacity, head = ring.shape[0], counters[HEAD]
    slot = step % marks.shape[0]
    before = jnp.uint32(0) if begins else marks[slot, 1]
    alive = before + jnp.where(jnp.arange(marks.shape[0]) == slot, 0, marks[:, 1]).sum(dtype=jnp.uint32)
    live, valid = alive + count, rows != _NO_ROW
    place = jnp.where(valid & (ends + alive <= capacity), (head + ends - 1) % jnp.uint32(capacity), jnp.uint32(capacity))
    ring = ring.at[place].set(rows, mode="drop")
    written = jnp.minimum(count, jnp.uint32(capacity) - jnp.minimum(alive, jnp.uint32(capacity)))
    mark = jnp.stack([head if begins else marks[slot, 0], before + written])[None]
    marks = jax.lax.dynamic_update_slice(marks, mark, (slot, jnp.zeros_like(slot)))
    safe = jnp.where(valid, rows & ~DOWN, 0)
    sizes = jnp.where(valid, pointers[(safe + 1) * num_delays] - pointers[safe * num_delays], 0)
    counters = counted64(
        counters, {SCHEDULED: sizes.sum(dtype=jnp.uint32)},
        {LIVE_MAX: live, OVERFLOW: (live > capacity).astype(jnp.uint32)}, {HEAD: (head + written) % jnp.uint32(capacity)},
    )  # fmt: skip
    return ring, marks, counters


def _append_again(history, step, rows, times, pointers, num_delays):
    """The rows that are sent more than once in a step, the second and further times."""

    def again(carry):
        k, history = carry
        chosen = (rows != _NO_ROW) & (times > k)
        ends = prefix_sum(chosen.astype(jnp.uint32))
        rows_again = jnp.where(chosen, rows, _NO_ROW)
        return k + 1, _extend(history, step, rows_again, ends, ends[-1], pointers, num_delays, begins=False)

    start = (jnp.uint32(1) + times[0] * 0, history)
    return jax.lax.while_loop(lambda carry: ((rows != _NO_ROW) & (times > carry[0])).any(), again, start)[1]


def _regions(counted: tuple[Counted, ...]) -> jax.Array:
    """(models, 4) int32, as the compiled kernels have them."""
    return jnp.asarray(np.array([(c.slot, c.count, c.word, c.binary) for c in counted], np.int32).reshape(-1, 4))


def _bits_words(masks: jax.Array, counted: tuple[Counted, ...]) -> np.int64:
    """How many of a device's words are bits, not numbers."""
    return np.int64(masks.shape[-1] - sum(c.count for c in counted))


def _like(history) -> list[jax.ShapeDtypeStruct]:
    return [jax.ShapeDtypeStruct(h.shape, h.dtype) for h in history]


def _compact(call, masks, first, *, capacity: int, counted: tuple[Counted, ...] = ()):
    steps = len(masks)
    results = [jax.ShapeDtypeStruct((steps, capacity), jnp.uint32), jax.ShapeDtypeStruct((steps,), jnp.uint32)]
    return call("compact", results, masks, first, _regions(counted), bits_words=_bits_words(masks, counted))


@kernel(native=partial(_compact, call), cuda=partial(_compact, cuda.call))
def compact(masks, first, *, capacity: int, counted: tuple[Counted, ...] = ()):
    """Words to lists: `masks` (steps, words) uint32 -> (steps, capacity) uint32 slots numbered from `first`, (steps,) counts.

    A count may exceed the capacity; the list then holds the first ones.
    """
    steps, words = masks.shape
    numbers = masks
    words -= sum(c.count for c in counted)
    masks = masks[:, :words]
    bits = ((masks[:, :, None] >> jnp.arange(32, dtype=jnp.uint32)) & 1).reshape(steps, words * 32)
    slots = jnp.broadcast_to(first + jnp.arange(words * 32, dtype=jnp.uint32), bits.shape)
    for c in counted:
        number, place = numbers[:, c.word : c.word + c.count], c.slot + np.arange(c.count)
        if c.binary:
            slots = slots.at[:, place].set(jnp.where(number == 1, slots[:, place] | DOWN, slots[:, place]))
        else:
            bits = bits.at[:, place].set(number)
    ends = jax.vmap(prefix_sum)(bits)
    # Place k of the list is of the first slot up to which more than k are listed.
    place = jnp.arange(capacity, dtype=jnp.uint32)
    which = jax.vmap(lambda e: owner(e, place))(ends)
    counts = ends[:, -1]
    return jnp.where(place < counts[:, None], jnp.take_along_axis(slots, which, axis=1), 0), counts
