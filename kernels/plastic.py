"""Synapses that change, brought up to date when a presynaptic spike arrives: a text in plain jnp of what happens to ONE
synapse, run by JAX (the reference) or printed into compiled C++.

A synapse depends on the spikes of its own two neurons alone, taken in a fixed order, with exponentials from tables: the same bits
on any device. The whole delay is dendritic, as in NEST: of a synapse with a delay of d steps, a presynaptic spike of step m meets
the postsynaptic ones of steps up to m - d. It acts at the end of step m + d; by then the target's device knows them all.

Where a model listens to them, postsynaptic spikes are kept in a ring per target. Once per period every synapse is brought up
to date with those that no presynaptic spike on its way can come before, so that the ring need not reach back further: this
changes nothing by a bit, because the same operations are done in the same order, only earlier. A ring that is too small sets a
flag, and the chunk is run again with a larger one.

`cpp/plastic.h` is what the texts are printed into, by `plastic_source.py`.
"""

from __future__ import annotations

import functools
import hashlib
from dataclasses import dataclass
from typing import Any, final

import jax
import jax.numpy as jnp
import numpy as np

from dist_sim.kernels import backend as backends
from dist_sim.kernels.decays import decayed
from dist_sim.kernels.history import DELIVERED, DOWN, add64
from dist_sim.kernels.philox import philox4x32
from dist_sim.kernels.scalar.guarded import run, uncontracted
from dist_sim.kernels.scalar.text import Text

PERIOD = 5000  # steps between two times that all synapses are brought up to date
SYNAPSE_STREAMS = (3 << 30) + (1 << 29)  # below are those of the neurons
_AT_ONCE = 256


@final
@dataclass(frozen=True, kw_only=True)
class SynapseText:
    """What spikes do to one synapse of a model.

    Attributes:
        name: of the model.
        parameters: of a connection, floating-point; the first is dt.
        decays: those of its time constants whose exponentials the texts have.
        variables: per synapse; the first is the weight.
        traces: of the target's spikes, each with a time constant of the target; the first `stored` add up over its spikes, the
            others begin anew at each.
        uniforms: random numbers that a presynaptic spike takes.
        on_post: a spike of the target that arrives at the synapse h after the last presynaptic one. Inputs: parameters,
            variables, exponentials of h, stored traces just before that spike, h [ms]. Results: variables. None if the model
            does not listen.
        on_pre: a presynaptic spike, h after the last one. Inputs: parameters, variables, exponentials of h, traces as this spike
            meets them, h [ms], whether it is the first (BOOL), uniforms. Results: variables, the weight that is passed on, and
            whether one is (BOOL).
    """

    name: str
    dtype: np.dtype
    parameters: tuple[str, ...]
    decays: tuple[str, ...]
    variables: tuple[str, ...]
    traces: tuple[str, ...]
    stored: int
    uniforms: int
    on_post: Text | None
    on_pre: Text

    @property
    def listens(self) -> bool:
        """Whether it depends on the spikes of the targets."""
        return self.on_post is not None

    @functools.cached_property
    def target(self) -> str:
        """Name of the compiled kernel: the same text has the same name."""
        texts = [t and (str(t.jaxpr), t.jaxpr.consts) for t in (self.on_post, self.on_pre)]
        counts = [len(names) for names in (self.parameters, self.decays, self.variables, self.traces)]
        described = repr((self.dtype.name, counts, self.stored, self.uniforms, texts))
        return f"synapse_{self.dtype.name}_{hashlib.sha256(described.encode()).hexdigest()[:12]}"


def _deliver(
    text: SynapseText, step, key, history, pointers, synapses, posts, constants, arriving, *, watched=None, log=(),
    **sizes: int,
):  # fmt: skip
    ring, marks, counters = history
    fixed, place, state, last = synapses
    changing = [counters, state, last, arriving, *log]
    operands = [step, key, ring, marks, pointers, fixed, place, *constants, *posts, *([] if watched is None else [watched])]
    numbers: dict[str, Any] = {"stream": np.uint32(sizes.pop("stream"))}
    numbers |= {name: np.int64(size) for name, size in sizes.items()}
    return backends.call(
        text.target if watched is None else f"{text.target}_watched",
        [jax.ShapeDtypeStruct(a.shape, a.dtype) for a in changing], *operands, *changing,
        in_place={len(operands) + k: k for k in range(len(changing))}, source=None, **numbers,
    )  # fmt: skip


