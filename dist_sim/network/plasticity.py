"""Plastic synapses of a network as one Module: weights, traces and the spikes of their targets, on the devices of the targets."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, final

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P

from dist_sim.core import HiddenState, LongTermState, Module, ShortTermState, State
from dist_sim.errors import ParameterError
from dist_sim.kernels import build, stdp
from dist_sim.partition.layout import Layout
from dist_sim.partition.mesh import NEURON, from_blocks, sharded

_FIRST_CAPACITY = 32  # spikes kept per target, a power of two
_MOST_TAUS = 1024


@dataclass(frozen=True, kw_only=True)
class Stdp:
    """Parameters of one connection with spike-timing dependent plasticity: tau_plus [ms], Wmax [unit of the target's input], and
    numbers."""

    tau_plus: float
    lambda_: float
    alpha: float
    mu_plus: float
    mu_minus: float
    Wmax: float
    Kplus: float


@dataclass(frozen=True, kw_only=True)
class PlasticShare:
    """Plastic synapses that end on one device, (num_synapses,) each.

    Attributes:
        source: source slot; delay: steps; weight: in the unit of the target's input.
        target: position in `target_ids`; number: among the plastic synapses of the target, in order of (connection, slot).
        kind: number of the connection among the plastic ones.
        target_ids: (num_targets,) global ids of neurons with plastic synapses, ascending.
        place: (num_targets, 2) int64 in the input vector, for positive and for negative weights; scale: one over the quantum.
    """

    source: np.ndarray
    delay: np.ndarray
    weight: np.ndarray
    target: np.ndarray
    number: np.ndarray
    kind: np.ndarray
    target_ids: np.ndarray
    place: np.ndarray
    scale: np.ndarray


def plastic_share(shares: Sequence[build.Connection], *, seed: int, dt: float) -> PlasticShare:
    """Draws the plastic synapses of one device; `shares` are those of all plastic connections, in order."""
    drawn = [build.draw_values(c, seed=seed, dt=dt) for c in shares]
    ids = [c.target_id[d.target].astype(np.int64) for c, d in zip(shares, drawn, strict=True)]
    target_ids, target = np.unique(np.concatenate(ids), return_inverse=True)
    kind = np.repeat(np.arange(len(shares)), [len(i) for i in ids])
    order = np.lexsort((np.concatenate([d.slot for d in drawn]), kind, target))
    first = np.searchsorted(target[order], np.arange(len(target_ids)))
    number = np.empty(len(target), dtype=np.int64)
    number[order] = np.arange(len(target)) - first[target[order]]
    place, scale = np.zeros((len(target_ids), 2), dtype=np.int64), np.zeros(len(target_ids))
    for c in shares:
        at = np.searchsorted(target_ids, c.target_id)
        known = np.flatnonzero((at < len(target_ids)) & np.isin(c.target_id, target_ids))
        place[at[known], 0] = c.target_index[known]
        place[at[known], 1] = c.target_index[known] + c.channel_stride[known]
        scale[at[known]] = c.per_quantum[known]
    source, delay, weight = (np.concatenate([getattr(d, name) for d in drawn]) for name in ("source", "delay", "weight"))
    return PlasticShare(
        source=source, delay=delay, weight=weight, target=target, number=number, kind=kind,
        target_ids=target_ids, place=place, scale=scale,
    )  # fmt: skip


@final
class Plasticity(Module):
    """Plastic synapses, in rows of the same sources and delays as the static ones.

    Args:
        shares: per device, its synapses.
        tables: per device, the static table, whose rows include the sources of the plastic synapses.
        kinds: parameters per connection.
        tau_minus: (num_ids,) ms, of each neuron.
        min_delay, num_delays, longest: of the network, steps; `longest` is the longest delay.
        backend: name, threads, dtype integer: as of the projection.

    States: state (n, 2) weight and Kplus; last (n,) step of the last presynaptic spike; post_steps and post_traces
    (targets, capacity), post_count: the last spikes of the targets (see `kernels.stdp`); full: a flag per device.
    """

    def __init__(
        self,
        shares: Sequence[PlasticShare],
        tables: Sequence[build.RawTable],
        kinds: Sequence[Stdp],
        tau_minus: np.ndarray,
        layout: Layout,
        mesh: Mesh,
        *,
        min_delay: int,
        num_delays: int,
        dt: float,
        backend: Any,
    ) -> None:
        super().__init__()
        self.layout, self.mesh, self.backend = layout, mesh, backend
        self.min_delay, self.num_delays = min_delay, num_delays
        dtype = np.float64 if backend.wide else np.float32
        runs, orders = [], []
        for share, table in zip(shares, tables, strict=True):
            run = build.row_of(share.source, table.present, table.rank) * num_delays + share.delay - min_delay
            orders.append(np.lexsort((share.number, share.target, run)))
            ends = np.cumsum(np.bincount(run, minlength=table.num_rows * num_delays)) if table.num_rows else np.zeros(0)
            runs.append(np.concatenate([[0], ends]).astype(np.uint32))
        self.num_synapses = sum(len(s.source) for s in shares)
        self._block, self._target_block = (max(1, *(len(getattr(s, name)) for s in shares)) for name in ("source", "target_ids"))
        self.pointers = self._placed(runs, max(len(r) for r in runs), repeat_last=True)
        fixed = [np.stack([s.target, s.kind], axis=1)[o].astype(np.int32) for s, o in zip(shares, orders, strict=True)]
        self.fixed = self._placed(fixed, self._block)
        initial = [np.stack([s.weight, np.array([k.Kplus for k in kinds])[s.kind]], axis=1) for s in shares]
        start = [i[o].astype(dtype) for i, o in zip(initial, orders, strict=True)]
        self.state = self._placed(start, self._block, HiddenState)
        self.last = self._placed([np.full(len(s.source), -1, np.int32) for s in shares], self._block, HiddenState)
        self._constants(shares, kinds, tau_minus, dt, dtype)
        self._reset_posts(_FIRST_CAPACITY)
        # Where the synapses lie in the padded global order, in order of (target id, connection, slot).
        key = np.concatenate([(s.target_ids[s.target] << 32 | s.number)[o] for s, o in zip(shares, orders, strict=True)])
        at = np.concatenate([d * self._block + np.arange(len(s.source)) for d, s in enumerate(shares)])
        self.order = at[np.argsort(key)]
        ids = np.concatenate([s.target_ids for s in shares])
        places = np.concatenate([d * self._target_block + np.arange(len(s.target_ids)) for d, s in enumerate(shares)])
        self.target_order = places[np.argsort(ids)]

    def _placed(self, blocks: Sequence[np.ndarray], length: int, kind: type = LongTermState, *, repeat_last: bool = False) -> Any:
        """A State of the devices' blocks, filled up to one length."""
        filled = [np.zeros((length, *b.shape[1:]), b.dtype) for b in blocks]
        for whole, b in zip(filled, blocks, strict=True):
            whole[: len(b)] = b
            if repeat_last:
                whole[len(b) :] = b[-1]
        return kind(from_blocks(self.mesh, filled), sharding=sharded(self.mesh, NEURON))

    def _constants(
        self, shares: Sequence[PlasticShare], kinds: Sequence[Stdp], tau_minus: np.ndarray, dt: float, dtype: Any
    ) -> None:
        tau_plus = np.array([k.tau_plus for k in kinds])
        per_target = [tau_minus[s.target_ids] for s in shares]
        taus = np.unique(np.concatenate([tau_plus, *per_target]))
        if len(taus) > _MOST_TAUS:
            raise ParameterError(
                f"{len(taus):,} different time constants of plasticity (tau_plus, tau_minus of the targets); at most "
                f"{_MOST_TAUS:,} have a table of their exponential. Round them."
            )
        decays = stdp.decays(taus, dt, dtype)
        self.bits = decays.bits
        rows = [
            np.concatenate([s.place, np.searchsorted(taus, tau)[:, None]], axis=1).astype(np.int32)
            for s, tau in zip(shares, per_target, strict=True)
        ]
        self.targets = self._placed(rows, self._target_block)
        self.scale = self._placed([s.scale.astype(dtype) for s in shares], self._target_block)
        index = []
        for device, s in enumerate(shares):
            index.append(np.full(self.layout.slots_per_device, -1, dtype=np.int32))
            first = device * self.layout.slots_per_device
            index[-1][self.layout.slot[s.target_ids].astype(np.int64) - first] = np.arange(len(s.target_ids))
        self.index = self._placed(index, self.layout.slots_per_device)
        numbers = [[k.Wmax, k.lambda_, k.alpha, k.mu_plus, k.mu_minus] for k in kinds]
        everywhere = sharded(self.mesh)
        self.kinds, self.kind_tau, self.fine, self.coarse = (
            LongTermState(jnp.asarray(a), sharding=everywhere)
            for a in (np.array(numbers, dtype), np.searchsorted(taus, tau_plus).astype(np.int32), decays.fine, decays.coarse)
        )

    def _reset_posts(self, capacity: int) -> None:
        n = self._target_block * self.layout.num_devices
        where = sharded(self.mesh, NEURON)

        def zeros(shape: tuple[int, ...], dtype: Any) -> HiddenState:
            return HiddenState(jnp.zeros(shape, dtype, device=where), sharding=where)

        self.post_steps, self.post_traces = zeros((n, capacity), np.int32), zeros((n, capacity), self.state.value.dtype)
        self.post_count = zeros((n,), np.uint32)
        full = jnp.zeros(self.layout.num_devices, jnp.uint32, device=where)
        self.full = ShortTermState(full, sharding=where)

    @property
    def table_bytes(self) -> int:
        """Bytes of the synapses, without the spikes of their targets."""
        return sum(s.value.nbytes for s in (self.pointers, self.fixed, self.state, self.last))

    # ---- the step ----

    def deliver(
        self, step: jax.Array, history: tuple[jax.Array, jax.Array, jax.Array], arriving: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        """The input (threads, devices * size) with what plastic synapses pass on at the end of `step`, and the new counters."""
        backend, neuron = self.backend, P(NEURON)
        run = partial(
            stdp.deliver, min_delay=self.min_delay, num_delays=self.num_delays, threads=backend.threads, period=stdp.PERIOD,
            bits=self.bits, backend=backend.name,
        )  # fmt: skip
        specs = (P(), (neuron,) * 3, neuron, (neuron,) * 3, (neuron,) * 3, self._constant_specs, P(None, NEURON))
        counters, self.state.value, self.last.value, arriving = self._island(run, specs, (neuron,) * 3 + (P(None, NEURON),))(
            step, history, self.pointers.value, (self.fixed.value, self.state.value, self.last.value), self._posts,
            self._constant_values, arriving,
        )  # fmt: skip
        return arriving, counters

    def record(self, step: jax.Array, words: jax.Array) -> None:
        """Takes in the spikes of `step`: (devices * words,) bits in order of source slots."""
        longest = self.min_delay + self.num_delays - 1
        run = partial(stdp.record, longest=longest, period=stdp.PERIOD, bits=self.bits, backend=self.backend.name)
        neuron = P(NEURON)
        specs = (P(), neuron, neuron, (neuron,) * 3, neuron, self._constant_specs)
        new = self._island(run, specs, (neuron,) * 4)(
            step, words, self.index.value, self._posts, self.full.value, self._constant_values
        )
        self.post_steps.value, self.post_traces.value, self.post_count.value, self.full.value = new

    def _island(self, f: Any, in_specs: Any, out_specs: Any) -> Any:
        return jax.shard_map(f, mesh=self.mesh, in_specs=in_specs, out_specs=out_specs, check_vma=False)

    @property
    def _posts(self) -> tuple[jax.Array, ...]:
        return self.post_steps.value, self.post_traces.value, self.post_count.value

    @property
    def _constant_values(self) -> tuple[jax.Array, ...]:
        states = (self.targets, self.scale, self.kinds, self.kind_tau, self.fine, self.coarse)
        return tuple(s.value for s in states)

    @property
    def _constant_specs(self) -> tuple[P, ...]:
        return (P(NEURON), P(NEURON), P(), P(), P(), P())

    # ---- on the host, between chunks ----

    def overflow(self) -> bool:
        """Whether a spike of a target that is still needed had no room."""
        return bool(np.asarray(self.full.value).any())

    def grow(self) -> None:
        """Twice the room for spikes of the targets: call on the state before the overflow."""
        steps, traces, count = (np.asarray(a) for a in self._posts)
        capacity = steps.shape[1]
        number = count.astype(np.int64)[:, None] - 1 - np.arange(capacity)
        row = np.broadcast_to(np.arange(len(count))[:, None], number.shape)
        kept = number >= 0
        for state, old in ((self.post_steps, steps), (self.post_traces, traces)):
            larger = np.zeros((len(count), 2 * capacity), old.dtype)
            larger[row[kept], number[kept] % (2 * capacity)] = old[row[kept], number[kept] % capacity]
            state.reset_value(jax.device_put(larger, state.sharding))

    def synapses(self) -> np.ndarray:
        """(num_synapses, 2) weight and Kplus in order of (target id, connection, slot); all spikes that have arrived are in."""
        return np.asarray(self.state.value)[self.order]

    # ---- checkpoints ----

    def portable(self, read: Callable[[State], np.ndarray], step: int) -> dict[str, np.ndarray]:
        """All that a later step needs when `step` is about to begin, without any placement.

        Returns:
            weight, Kplus, last: (num_synapses,) in order of (target id, connection, slot). post_kept (num_targets,) in order of
            ids: of each target, how many spikes are still needed; post_steps, post_traces: those, one target after the other.
        """
        state = read(self.state)[self.order]
        steps, traces, count = (read(s)[self.target_order] for s in (self.post_steps, self.post_traces, self.post_count))
        capacity = steps.shape[1]
        number = np.maximum(count.astype(np.int64) - capacity, 0)[:, None] + np.arange(capacity)
        steps, traces = (np.take_along_axis(a, number % capacity, axis=1) for a in (steps, traces))
        # What no synapse has taken in yet, and one before: the newest that a presynaptic spike can follow.
        longest = self.min_delay + self.num_delays - 1
        passed = step // stdp.PERIOD * stdp.PERIOD - 1 - 2 * longest + 1
        real = number < count.astype(np.int64)[:, None]
        late = real & (steps > passed)
        newest = real & ~late & (np.cumsum(real & ~late, axis=1) == (real & ~late).sum(axis=1, keepdims=True))
        kept = late | newest
        return {
            "weight": state[:, 0], "Kplus": state[:, 1], "last": read(self.last)[self.order],
            "post_kept": kept.sum(axis=1).astype(np.int32), "post_steps": steps[kept], "post_traces": traces[kept],
        }  # fmt: skip

    def restore_portable(self, saved: Mapping[str, np.ndarray], step: int) -> None:
        """The inverse of `portable`, on whatever devices the network lies."""
        del step
        state, last = np.array(self.state.value), np.array(self.last.value)
        state[self.order] = np.stack([saved["weight"], saved["Kplus"]], axis=1)
        last[self.order] = saved["last"]
        for s, value in ((self.state, state), (self.last, last)):
            s.reset_value(jax.device_put(value, s.sharding))
        kept = saved["post_kept"].astype(np.int64)
        n, most = len(self.post_count.value), int(kept.max(initial=1))
        capacity = max(self.post_steps.value.shape[1], 1 << (most - 1).bit_length())
        steps, traces, count = np.zeros((n, capacity), np.int32), np.zeros((n, capacity), state.dtype), np.zeros(n, np.uint32)
        row = np.repeat(self.target_order, kept)
        number = np.arange(len(row)) - np.repeat(np.cumsum(kept) - kept, kept)
        steps[row, number], traces[row, number] = saved["post_steps"], saved["post_traces"]
        count[self.target_order] = kept
        for s, value in ((self.post_steps, steps), (self.post_traces, traces), (self.post_count, count)):
            s.reset_value(jax.device_put(value, s.sharding))
