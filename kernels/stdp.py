"""Synapses with pair-based spike-timing dependent plasticity: brought up to date when a presynaptic spike arrives.

A weight depends on the spikes of its own two neurons alone, taken in a fixed order, with exponentials from tables: the same bits
on any device. The whole delay is dendritic, as in NEST: of a synapse with a delay of d steps, a presynaptic spike of step m meets
the postsynaptic ones of steps up to m - d. It acts at the end of step m + d; by then the target's device knows them all.

Postsynaptic spikes are kept in a ring per target. Once per period every synapse is brought up to date with those that no
presynaptic spike on its way can come before, so that the ring need not reach back further: this changes no weight by a bit,
because the same operations are done in the same order, only earlier. A ring that is too small sets a flag, and the chunk is run
again with a larger one.

`cpp/stdp.h` is the compiled backend.
"""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from dist_sim.kernels.backend import call
from dist_sim.kernels.history import DELIVERED, DOWN, add64

PERIOD = 5000  # steps between two times that all synapses are brought up to date
_BLOCK = 256


@dataclass(frozen=True, kw_only=True)
class Decays:
    """exp(-k dt / tau) for whole k as a product of two entries: fine[tau, k mod 2**bits] coarse[tau, k // 2**bits].

    Computed once, on the host, in double precision: no two placements or backends call different exponentials. The last coarse
    entry is 0, where the exponential is below the smallest number.
    """

    fine: np.ndarray
    coarse: np.ndarray
    bits: int


def decays(taus: np.ndarray, dt: float, dtype: type) -> Decays:
    """Tables for time constants `taus` (n,), in the unit of `dt`."""
    reach = int(min(np.ceil(750.0 * taus.max(initial=dt) / dt), 2**31)) + 1
    bits = (reach.bit_length() + 1) // 2
    fine, coarse = np.arange(2**bits), np.arange((reach >> bits) + 2) * 2.0**bits
    tables = [np.exp(-k[None] * (dt / taus[:, None])).astype(dtype) for k in (fine, coarse)]
    tables[1][:, -1] = 0
    return Decays(fine=tables[0], coarse=tables[1], bits=bits)


def deliver(step, history, pointers, synapses, posts, constants, arriving, *, min_delay: int, num_delays: int, threads: int,
            period: int, bits: int, backend: str, watched=None, log=()):  # fmt: skip
    """Adds what plastic synapses pass on at the end of `step`, and changes their weights.

    Args:
        step: () int32.
        history: (ring, marks, counters) of the spikes in flight.
        pointers: (num_rows * num_delays + 1,) uint32, first plastic synapse of each run.
        synapses: fixed (n, 2) int32: target, kind; state (n, 2): weight, Kplus; last (n,) int32: step of the last presynaptic
            spike, -1 at first.
        posts: steps (targets, capacity) int32, traces (targets, capacity), count (targets,) uint32: the last spikes of each
            target and the value of its trace after each; number k lies at k mod capacity, a power of two.
        constants: targets (targets, 3) int32: place of positive and of negative weights in the input vector, row of tau_minus;
            scale (targets,): one over the quantum of its input; kinds (kinds, 5): Wmax, lambda, alpha, mu_plus, mu_minus;
            kind_tau (kinds,) int32: row of tau_plus; fine, coarse: of `decays`.
        arriving: (threads, size) integers.
        watched: (kinds,) int32, 1 for kinds of which every spike is put down in the log; None: there is no log.
        log: synapse (room,) uint32, step of the spike (room,) int32, weight (room,), count (1,) uint32: what has been passed on,
            in order for each synapse. The count goes on where there is no room.

    Returns:
        counters, state, last, arriving, and the log if there is one.
    """
    ring, marks, counters = history
    fixed, state, last = synapses
    if backend == "cpp":
        changing = [counters, state, last, arriving, *log]
        operands = [step, ring, marks, pointers, fixed, *constants, *posts, *([] if watched is None else [watched])]
        results = [jax.ShapeDtypeStruct(a.shape, a.dtype) for a in changing]
        in_place = {len(operands) + k: k for k in range(len(changing))}
        return call("stdp_deliver" if watched is None else "stdp_deliver_watched", results, *operands, *changing,
                    in_place=in_place, min_delay=np.int64(min_delay), num_delays=np.int64(num_delays),
                    threads=np.int64(threads), period=np.int64(period), bits=np.int64(bits))  # fmt: skip

    swept = step // period * period - 1
    emitted = step - min_delay - jnp.arange(num_delays, dtype=jnp.int32)
    slot = emitted % marks.shape[0]
    due = jnp.where(emitted >= 0, marks[slot, 1], 0)
    ends = jnp.cumsum(due)
    rows = jnp.arange(_BLOCK, dtype=jnp.int32)

    # One spike after the other: a source may spike more than once in a step, and its synapses then take one after the other.
    def spike(carry):
        k, state, last, vector, total, log = carry
        d = jnp.searchsorted(ends, k, side="right")
        row = ring[(marks[slot[d], 0] + k - (ends[d] - due[d])) % jnp.uint32(ring.shape[0])] & ~DOWN
        run = row * jnp.uint32(num_delays) + d.astype(jnp.uint32)
        begin, end = pointers[run].astype(jnp.int32), pointers[run + 1].astype(jnp.int32)

        def block(carry):
            first, state, last, vector, log = carry
            i = jnp.minimum(first + rows, len(last) - 1)
            mine = first + rows < end
            w, Kplus, moment = arrive(i, emitted[d], min_delay + d, swept, (fixed, state, last), posts, constants, bits)
            target, kind = fixed[i, 0], fixed[i, 1]
            place = jnp.where(constants[2][kind, 0] < 0, constants[0][target, 1], constants[0][target, 0])
            units = jnp.floor(w * constants[1][target] + 0.5).astype(vector.dtype)
            vector = vector.at[jnp.where(mine, place, len(vector))].add(units, mode="drop")
            at = jnp.where(mine, i, len(last))
            state = state.at[at].set(jnp.stack([w, Kplus], axis=1), mode="drop")
            if watched is not None:
                log = logged(log, mine & (watched[kind] == 1), i, emitted[d], w)
            return first + _BLOCK, state, last.at[at].set(moment, mode="drop"), vector, log

        _, state, last, vector, log = jax.lax.while_loop(lambda c: c[0] < end, block, (begin, state, last, vector, log))
        return k + 1, state, last, vector, total + (end - begin).astype(jnp.uint32), log

    zero = ends[-1] * 0
    start = (zero, state, last, arriving[0], zero.astype(jnp.uint32), tuple(log))
    _, state, last, vector, total, log = jax.lax.while_loop(lambda c: c[0] < ends[-1], spike, start)
    num_synapses = pointers[-1].astype(jnp.int32)

    def sweep(state):
        def block(carry):
            first, state = carry
            i = jnp.minimum(first + rows, len(last) - 1)
            run = jnp.searchsorted(pointers, i.astype(jnp.uint32), side="right").astype(jnp.int32) - 1
            delay = min_delay + run % num_delays
            after = jnp.maximum(last[i] - delay, swept - 2 * delay + 1)
            w = facilitated(i, delay, after, step - 2 * delay + 1, (fixed, state, last), posts, constants, bits)
            return first + _BLOCK, state.at[jnp.where(first + rows < num_synapses, i, len(last)), 0].set(w, mode="drop")

        return jax.lax.while_loop(lambda c: c[0] < num_synapses, block, (num_synapses * 0, state))[1]

    state = jax.lax.cond((step + 1) % period == 0, sweep, lambda state: state, state)
    return add64(counters, DELIVERED, total), state, last, arriving.at[0].set(vector), *log