@backends.kernel(native=_deliver)
def deliver(text: SynapseText, step, key, history, pointers, synapses, posts, constants, arriving, *, min_delay: int,
            num_delays: int, threads: int, period: int, bits: int, stream: int, watched=None, log=()):  # fmt: skip
    """Adds what changing synapses of one model pass on at the end of `step`, and changes them.

    Args:
        step: () int32.
        key: (2,) uint32, see `key_words`: of random numbers, as `stream`. They are keyed by the place, the step and the number
            of the spike in it too.
        history: (ring, marks, counters) of the spikes in flight.
        pointers: (num_rows * num_delays + 1,) uint32, first synapse of each run.
        synapses: fixed (n, 2) int32: target, kind; place (n,) uint32, which keys random numbers; state (n, variables); last (n,)
            int32: step of the last presynaptic spike, -1 at first.
        posts: steps (targets, capacity) int32, traces (targets, capacity, stored), count (targets,) uint32: the last spikes of
            each target and the values of its traces after each; number k lies at k mod capacity, a power of two.
        constants: targets (targets, 2 + traces) int32: place of positive and of negative weights in the input vector, rows of the
            time constants of the traces; scale (targets,): one over the quantum of its input; kinds (kinds, parameters);
            kind_tau (kinds, decays) int32: rows of time constants; fine, coarse: of `decays`.
        arriving: (threads, size) integers.
        watched: (kinds,) int32, 1 for kinds of which every spike is put down in the log; None: there is no log.
        log: synapse (room,) uint32, step of the spike (room,) int32, weight (room,), count (1,) uint32: what has been passed on,
            in order for each synapse. The count goes on where there is no room.

    Returns:
        counters, state, last, arriving, and the log if there is one.
    """
    ring, marks, counters = history
    fixed, place, state, last = synapses
    one = _Synapses(text, posts, constants, bits)
    swept = step // period * period - 1
    emitted = step - min_delay - jnp.arange(num_delays, dtype=jnp.int32)
    slot = emitted % marks.shape[0]
    due = jnp.where(emitted >= 0, marks[slot, 1], 0)
    ends = jnp.cumsum(due)
    rows = jnp.arange(_AT_ONCE, dtype=jnp.int32)

    # One spike after the other: a source may spike more than once in a step, and its synapses then take one after the other.
    def spike(carry):
        k, state, last, vector, total, log = carry
        d = jnp.searchsorted(ends, k, side="right")
        number = (k - (ends[d] - due[d])).astype(jnp.uint32)
        begin_of_step, capacity = marks[slot[d], 0], jnp.uint32(ring.shape[0])
        row = ring[(begin_of_step + number) % capacity] & ~DOWN
        run_number = row * jnp.uint32(num_delays) + d.astype(jnp.uint32)
        ordinal = jnp.uint32(0)
        if text.uniforms:
            age = (jnp.arange(ring.shape[0], dtype=jnp.uint32) + capacity - begin_of_step) % capacity
            ordinal = ((age < number) & (ring & ~DOWN == row)).sum(dtype=jnp.uint32)
        begin, end = pointers[run_number].astype(jnp.int32), pointers[run_number + 1].astype(jnp.int32)

        def block(carry):
            first, state, last, vector, log = carry
            i = jnp.minimum(first + rows, len(last) - 1)
            mine = first + rows < end
            uniforms = _uniforms(text, place[i], emitted[d], ordinal, key, stream)
            changed, w, passes = one.arrive(i, emitted[d], min_delay + d, swept, fixed, state, last, uniforms)
            target, kind = fixed[i, 0], fixed[i, 1]
            at_place = jnp.where(w < 0, constants[0][target, 1], constants[0][target, 0])
            units = jnp.floor(w * constants[1][target] + 0.5).astype(vector.dtype)
            vector = vector.at[jnp.where(mine & passes, at_place, len(vector))].add(units, mode="drop")
            at = jnp.where(mine, i, len(last))
            state = state.at[at].set(changed, mode="drop")
            if watched is not None:
                log = logged(log, mine & passes & (watched[kind] == 1), i, emitted[d], w)
            return first + _AT_ONCE, state, last.at[at].set(emitted[d].astype(last.dtype), mode="drop"), vector, log

        _, state, last, vector, log = jax.lax.while_loop(lambda c: c[0] < end, block, (begin, state, last, vector, log))
        return k + 1, state, last, vector, total + (end - begin).astype(jnp.uint32), log

    zero = ends[-1] * 0
    start = (zero, state, last, arriving[0], zero.astype(jnp.uint32), tuple(log))
    _, state, last, vector, total, log = jax.lax.while_loop(lambda c: c[0] < ends[-1], spike, start)

    def sweep(state):
        num_synapses = pointers[-1].astype(jnp.int32)

        def block(carry):
            first, state = carry
            i = jnp.minimum(first + rows, len(last) - 1)
            run_number = jnp.searchsorted(pointers, i.astype(jnp.uint32), side="right").astype(jnp.int32) - 1
            delay = min_delay + run_number % num_delays
            after = jnp.maximum(last[i] - delay, swept - 2 * delay + 1)
            changed = one.after_posts(i, delay, after, step - 2 * delay + 1, fixed, state, last)
            at = jnp.where(first + rows < num_synapses, i, len(last))
            return first + _AT_ONCE, state.at[at].set(jnp.stack(changed, axis=1), mode="drop")

        return jax.lax.while_loop(lambda c: c[0] < num_synapses, block, (num_synapses * 0, state))[1]

    if text.listens:
        state = jax.lax.cond((step + 1) % period == 0, sweep, lambda state: state, state)
    return add64(counters, DELIVERED, total), state, last, arriving.at[0].set(vector), *log


