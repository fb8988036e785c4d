"""Synapses of one family that change, as one Module: their variables and the spikes of their targets, on the devices of the
targets."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, final

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P

from dist_sim.core import HiddenState, LongTermState, Module, ShortTermState, State
from dist_sim.errors import ConnectError, ParameterError
from dist_sim.kernels import build, plastic
from dist_sim.kernels.decays import decays
from dist_sim.kernels.philox import key_words
from dist_sim.kernels.plastic_source import prepare
from dist_sim.network.arguments import everywhere, roomy
from dist_sim.network.changing import Changing
from dist_sim.network.plastic_share import PlasticShare
from dist_sim.network.portable import PADDING, RestoringPlasticity, distances, in_order
from dist_sim.network.weight_log import WeightLog
from dist_sim.partition.layout import Layout
from dist_sim.partition.mesh import NEURON, from_blocks, local_part, local_positions, sharded, whole
from dist_sim.partition.processes import processes_of

_FIRST_CAPACITY = 32  # spikes kept per target, a power of two
_MOST_TAUS, _FEW_TAUS = 1024, 4


@final
class Plasticity(Module):
    """Changing synapses of one model and receptor type, in rows of the same sources and delays as the static ones.

    Args:
        shares: per device of this process, its synapses.
        tables: likewise, the static table, whose rows include the sources of the changing synapses.
        kinds: what each connection says; all of one model.
        of_targets: a parameter of neurons, by its name and global ids (n,): (n,), in ms.
        min_delay, num_delays, longest: of the network, steps; `longest` is the longest delay.
        seed, stream: of the random numbers of the model.
        backend: name, threads, dtype integer: as of the projection.
        watched: per connection, whether what its synapses pass on is put down in `log`.

    States: state (n, variables); last (n,) step of the last presynaptic spike; post_steps (targets, capacity) and post_traces
    (targets, capacity, stored), post_count: the last spikes of the targets (see `kernels.plastic`); full: a flag per device;
    place, target_place: number of each synapse in order of (target id, connection, slot), of each target in order of ids.
    """

    structure = ("mesh", "backend", "min_delay", "num_delays", "stream", "text", "bits")

    def __init__(
        self,
        shares: Sequence[PlasticShare],
        tables: Sequence[build.RawTable],
        kinds: Sequence[Changing],
        of_targets: Callable[[str, np.ndarray], np.ndarray],
        layout: Layout,
        mesh: Mesh,
        *,
        min_delay: int,
        num_delays: int,
        seed: int,
        stream: int,
        dt: float,
        backend: Any,
        watched: Sequence[bool],
    ) -> None:
        super().__init__()
        self.layout, self.mesh, self.backend = layout, mesh, backend
        self.min_delay, self.num_delays, self.kinds, self.stream = min_delay, num_delays, tuple(kinds), stream
        self.key = everywhere(mesh, key_words(seed))
        self.model, dtype = kinds[0].model, np.float64 if backend.wide else np.float32
        self.text = self.model.text(dtype, max(k.uniforms for k in kinds))
        prepare([self.text], backend=backend.name)
        runs, orders = [], []
        for share, table in zip(shares, tables, strict=True):
            run = build.row_of(share.source, table.present, table.rank) * num_delays + share.delay - min_delay
            orders.append(np.lexsort((share.number, share.target, run)))
            ends = np.cumsum(np.bincount(run, minlength=table.num_rows * num_delays)) if table.num_rows else np.zeros(0)
            runs.append(np.concatenate([[0], ends]).astype(np.uint32))
        self.processes, self.local = processes_of(mesh), local_positions(mesh)
        lengths = [max(len(r) for r in runs), *(max(len(getattr(s, n)) for s in shares) for n in ("source", "target_ids"))]
        longest_run, block, target_block = self.processes.largest([max(1, n) for n in lengths])
        # Of one length with other seeds too.
        self._block, self._target_block = roomy(block), roomy(target_block)
        longest_run = roomy((longest_run - 1) // num_delays) * num_delays + 1
        self.pointers = self._placed(runs, longest_run, repeat_last=True)
        fixed = [np.stack([s.target, s.kind], axis=1)[o].astype(np.int32) for s, o in zip(shares, orders, strict=True)]
        self.fixed = self._placed(fixed, self._block)
        begin = np.array([[k.initial[name] for name in self.text.variables[1:]] for k in kinds])
        initial = [np.concatenate([s.weight[:, None], begin[s.kind]], axis=1) for s in shares]
        start = [i[o].astype(dtype) for i, o in zip(initial, orders, strict=True)]
        self.state = self._placed(start, self._block, HiddenState)
        self.last = self._placed([np.full(len(s.source), -1, np.int32) for s in shares], self._block, HiddenState)
        indegree = np.zeros(len(layout.owner), dtype=np.int64)
        for s in shares:
            indegree[s.target_ids] = np.bincount(s.target, minlength=len(s.target_ids))
        indegree = self.processes.total(indegree)
        self.num_synapses = int(indegree.sum())
        if self.num_synapses >= PADDING:
            raise ConnectError(f"{self.num_synapses:,} plastic synapses; a network holds {PADDING:,}.")
        first = np.cumsum(indegree) - indegree
        places = [(first[s.target_ids[s.target]] + s.number)[o].astype(np.uint32) for s, o in zip(shares, orders, strict=True)]
        self.place = self._placed(places, self._block, fill=PADDING)
        self._target_ids = ids = np.flatnonzero(indegree)
        places = [np.searchsorted(ids, s.target_ids).astype(np.uint32) for s in shares]
        self.target_place = self._placed(places, self._target_block, fill=PADDING)
        self._constants(shares, [[of_targets(t, s.target_ids) for t in self.model.target_taus()] for s in shares], dt, dtype)
        self._reset_posts(_FIRST_CAPACITY if self.text.listens else 1)
        # Largest weights per connection, where the model does not see to it itself.
        self.limits = (
            None if all(k.bounded for k in kinds) else np.array([np.inf if k.bounded else k.largest for k in kinds], dtype)
        )
        self.log = WeightLog(np.array(watched), mesh, dtype) if any(watched) else None

    def _placed(
        self, blocks: Sequence[np.ndarray], length: int, kind: type = LongTermState, *, fill: int = 0, repeat_last: bool = False
    ) -> Any:
        """A State of the devices' blocks, filled up to one length."""
        filled = [np.full((length, *b.shape[1:]), fill, b.dtype) for b in blocks]
        for block, b in zip(filled, blocks, strict=True):
            block[: len(b)] = b
            if repeat_last:
                block[len(b) :] = b[-1]
        return kind(from_blocks(self.mesh, filled), sharding=sharded(self.mesh, NEURON))

    def _constants(
        self, shares: Sequence[PlasticShare], target_taus: Sequence[Sequence[np.ndarray]], dt: float, dtype: Any
    ) -> None:
        text, kinds = self.text, self.kinds
        own = np.array([[k.parameters[name] for name in text.decays] for k in kinds])
        # Every process holds the tables of all.
        of_targets = self.processes.gather_ragged(
            np.unique(np.concatenate([np.zeros(0), *(t for ts in target_taus for t in ts)]))
        )
        taus = np.unique(np.concatenate([own.reshape(-1), *of_targets]))
        if len(taus) > _MOST_TAUS:
            raise ParameterError(
                f"{len(taus):,} different time constants of {self.model.name} "
                f"({', '.join([*text.decays, *self.model.target_taus()])}); at most {_MOST_TAUS:,} have a table of their "
                "exponential. Round them."
            )
        # Some rows for none: where two are equal, or no longer, the tables stay of one size.
        decay = decays(np.pad(taus, (0, -len(taus) % _FEW_TAUS)), dt, dtype)
        self.bits = decay.bits
        rows = [
            np.stack([*s.place.T, *(np.searchsorted(taus, t) for t in ts)], axis=1).astype(np.int32)
            for s, ts in zip(shares, target_taus, strict=True)
        ]
        self.targets = self._placed(rows, self._target_block)
        self.scale = self._placed([s.scale.astype(dtype) for s in shares], self._target_block)
        index = []
        for device, s in zip(self.local, shares, strict=True):
            index.append(np.full(self.layout.slots_per_device, -1, dtype=np.int32))
            first = int(device) * self.layout.slots_per_device
            index[-1][self.layout.slot[s.target_ids].astype(np.int64) - first] = np.arange(len(s.target_ids))
        self.index = self._placed(index, self.layout.slots_per_device)
        numbers = [[dt if name == "dt" else k.parameters[name] for name in text.parameters] for k in kinds]
        self.numbers, self.kind_tau, self.fine, self.coarse = (
            everywhere(self.mesh, a)
            for a in (np.array(numbers, dtype), np.searchsorted(taus, own).astype(np.int32), decay.fine, decay.coarse)
        )

    def _reset_posts(self, capacity: int) -> None:
        n = self._target_block * self.layout.num_devices
        where = sharded(self.mesh, NEURON)

        def zeros(shape: tuple[int, ...], dtype: Any) -> HiddenState:
            return HiddenState(jnp.zeros(shape, dtype, device=where), sharding=where)

        self.post_steps = zeros((n, capacity), np.int32)
        self.post_traces = zeros((n, capacity, self.text.stored), self.state.value.dtype)
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
        """The input (threads, devices * size) with what the synapses pass on at the end of `step`, and the new counters."""
        backend, neuron, log = self.backend, P(NEURON), self.log
        run = partial(
            plastic.deliver, self.text, min_delay=self.min_delay, num_delays=self.num_delays, threads=backend.threads,
            period=plastic.PERIOD, bits=self.bits, stream=self.stream, backend=backend.name,
        )  # fmt: skip
        synapses = self.fixed.value, self.place.value, self.state.value, self.last.value
        specs = [P(), P(), (neuron,) * 3, neuron, (neuron,) * 4, (neuron,) * 3, self._constant_specs, P(None, NEURON)]
        operands = [step, self.key.value, history, self.pointers.value, synapses, self._posts, self._constant_values, arriving]
        results = (neuron,) * 3 + (P(None, NEURON),)
        if log is None:
            counters, self.state.value, self.last.value, arriving = self._island(run, tuple(specs), results)(*operands)
            return arriving, counters

        def watching(*given: Any) -> Any:
            return run(*given[:-2], watched=given[-2], log=given[-1])

        specs, results = (*specs, P(), (neuron,) * 4), results + (neuron,) * 4
        counters, self.state.value, self.last.value, arriving, *put_down = self._island(watching, specs, results)(
            *operands, log.watched.value, log.values
        )
        log.assign(tuple(put_down))
        return arriving, counters

    def record(self, step: jax.Array, words: jax.Array) -> None:
        """Takes in the spikes of `step`: (devices * words,) bits in order of source slots."""
        if not self.text.listens:
            return
        longest = self.min_delay + self.num_delays - 1
        run = partial(
            plastic.record,
            stored=self.text.stored,
            longest=longest,
            period=plastic.PERIOD,
            bits=self.bits,
            backend=self.backend.name,
        )
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
        states = (self.targets, self.scale, self.numbers, self.kind_tau, self.fine, self.coarse)
        return tuple(s.value for s in states)

    @property
    def _constant_specs(self) -> tuple[P, ...]:
        return (P(NEURON), P(NEURON), P(), P(), P(), P())

    # ---- on the host, between chunks ----

    def overflow(self) -> list[Callable[[], None]]:
        """What makes room for a spike of a target that was still needed and had none, and for what was to be put down in the log:
        to be called on the state before it happened."""
        small, wanted = self.processes.largest([int(local_part(self.full.value).any()), self.log.wanted if self.log else 0])
        growing = [self.grow] if small else []
        if self.log is not None and wanted > self.log.room:
            growing.append(partial(self.log.grow, wanted))
        return growing

    def grow(self) -> None:
        """Twice the room for spikes of the targets: call on the state before the overflow."""
        steps, traces, count = (local_part(a) for a in self._posts)
        capacity = steps.shape[1]
        number = count.astype(np.int64)[:, None] - 1 - np.arange(capacity)
        row = np.broadcast_to(np.arange(len(count))[:, None], number.shape)
        kept = number >= 0
        for state, old in ((self.post_steps, steps), (self.post_traces, traces)):
            larger = np.zeros((len(count), 2 * capacity, *old.shape[2:]), old.dtype)
            larger[row[kept], number[kept] % (2 * capacity)] = old[row[kept], number[kept] % capacity]
            state.reset_value(from_blocks(self.mesh, np.split(larger, len(self.local))))

    def properties(self, device: int, synapse: np.ndarray) -> tuple[np.ndarray, ...]:
        """Row of the source in the table, delay [steps], global id of the target, kind and place of some synapses (n,) of one of
        this process's devices, given by their numbers on it."""
        pointers, fixed, place, targets = (
            np.split(local_part(s.value), len(self.local))[device]
            for s in (self.pointers, self.fixed, self.place, self.target_place)
        )
        run = np.searchsorted(pointers, synapse, side="right") - 1
        target = self._target_ids[targets[fixed[synapse, 0]]]
        return run // self.num_delays, self.min_delay + run % self.num_delays, target, fixed[synapse, 1], place[synapse]

    def synapses(self) -> np.ndarray:
        """(num_synapses, variables) in order of (target id, connection, slot); all spikes that have arrived are in.

        On several processes each of them calls it.
        """
        return whole(self.state.value)[in_order(whole(self.place.value))]

    def traces(self) -> tuple[np.ndarray, np.ndarray]:
        """Global ids (num_targets,) of the targets, and the traces (num_targets, capacity, stored) after their last spikes."""
        return self._target_ids, whole(self.post_traces.value)[in_order(whole(self.target_place.value))]

    # ---- checkpoints ----

    def portable(self, read: Callable[[State], np.ndarray], step: int) -> dict[str, np.ndarray]:
        """All that a later step needs of this process's synapses when `step` is about to begin, without any placement.

        Args:
            read: this process's part of the value of a State at that moment.

        Returns:
            The variables by name, and last: (num_synapses,) in order of (target id, connection, slot). post_kept
            (num_targets,) in order of ids: of each target, how many spikes are still needed; post_steps, and by the names of
            the traces: those, one target after the other. Of one of several processes, synapses and targets: which of the
            network's these are, as `distances` says.
        """
        place, target_place = read(self.place), read(self.target_place)
        order, targets = in_order(place), in_order(target_place)
        state, last = read(self.state)[order], read(self.last)[order]
        steps, traces, count = (read(s)[targets] for s in (self.post_steps, self.post_traces, self.post_count))
        capacity = steps.shape[1]
        number = np.maximum(count.astype(np.int64) - capacity, 0)[:, None] + np.arange(capacity)
        steps, traces = (a[np.arange(len(a))[:, None], number % capacity] for a in (steps, traces))
        # What no synapse has taken in yet, and one before: the newest that a presynaptic spike can follow.
        longest = self.min_delay + self.num_delays - 1
        passed = step // plastic.PERIOD * plastic.PERIOD - 1 - 2 * longest + 1
        real = number < count.astype(np.int64)[:, None]
        late = real & (steps > passed)
        newest = real & ~late & (np.cumsum(real & ~late, axis=1) == (real & ~late).sum(axis=1, keepdims=True))
        kept = late | newest
        which = {"synapses": place[order], "targets": target_place[targets]} if self.processes.count > 1 else {}
        return {
            **dict(zip(self.text.variables, state.T, strict=True)), "last": last,
            "post_kept": kept.sum(axis=1).astype(np.int32), "post_steps": steps[kept],
            **dict(zip(self.text.traces, traces[kept].T, strict=False)),
            **{name: distances(numbers) for name, numbers in which.items()},
        }  # fmt: skip

    def restoring(self, step: int) -> RestoringPlasticity:
        """What takes in the parts of the processes, and then puts the synapses there."""
        del step
        return RestoringPlasticity(self)