def record(step, words, index, posts, full, constants, *, longest: int, period: int, bits: int, backend: str):
    """Takes in the spikes of the targets of plastic synapses at `step`, after `deliver` of that step.

    Args:
        words: (neurons / 32,) uint32, a bit per neuron of the device.
        index: (neurons,) int32, its number among the targets or -1.
        posts, constants: as for `deliver`.
        full: (1,) uint32, set if a spike that is still needed had to go.
        longest: the longest delay, steps.

    Returns:
        steps, traces, count, full.
    """
    targets, _, _, _, fine, coarse = constants
    if backend == "cpp":
        results = [jax.ShapeDtypeStruct(a.shape, a.dtype) for a in (*posts, full)]
        return call("stdp_record", results, step, words, index, targets, fine, coarse, *posts, full,
                    in_place={6: 0, 7: 1, 8: 2, 9: 3}, longest=np.int64(longest), period=np.int64(period),
                    bits=np.int64(bits))  # fmt: skip
    steps, traces, count = posts
    capacity, swept = steps.shape[1], (step + 1) // period * period - 1
    flags = ((words[:, None] >> jnp.arange(32, dtype=jnp.uint32)) & 1).reshape(-1)
    spiking = jnp.zeros(len(count), jnp.uint32).at[jnp.where(index < 0, len(count), index)].set(flags, mode="drop") == 1
    n, row = count.astype(jnp.int32), jnp.arange(len(count))
    here, before, following = n % capacity, (n - 1) % capacity, (n + 1) % capacity
    needed = (steps[row, here] > swept - 2 * longest + 1) | (steps[row, following] >= step + 1 - 2 * longest)
    faded = traces[row, before] * decayed(fine, coarse, bits, targets[:, 2], step - steps[row, before])
    at = jnp.where(spiking, row, len(count))
    traces = traces.at[at, here].set(jnp.where(n > 0, faded + 1, 1), mode="drop")
    full = full | (spiking & (n >= capacity) & needed).any().astype(jnp.uint32)
    return steps.at[at, here].set(step, mode="drop"), traces, count + spiking.astype(jnp.uint32), full