def _record(step, words, index, posts, full, constants, **sizes: int):
    targets, _, _, _, fine, coarse = constants
    results = [jax.ShapeDtypeStruct(a.shape, a.dtype) for a in (*posts, full)]
    numbers: dict[str, Any] = {name: np.int64(size) for name, size in sizes.items()}
    return backends.call("plastic_record", results, step, words, index, targets, fine, coarse, *posts, full,
                         in_place={6: 0, 7: 1, 8: 2, 9: 3}, **numbers)  # fmt: skip


@backends.kernel(native=_record)
def record(step, words, index, posts, full, constants, *, stored: int, longest: int, period: int, bits: int):
    """Takes in the spikes of the targets at `step`, after `deliver` of that step.

    Args:
        words: (neurons / 32,) uint32, a bit per neuron of the device.
        index: (neurons,) int32, its number among the targets or -1.
        posts, constants: as for `deliver`.
        full: (1,) uint32, set if a spike that is still needed had to go.
        stored: how many traces add up.
        longest: the longest delay, steps.

    Returns:
        steps, traces, count, full.
    """
    targets, _, _, _, fine, coarse = constants
    steps, traces, count = posts
    capacity, swept = steps.shape[1], (step + 1) // period * period - 1
    flags = ((words[:, None] >> jnp.arange(32, dtype=jnp.uint32)) & 1).reshape(-1)
    spiking = jnp.zeros(len(count), jnp.uint32).at[jnp.where(index < 0, len(count), index)].set(flags, mode="drop") == 1
    n, row = count.astype(jnp.int32), jnp.arange(len(count))
    here, before, following = n % capacity, (n - 1) % capacity, (n + 1) % capacity
    needed = (steps[row, here] > swept - 2 * longest + 1) | (steps[row, following] >= step + 1 - 2 * longest)
    at = jnp.where(spiking, row, len(count))
    for k in range(stored):
        faded = uncontracted(traces[row, before, k] * decayed(fine, coarse, bits, targets[:, 2 + k], step - steps[row, before]))
        traces = traces.at[at, here, k].set(jnp.where(n > 0, faded + 1, 1), mode="drop")
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


