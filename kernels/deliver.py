"""Delivery: what arrives at this step, out of the history of spikes, into one input vector.

Sums are exact integer arithmetic (fixed-point weights), so they are the same in any order, on any number of threads and devices.
"""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from dist_sim.kernels import cuda
from dist_sim.kernels.backend import call, kernel
from dist_sim.kernels.history import DELIVERED, DOWN, add64

_AT_ONCE = 4096


def _deliver(call, step, history, pointers, synapses, *, size: int, min_delay: int, num_delays: int, threads: int):
    ring, marks, counters = history
    results = [jax.ShapeDtypeStruct((threads, size), synapses.dtype), jax.ShapeDtypeStruct(counters.shape, counters.dtype)]
    return call("deliver", results, step, ring, marks, counters, pointers, synapses, in_place={3: 1},
                min_delay=np.int64(min_delay), num_delays=np.int64(num_delays), threads=np.int64(threads))  # fmt: skip


def _deliver_cuda(*args, threads: int, **options):
    return _deliver(cuda.call, *args, threads=1, **options)


@kernel(native=partial(_deliver, call), cuda=_deliver_cuda)
def deliver(step, history, pointers, synapses, *, size: int, min_delay: int, num_delays: int, threads: int):
    """Input of every neuron of this device at the end of `step`.

    Args:
        step: () int32. A spike emitted in step m with a delay of d steps is delivered at step m + d.
        history: (ring, marks, counters).
        pointers, synapses: of the table.
        size: length of the input vector.
        threads: the native backend gives each of its threads an input vector of its own; the others have one.

    Returns:
        (threads, size) integers of the width of the weights, to be summed over the first axis; and the new counters.
    """
    ring, marks, counters = history
    # The due (spike, delay) pairs, each a run of synapses, numbered through by a prefix sum; then their synapses, numbered
    # through by another, are added up a block at a time: the work follows the events, with static shapes.
    emitted = step - min_delay - jnp.arange(num_delays, dtype=jnp.int32)
    slot = emitted % marks.shape[0]
    due = jnp.where(emitted >= 0, marks[slot, 1], 0)
    due_ends = jnp.cumsum(due)
    pair = jnp.arange(ring.shape[0], dtype=jnp.uint32)  # never more due pairs than spikes in the ring
    d = jnp.minimum(jnp.searchsorted(due_ends, pair, side="right"), num_delays - 1)
    place = (marks[slot[d], 0] + pair - (due_ends[d] - due[d])) % jnp.uint32(ring.shape[0])
    down = (ring[place] & DOWN) != 0
    run = (ring[place] & ~DOWN) * jnp.uint32(num_delays) + d.astype(jnp.uint32)
    run = jnp.where(pair < due_ends[-1], run, 0)
    length = jnp.where(pair < due_ends[-1], pointers[run + 1] - pointers[run], 0)
    run_ends = jnp.cumsum(length)
    total = run_ends[-1]

    def add_block(block):
        k, first = block
        event = first + jnp.arange(_AT_ONCE, dtype=jnp.uint32)
        r = jnp.minimum(jnp.searchsorted(run_ends, event, side="right"), ring.shape[0] - 1)
        at = pointers[run[r]] + event - (run_ends[r] - length[r])
        found = synapses[jnp.where(event < total, at, 0)]
        target = jnp.where(event < total, found[:, 0], size)
        weight = jnp.where(down[r], -found[:, 1], found[:, 1])
        return k.at[target].add(weight, mode="drop"), first + _AT_ONCE

    empty = jnp.zeros(size, dtype=synapses.dtype) + (synapses[:1, 0] * 0 if synapses.shape[0] else 0)
    vector, _ = jax.lax.while_loop(lambda block: block[1] < total, add_block, (empty, total * 0))
    return vector[None], add64(counters, DELIVERED, total)