def logged(log, chosen, i, emitted, w):
    """The log with what the chosen ones of the synapses `i` pass on."""
    synapse, steps, weights, count = log
    place = count[0].astype(jnp.int32) + jnp.cumsum(chosen) - 1
    at = jnp.where(chosen & (place < len(synapse)), place, len(synapse))
    return (
        synapse.at[at].set(i.astype(jnp.uint32), mode="drop"),
        steps.at[at].set(emitted, mode="drop"),
        weights.at[at].set(w, mode="drop"),
        count + chosen.sum().astype(jnp.uint32),
    )


def decayed(fine, coarse, bits: int, tau, k):
    """exp(-k dt / tau) from the tables; `tau` is a row."""
    return fine[tau, k & (2**bits - 1)] * coarse[tau, jnp.minimum(k >> bits, coarse.shape[1] - 1)]


def facilitated(i, delay, after, until, synapses, posts, constants, bits: int):
    """Weights of the synapses `i` after their targets' spikes in (after, until], each arriving `delay` steps later."""
    fixed, state, last = synapses
    steps, _, count = posts
    _, _, kinds, kind_tau, fine, coarse = constants
    target, kind, Kplus = fixed[i, 0], fixed[i, 1], state[i, 1]
    Wmax, lambda_, mu_plus = kinds[kind, 0], kinds[kind, 1], kinds[kind, 3]
    n, capacity = count[target].astype(jnp.int32), steps.shape[1]

    def one(h, w):
        k = n - capacity + h
        p = steps[target, k % capacity]
        now = (k >= 0) & (p > after) & (p <= until)
        trace = Kplus * decayed(fine, coarse, bits, kind_tau[kind], jnp.where(now, p + delay - last[i], 0))
        x = w / Wmax
        grown = x + lambda_ * power(1 - x, mu_plus) * trace
        return jnp.where(now, jnp.where((grown < 1) | ~jnp.isfinite(grown), grown * Wmax, Wmax), w)

    return jax.lax.fori_loop(0, capacity, one, state[i, 0])


def arrive(i, emitted, delay, swept, synapses, posts, constants, bits: int):
    """What the synapses `i` pass on for a presynaptic spike of step `emitted`, their new Kplus, and their new last step."""
    fixed, state, last = synapses
    steps, traces, count = posts
    targets, _, kinds, kind_tau, fine, coarse = constants
    target, kind = fixed[i, 0], fixed[i, 1]
    after = jnp.maximum(last[i] - delay, swept - 2 * delay + 1)
    w = facilitated(i, delay, after, emitted - delay, synapses, posts, constants, bits)
    # The trace of the target's newest spike strictly before the presynaptic one.
    age = jnp.arange(steps.shape[1], dtype=jnp.int32)
    k = count[target].astype(jnp.int32)[:, None] - 1 - age
    earlier = (k >= 0) & (steps[target[:, None], k % steps.shape[1]] < emitted - delay)
    newest = jnp.argmax(earlier, axis=1)
    place = jnp.take_along_axis(k, newest[:, None], axis=1)[:, 0] % steps.shape[1]
    gone = jnp.where(earlier.any(axis=1), emitted - delay - steps[target, place], 0)
    trace = jnp.where(earlier.any(axis=1), traces[target, place] * decayed(fine, coarse, bits, targets[target, 2], gone), 0)
    Wmax, lambda_, alpha, _, mu_minus = kinds[kind].T
    x = w / Wmax
    shrunk = x - alpha * lambda_ * power(x, mu_minus) * trace
    w = jnp.where((shrunk > 0) | ~jnp.isfinite(shrunk), shrunk * Wmax, 0)
    Kplus = state[i, 1] * decayed(fine, coarse, bits, kind_tau[kind], emitted - last[i]) + 1
    return w, Kplus, jnp.broadcast_to(emitted, i.shape).astype(last.dtype)


def power(x, mu):
    """x to the power of mu for x of at most about 1, from +, -, * and / alone. 0 for x below the smallest normal number."""
    tiny = float(jnp.finfo(x.dtype).tiny)
    safe = jnp.where(x < tiny, 1, x)
    m, e = jnp.frexp(safe)
    small = m < np.asarray(0.7071067811865476, x.dtype)
    m, e = jnp.where(small, m * 2, m), e - small
    s = (m - 1) / (m + 1)
    z = s * s
    series = jnp.full_like(z, 1.0 / 21.0)
    for k in range(19, 0, -2):
        series = series * z + 1.0 / k
    exponent = mu * (2 * s * series + e.astype(x.dtype) * 0.6931471805599453)
    vanishing = exponent < (-707.0 if x.dtype == np.float64 else -86.0)
    exponent = jnp.where(vanishing, 0, exponent)
    k = jnp.floor(exponent * 1.4426950408889634 + 0.5)
    r = (exponent - k * 0.693359375) - k * -2.12194440054690583e-4
    series = jnp.ones_like(r)
    for n in range(13, 0, -1):
        series = series * r * (1.0 / n) + 1.0
    general = jnp.where((x < tiny) | vanishing, 0, jnp.ldexp(series, k.astype(jnp.int32)))
    return jnp.where(mu == 1, x, jnp.where(mu == 0, jnp.ones_like(x), general))