@final
@dataclass(frozen=True)
class _Synapses:
    """The reference: what happens to a block `i` (n,) of synapses."""

    text: SynapseText
    posts: tuple
    constants: tuple
    bits: int

    def _fade(self, rows, k):
        _, _, _, _, fine, coarse = self.constants
        return decayed(fine, coarse, self.bits, rows, k)

    def _elapsed(self, kind, since) -> tuple[list, list, jax.Array]:
        """Parameters of the synapses, exponentials and time [ms] of `since` steps."""
        _, _, kinds, kind_tau, _, _ = self.constants
        p = list(kinds[kind].T)
        return p, [self._fade(rows, since) for rows in kind_tau[kind].T], uncontracted(since.astype(self.text.dtype) * p[0])

    def after_posts(self, i, delay, after, until, fixed, state, last) -> list[jax.Array]:
        """Their variables after their targets' spikes in (after, until], each arriving `delay` steps later."""
        variables = list(state[i].T)
        on_post = self.text.on_post
        if on_post is None:
            return variables
        target, kind = fixed[i, 0], fixed[i, 1]
        steps, traces, count = self.posts
        n, capacity = count[target].astype(jnp.int32), steps.shape[1]

        def one(h, variables):
            k = n - capacity + h
            at = k % capacity
            now = (k >= 0) & (steps[target, at] > after) & (steps[target, at] <= until)
            p, faded, elapsed = self._elapsed(kind, jnp.where(now, steps[target, at] + delay - last[i], 0))
            before = [traces[target, at, m] - 1 for m in range(self.text.stored)]
            new = run(on_post, [*p, *variables, *faded, *before, elapsed])
            return [jnp.where(now, a, b) for a, b in zip(new, variables, strict=True)]

        return jax.lax.fori_loop(0, capacity, one, variables)

    def arrive(self, i, emitted, delay, swept, fixed, state, last, uniforms):
        """Their new variables (n, variables) for a presynaptic spike of step `emitted`, what they pass on, and whether they
        do."""
        text = self.text
        after = jnp.maximum(last[i] - delay, swept - 2 * delay + 1)
        variables = self.after_posts(i, delay, after, emitted - delay, fixed, state, last)
        p, faded, elapsed = self._elapsed(fixed[i, 1], emitted - last[i])
        met = self._traces(fixed[i, 0], emitted - delay) if text.traces else []
        *new, w, passes = run(text.on_pre, [*p, *variables, *faded, *met, elapsed, last[i] < 0, *uniforms])
        w, *new = (jnp.broadcast_to(v, i.shape).astype(text.dtype) for v in (w, *new))
        return jnp.stack(new, axis=1), w, jnp.broadcast_to(passes, i.shape)

    def _traces(self, target, before) -> list[jax.Array]:
        """Traces at step `before` of the targets' spikes strictly before it."""
        steps, traces, count = self.posts
        # That of the newest such spike.
        age = jnp.arange(steps.shape[1], dtype=jnp.int32)
        k = count[target].astype(jnp.int32)[:, None] - 1 - age
        earlier = (k >= 0) & (steps[target[:, None], k % steps.shape[1]] < before)
        newest = jnp.argmax(earlier, axis=1)
        at = jnp.take_along_axis(k, newest[:, None], axis=1)[:, 0] % steps.shape[1]
        there = earlier.any(axis=1)
        gone = jnp.where(there, before - steps[target, at], 0)
        met = []
        for m in range(len(self.text.traces)):
            faded = self._fade(self.constants[0][target, 2 + m], gone)
            met.append(jnp.where(there, uncontracted(traces[target, at, m] * faded) if m < self.text.stored else faded, 0))
        return met


def _uniforms(text: SynapseText, place, emitted, ordinal, key, stream: int) -> list[jax.Array]:
    """Numbers in (0, 1) for one spike."""
    drawn: list[jax.Array] = []
    blocks = -(-text.uniforms // 4)
    for b in range(blocks):
        counter = ordinal * jnp.uint32(blocks) + jnp.uint32(b)
        drawn += philox4x32(key[0], key[1], place, emitted.astype(jnp.uint32), counter, jnp.uint32(stream))
    if text.dtype == np.float64:
        return [(word.astype(jnp.float64) + 0.5) * 2.0**-32 for word in drawn[: text.uniforms]]
    return [((word >> 8).astype(jnp.float32) + 0.5) * np.float32(2.0**-24) for word in drawn[: text.uniforms]]
