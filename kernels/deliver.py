"""Delivery: what arrives at this step, out of the history of spikes, into one input vector.

Sums are exact integer arithmetic (fixed-point weights), so they are the same in any order, on any number of threads and devices.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import final

import jax
import jax.numpy as jnp
import numpy as np

from dist_sim.kernels import cuda
from dist_sim.kernels.backend import call, kernel
from dist_sim.kernels.history import DELIVERED, DOWN, DUE_MAX, OVERFLOW, counted64
from dist_sim.kernels.prefix import owner, prefix_sum


@final
@dataclass(frozen=True, kw_only=True)
class DueCapacity:
    """The size of the reference's arrays, however much is due.

    Attributes:
        runs: due runs of a step, and likewise the tiles that they are cut into.
        width: synapses of a tile.
        whole: no run is longer than a tile.
    """

    runs: int
    width: int
    whole: bool


def _deliver(
    call, step, history, pointers, synapses, *, size: int, min_delay: int, num_delays: int, threads: int,
    capacity: DueCapacity | None = None,
):  # fmt: skip
    ring, marks, counters = history
    results = [jax.ShapeDtypeStruct((threads, size), synapses.dtype), jax.ShapeDtypeStruct(counters.shape, counters.dtype)]
    return call("deliver", results, step, ring, marks, counters, pointers, synapses, in_place={3: 1},
                min_delay=np.int64(min_delay), num_delays=np.int64(num_delays), threads=np.int64(threads))  # fmt: skip


def _deliver_cuda(*args, threads: int, **options):
    return _deliver(cuda.call, *args, threads=1, **options)


@kernel(native=partial(_deliver, call), cuda=_deliver_cuda)
def deliver(
    step, history, pointers, synapses, *, size: int, min_delay: int, num_delays: int, threads: int, capacity: DueCapacity
):
    """Input of every neuron of this device at the end of `step`.

    Args:
        step: () int32. A spike emitted in step m with a delay of d steps is delivered at step m + d.
        history: (ring, marks, counters).
        pointers, synapses: of the table.
        size: length of the input vector.
        threads: the native backend gives each of its threads an input vector of its own; the others have one.
        capacity: of the reference; the others need none. What exceeds it sets the overflow flag.

    Returns:
        (threads, size) integers of the width of the weights, to be summed over the first axis; and the new counters.
    """
    ring, marks, counters = history
    # The due (spike, delay) pairs, each a run of synapses, lie one after the other; then likewise tiles of the runs.
    emitted = step - min_delay - jnp.arange(num_delays, dtype=jnp.int32)
    slot = emitted % marks.shape[0]
    due = jnp.where(emitted >= 0, marks[slot, 1], 0)
    ends = prefix_sum(due)
    first = marks[slot, 0] - (ends - due)  # modulo 2**32: the number of a pair is added
    pair = jnp.arange(capacity.runs, dtype=jnp.uint32)
    delay = owner(ends, pair).astype(jnp.uint32)
    sent = ring[(first[delay] + pair) % jnp.uint32(ring.shape[0])]
    is_due = pair < ends[-1]
    run = jnp.where(is_due, (sent & ~DOWN) * jnp.uint32(num_delays) + delay, 0)
    begin = pointers[run]
    length = jnp.where(is_due, pointers[run + 1] - begin, 0)
    total, wanted = length.sum(dtype=jnp.uint32), ends[-1]
    if not capacity.whole:
        width = jnp.uint32(capacity.width)
        tiles = (length + width - 1) // width
        tile_ends = prefix_sum(tiles)
        cut = owner(tile_ends, pair)
        before = (pair - (tile_ends - tiles)[cut]) * width
        begin, sent = begin[cut] + before, sent[cut]
        length = jnp.where(pair < tile_ends[-1], length[cut] - before, 0)
        wanted = jnp.maximum(wanted, tile_ends[-1])
    within = jnp.arange(capacity.width, dtype=jnp.uint32)
    here = within < length[:, None]
    found = synapses[jnp.where(here, begin[:, None] + within, 0)]
    target = jnp.where(here, found[..., 0], size)
    weight = jnp.where((sent & DOWN)[:, None] != 0, -found[..., 1], found[..., 1])
    vector = jnp.zeros(size, synapses.dtype).at[target.reshape(-1)].add(weight.reshape(-1), mode="drop")
    most = {DUE_MAX: wanted, OVERFLOW: (wanted > capacity.runs).astype(jnp.uint32)}
    return vector[None], counted64(counters, {DELIVERED: total}, most)
