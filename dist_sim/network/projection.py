"""All synapses of a network as one Module: table, exchange, spikes in flight and delivery.

Over 400 lines: the step, the host between chunks and checkpoints act on the same few States.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, final

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P

from dist_sim import kernels
from dist_sim.core import HiddenState, LongTermState, Module, ShortTermState, State
from dist_sim.kernels import build
from dist_sim.kernels import history as in_flight
from dist_sim.kernels.plastic import SYNAPSE_STREAMS
from dist_sim.network import flight
from dist_sim.network.arguments import roomy
from dist_sim.network.channels import Channels
from dist_sim.network.connection import Connection
from dist_sim.network.plastic_share import PlasticShare
from dist_sim.network.plasticity import Plasticity
from dist_sim.network.portable import RestoringFlight
from dist_sim.network.tables import (
    Backend,
    draw_table,
    events_of,
    families,
    first_capacity,
    first_due_capacity,
    history_slots,
    larger_due_capacity,
)
from dist_sim.partition.layout import Layout
from dist_sim.partition.mesh import NEURON, from_blocks, local_part, local_positions, sharded, spread
from dist_sim.partition.processes import processes_of
from dist_sim.partition.share import Share

_STRETCH = 1 << 20  # sources whose out-degrees are added up over the processes together


@final
class Projection(Module):
    """Synapses of all connections, owned by the devices of their targets.

    `deliver(step)` gives the input that arrives at the end of a step; `send(step, spikes)` passes on the spikes of that step,
    once per minimum delay. In between lies the history of spikes. The order of a step is deliver, update, send: a spike of step m
    can at the earliest be due at step m + min_delay, and by then the interval in which it was sent has been exchanged.

    Args:
        connections: checked connections of the whole network.
        external_steps: per source from outside, in order of `layout.external_ids`: steps of its spikes, ascending.
        capacity: spikes in flight that a device has room for; None chooses. A run that needs more grows it.
        of_targets: a parameter of neurons [ms] by its name and global ids (n,): needed where synapses change.
        counted: models whose neurons can send several spikes in a step (False), or changes of two states (True), by number.

    Each process draws the synapses of its own devices; what must agree (the lengths of the blocks, the out-degrees) is exchanged.

    Attributes:
        out_degree: of the neurons of this process's devices in order of source slots, then of the sources from outside.

    States: ring, marks, counters (the history, see `kernels.history`), outbox (steps, words) bits not yet exchanged.
    """

    structure = ("mesh", "exchange", "backend", "counted", "size", "min_delay", "num_delays", "interval", "bit_words",
                 "due_capacity")  # fmt: skip

    def __init__(
        self,
        connections: Sequence[Connection],
        layout: Layout,
        mesh: Mesh,
        channels: Sequence[Channels],
        *,
        exchange: Any,
        external_steps: Sequence[np.ndarray],
        seed: int,
        dt: float,
        backend: Backend,
        capacity: int | None = None,
        watch: Any = None,
        of_targets: Callable[[str, np.ndarray], np.ndarray] | None = None,
        counted: Mapping[int, bool] | None = None,
    ) -> None:
        super().__init__()
        self.bit_words = layout.slots_per_device // 32
        self.counted, word = [], self.bit_words
        for group, binary in sorted((counted or {}).items()):
            self.counted.append(in_flight.Counted(layout.first[group], layout.block[group], word, binary))
            word += layout.block[group]
        self.layout, self.mesh, self.exchange, self.backend = layout, mesh, exchange, backend
        self.processes, self.local = processes_of(mesh), local_positions(mesh)
        self.share = Share(layout=layout, devices=self.local, processes=self.processes)
        self.size = sum(c.count * b for c, b in zip(channels, layout.block, strict=True))
        limits = [c.delay_bounds(dt) for c in connections]
        self.min_delay = min((low for low, _ in limits), default=1)
        self.num_delays = max((high for _, high in limits), default=1) - self.min_delay + 1
        self.interval = self.min_delay
        tables, shares = [], []
        for done, device in enumerate(self.local):
            if watch is not None:
                watch(done, len(self.local))
            table, share = draw_table(
                connections, layout, int(device), done, channels, backend, self._all_threads,
                min_delay=self.min_delay, num_delays=self.num_delays, seed=seed, dt=dt,
            )  # fmt: skip
            tables.append(table)
            shares.append(share)
        # Where devices meet is a number of this network, which its compiled step takes as an argument.
        meeting = getattr(exchange, "meeting", None)
        numbers = None if meeting is None else from_blocks(mesh, [np.array([meeting.number], np.int32)] * len(self.local))
        self.meeting = None if numbers is None else LongTermState(numbers, sharding=sharded(mesh, NEURON))
        self.plastic = self._changing(connections, tables, shares, of_targets, seed=seed, dt=dt)
        sources = [share.source for of_families in shares for share in of_families.values()]
        rows = self._place(tables, sources, external_steps)
        self._reset(capacity or first_capacity(rows, self.slots))

    # ---- building ----

    def _changing(
        self, connections: Sequence[Connection], tables: list[build.RawTable], shares: list[dict[str, PlasticShare]],
        of_targets: Callable[[str, np.ndarray], np.ndarray] | None, *, seed: int, dt: float,
    ) -> dict[str, Plasticity]:  # fmt: skip
        """The synapses that change, by family."""
        found = {}
        for number, family in enumerate(families(connections)):
            assert of_targets is not None
            mine = [c for c in connections if c.family == family]
            found[family] = Plasticity(
                [of_families[family] for of_families in shares], tables, [c.plasticity for c in mine if c.plasticity is not None],
                of_targets, self.layout, self.mesh, min_delay=self.min_delay, num_delays=self.num_delays, seed=seed,
                stream=SYNAPSE_STREAMS + number, dt=dt, backend=self.backend, watched=[c.logs for c in mine],
            )  # fmt: skip
        return found

    @property
    def num_source_slots(self) -> int:
        return self.layout.num_source_slots

    @property
    def slots(self) -> int:
        """Steps that the history reaches back."""
        return history_slots(self.min_delay, self.num_delays)

    @property
    def words(self) -> int:
        """Of a device's spikes of a step: a bit per neuron, and the numbers of those that are counted."""
        return self.bit_words + sum(c.count for c in self.counted)

    @property
    def _all_threads(self) -> int:
        # Devices are built one after the other, each by all threads.
        return self.backend.threads * len(self.local)

    def _place(
        self, tables: list[build.RawTable], plastic_sources: Sequence[np.ndarray], external_steps: Sequence[np.ndarray]
    ) -> int:
        """Makes the States of the tables; returns the largest number of rows on one device."""
        mesh, layout = self.mesh, self.layout
        outside = layout.num_slots + np.arange(len(layout.external_ids))
        events = [events_of(external_steps, build.rows_known(outside, t.present, t.rank)) for t in tables]
        # The reference delivers in arrays of one size, which is a part of its program, and of no result.
        is_reference = self.backend.name == "reference"
        self.due_capacity = first_due_capacity(tables, self.num_delays, self.processes) if is_reference else None
        self._count(tables, np.sort(np.concatenate([np.zeros(0, np.int64), *plastic_sources])))
        names = ("present", "rank", "pointers", "synapses")
        longest, rows, *lengths = self.processes.largest([
            max(1, *(e.shape[1] for e in events)),
            max(t.num_rows for t in tables),
            *(max(1, *(len(getattr(t, name)) for t in tables)) for name in names),
        ])  # fmt: skip
        # Of one length with other seeds too.
        longest, rows = roomy(longest), roomy(rows)
        length_of: dict[str, int] = dict(zip(names, lengths, strict=True))
        length_of |= {"pointers": rows * self.num_delays + 1, "synapses": roomy(length_of["synapses"])}
        never = np.array([[0xFFFFFFFF], [0]], dtype=np.uint32)
        padded = [np.concatenate([e, np.repeat(never, longest - e.shape[1], axis=1)], axis=1) for e in events]
        self.events = LongTermState(from_blocks(mesh, padded, axis=1), sharding=sharded(mesh, None, NEURON))

        def stacked(name: str, *, repeat_last: bool = False) -> LongTermState:
            # A table may end early on one device: blocks of a global array are of one length.
            blocks = [getattr(t, name) for t in tables]
            length = length_of[name]
            for k, b in enumerate(blocks):
                if len(b) < length:
                    rest = np.broadcast_to(
                        b[-1:] if repeat_last and len(b) else np.zeros_like(b, shape=(1, *b.shape[1:])),
                        (length - len(b), *b.shape[1:]),
                    )
                    blocks[k] = np.concatenate([b, rest])
            return LongTermState(from_blocks(mesh, blocks), sharding=sharded(mesh, NEURON))

        self.present, self.rank = stacked("present"), stacked("rank")
        self.pointers, self.synapses = stacked("pointers", repeat_last=True), stacked("synapses")
        self.table_bytes = sum(s.value.nbytes for s in (self.present, self.rank, self.pointers, self.synapses))
        self.table_bytes += sum(plastic.table_bytes for plastic in self.plastic.values())
        return rows

    def _count(self, tables: list[build.RawTable], plastic_sources: np.ndarray) -> None:
        """Adds up the out-degrees over the devices, a stretch of sources at a time, and keeps those of this process."""
        self.out_degree = np.zeros(self.share.num_slots + len(self.layout.external_ids), dtype=np.int64)
        self.num_synapses = 0
        for first in range(0, self.num_source_slots, _STRETCH):
            slots = np.arange(first, min(first + _STRETCH, self.num_source_slots))
            begin, end = np.searchsorted(plastic_sources, [first, slots[-1] + 1])
            count = np.bincount(plastic_sources[begin:end] - first, minlength=len(slots))
            for t in tables:
                words = slice(first // 32, slots[-1] // 32 + 1)
                sources = np.flatnonzero(np.unpackbits(t.present[words].view(np.uint8), bitorder="little"))
                rows = t.rank[words.start] + np.arange(len(sources) + 1)
                count[sources] += np.diff(t.pointers[rows.astype(np.int64) * self.num_delays].astype(np.int64))
            count = self.processes.total(count)
            self.num_synapses += int(count.sum())  # every synapse has a source
            place = self.share.place(slots)
            self.out_degree[place[place >= 0]] = count[place >= 0]

    def synapses_of(self, slots: np.ndarray) -> int:
        """How many synapses some neurons of this process's devices, or sources from outside, have in all: (n,) source slots."""
        return int(self.out_degree[self.share.place(slots)].sum())

    def _reset(self, capacity: int) -> None:
        devices, mesh = self.layout.num_devices, self.mesh
        words = self.words * devices

        def zeros(kind: type, shape: tuple[int, ...], *axes: str | None) -> Any:
            return kind(jnp.zeros(shape, jnp.uint32, device=sharded(mesh, *axes)), sharding=sharded(mesh, *axes))

        self.ring = zeros(HiddenState, (devices * capacity,), NEURON)
        self.marks = zeros(HiddenState, (devices * self.slots, 2), NEURON)
        self.counters = zeros(HiddenState, (devices * in_flight.NUM_COUNTERS,), NEURON)
        self.outbox = zeros(ShortTermState, (self.interval, words), None, NEURON)

    def reset_state(self, batch_size: int | None = None) -> None:
        """No spike in flight, all counts zero."""
        for state in (self.ring, self.marks, self.counters, self.outbox):
            state.value = jnp.zeros_like(state.value, device=state.value.sharding)

    # ---- the step ----

    def deliver(self, step: jax.Array) -> jax.Array:
        """(threads, devices * size) integers: what arrives at the end of `step`."""
        run = partial(
            kernels.deliver,
            size=self.size,
            min_delay=self.min_delay,
            num_delays=self.num_delays,
            threads=self.backend.threads,
            capacity=self.due_capacity,
            backend=self.backend.name,
        )
        history = (P(NEURON), P(NEURON), P(NEURON))
        island = self._island(run, (P(), history, P(NEURON), P(NEURON)), (P(None, NEURON), P(NEURON)))
        arriving, self.counters.value = island(step, self._history(), self.pointers.value, self.synapses.value)
        for plastic in self.plastic.values():
            arriving, self.counters.value = plastic.deliver(step, self._history(), arriving)
        return arriving

    def send(self, step: jax.Array, spikes: Sequence[tuple[jax.Array, jax.Array]]) -> jax.Array:
        """Passes on the spikes of `step`.

        Args:
            spikes: per model, (devices * block / 32,) uint32 bits in padded global order, and (devices * block,) int32 numbers
                of spikes where the model is counted, else (0,).

        Returns:
            (devices * words,) the same in order of devices: the bits in order of source slots, then the numbers.
        """
        interval = self.interval

        def island(step, spikes, outbox, events, sources, history, meeting):
            exchange = self.exchange if meeting is None else self.exchange.at(meeting)
            run = partial(exchange, num_delays=self.num_delays, backend=self.backend.name, counted=tuple(self.counted))
            parts = [bits for bits, _ in spikes] + [n.astype(jnp.uint32) for _, n in spikes if n.shape[0]]
            words = jnp.concatenate(parts) if len(parts) > 1 else parts[0]
            if interval == 1:
                return words, outbox, run(step, words[None], events, sources, history)
            phase = step % interval
            outbox = jax.lax.dynamic_update_slice(outbox, words[None], (phase, jnp.zeros_like(phase)))
            first = step - phase
            history = jax.lax.cond(
                phase == interval - 1, lambda h: tuple(run(first, outbox, events, sources, h)), lambda h: h, history
            )
            return words, outbox, history

        neuron, history = P(NEURON), (P(NEURON), P(NEURON), P(NEURON))
        specs = (P(), ((neuron, neuron),) * len(spikes), P(None, NEURON), P(None, NEURON), (neuron, neuron, neuron), history)
        specs += (None if self.meeting is None else neuron,)
        sources = (self.present.value, self.rank.value, self.pointers.value)
        words, self.outbox.value, new = self._island(island, specs, (neuron, P(None, NEURON), history))(
            step, tuple(spikes), self.outbox.value, self.events.value, sources, self._history(),
            None if self.meeting is None else self.meeting.value,
        )  # fmt: skip
        self.ring.value, self.marks.value, self.counters.value = new
        for plastic in self.plastic.values():
            plastic.record(step, self.bits_of(words))
        return words

    def bits_of(self, words: jax.Array) -> jax.Array:
        """(devices * slots / 32,) of (devices * words,): the bits alone."""
        if not self.counted:
            return words
        return self._island(lambda w: w[: self.bit_words], P(NEURON), P(NEURON))(words)

    def _island(self, f: Any, in_specs: Any, out_specs: Any) -> Any:
        return jax.shard_map(f, mesh=self.mesh, in_specs=in_specs, out_specs=out_specs, check_vma=False)

    def _history(self) -> tuple[jax.Array, jax.Array, jax.Array]:
        return self.ring.value, self.marks.value, self.counters.value

    # ---- on the host, between chunks ----

    def overflow(self) -> Any:
        """None, or, if a buffer was too small, what makes room: to be called on the state before it happened."""
        counters = self._local_counters()
        small, *wanted = self.processes.largest(
            [int(counters[:, k].max()) for k in (in_flight.OVERFLOW, in_flight.LIVE_MAX, in_flight.DUE_MAX)]
        )
        # Only those that were too small grow; asked now, because the flags go back with the state.
        growing: list[Callable[[], None]] = [partial(self.grow, *wanted)] if small else []
        for plastic in self.plastic.values():
            growing += plastic.overflow()

        def grow() -> None:
            for make_room in growing:
                make_room()

        return grow if growing else None

    def grow(self, wanted: int, due: int) -> None:
        """More room, with the spikes in flight kept: call on the state before the overflow.

        Args:
            wanted: spikes that were alive at once on one device; due: runs that were due at once.
        """
        if self.due_capacity is not None and due > self.due_capacity.runs:
            self.due_capacity = larger_due_capacity(self.due_capacity, due)
        devices, mesh = len(self.local), self.mesh
        capacity = self.ring.value.shape[0] // mesh.size
        self.exchange = self.exchange.grown()
        if wanted <= capacity:
            return
        larger = 2 * wanted
        ring, marks, counters = (part.copy() for part in (*self._local_history(), self._local_counters()))
        moved = np.zeros((devices, larger), dtype=np.uint32)
        for d in range(devices):
            # The oldest live spike goes first; ages follow from the starts, counted back from the head.
            head, live = int(counters[d, in_flight.HEAD]), int(marks[d, :, 1].sum())
            moved[d, :live] = ring[d, (head - live + np.arange(live)) % capacity]
            marks[d, :, 0] = np.where(marks[d, :, 1] > 0, (marks[d, :, 0].astype(np.int64) - (head - live)) % capacity, live)
            counters[d, in_flight.HEAD] = live
        self.ring.reset_value(from_blocks(mesh, list(moved)))
        self.marks.value = from_blocks(mesh, list(marks))
        self.counters.value = from_blocks(mesh, list(counters.reshape(devices, -1)))

    def delivered(self) -> int:
        """Synaptic events delivered since the start, on the devices of this process."""
        return in_flight.count64(self._local_counters(), in_flight.DELIVERED)

    def exchanged_until(self, step: int) -> int:
        """Spikes of earlier steps have reached the histories when `step` is about to begin."""
        return step - step % self.interval

    def unsent(self, step: int) -> int:
        """Synaptic events of the spikes in this process's outbox, when an interval is still open before `step`."""
        blocks = np.split(local_part(self.outbox.value, axis=1), len(self.local), axis=1)
        total = 0
        for device, block in zip(self.local, blocks, strict=True):
            for n in range(self.exchanged_until(step), step):
                words, per_device = block[n % self.interval], self.layout.slots_per_device
                within = flight.sources_of(np.ascontiguousarray(words[: per_device // 32]))
                number = np.ones(len(within), np.int64)
                for c in (c for c in self.counted if not c.binary):
                    mine = np.flatnonzero((within >= c.slot) & (within < c.slot + c.count))
                    number[mine] = words[c.word + within[mine] - c.slot]
                total += self.synapses_of(np.repeat(device * per_device + within, number))
        return total

    def in_flight(self, step: int) -> int:
        """Synaptic events in the histories of this process's devices that are due at `step` or later."""
        devices, nd = len(self.local), self.num_delays
        ring, marks = self._local_history()
        tables = [local_part(t.pointers.value).reshape(devices, -1) for t in (self, *self.plastic.values())]
        total = 0
        last = self.exchanged_until(step)
        emitted = np.arange(max(0, last - self.slots), last)
        passed = np.clip(step - emitted - self.min_delay, 0, nd)
        for d in range(devices):
            start, count = marks[d, emitted % self.slots].T.astype(np.int64)
            ended = np.cumsum(count)
            place = np.repeat(start - ended + count, count) + np.arange(count.sum())
            rows = (ring[d, place % ring.shape[1]] & ~in_flight.DOWN).astype(np.int64)
            begin = rows * nd + np.repeat(passed, count)
            for pointers in tables:
                total += int((pointers[d, (rows + 1) * nd].astype(np.int64) - pointers[d, begin]).sum())
        return total

    def plastic_synapses(self, family: str, device: int, synapse: np.ndarray) -> tuple[np.ndarray, ...]:
        """Source slot, delay [steps], global id of the target, kind and place of some synapses (n,) of a family, of one of
        this process's devices, given by their numbers on it."""
        sources = flight.sources_of(np.split(local_part(self.present.value), len(self.local))[device])
        row, delay, target, kind, place = self.plastic[family].properties(device, synapse)
        return sources[row], delay, target, kind, place

    # ---- checkpoints ----

    def portable(self, read: Callable[[State], np.ndarray], step: int) -> dict[str, np.ndarray]:
        """The spikes in flight when `step` is about to begin, as far as this process's devices know them, and their totals,
        without any placement.

        Args:
            read: this process's part of the value of a State at that moment.

        Returns:
            spike_ids (n,) uint32, sorted by (step, id), spike_numbers (n,) uint32 where some model is counted, spike_counts
            (slots + interval,) int64 per step, totals (2,) int64 of delivered and scheduled events.
        """
        sent = self.exchanged_until(step)
        present, ring, marks = (np.split(read(s), len(self.local)) for s in (self.present, self.ring, self.marks))
        histories = [(flight.sources_of(p), r, m) for p, r, m in zip(present, ring, marks, strict=True)]
        outboxes = list(zip(self.local.tolist(), np.split(read(self.outbox), len(self.local), axis=1), strict=True))
        steps, ids, number = flight.spikes_in_flight(self.layout, histories, outboxes, self.counted, step=step, sent=sent)
        counters = read(self.counters).reshape(len(self.local), in_flight.NUM_COUNTERS)
        return {
            "spike_ids": ids.astype(np.uint32),
            **({"spike_numbers": number.astype(np.uint32)} if self.counted else {}),
            "spike_counts": np.bincount(steps - (sent - self.slots), minlength=self.slots + self.interval),
            "totals": np.array([in_flight.count64(counters, k) for k in (in_flight.DELIVERED, in_flight.SCHEDULED)]),
        }

    def restoring(self, step: int) -> RestoringFlight:
        """What takes in the parts of the processes, and then puts the network there."""
        return RestoringFlight(self, step)

    def restore_flight(self, spikes: np.ndarray, totals: np.ndarray, step: int) -> None:
        """Back to `step`, with these spikes in flight (n, 3): step, id and number, sorted; and totals of all processes."""
        steps, ids, number = spikes.T
        layout, sent = self.layout, self.exchanged_until(step)
        present = np.split(local_part(self.present.value), len(self.local))
        events = np.split(local_part(self.events.value, axis=1), len(self.local), axis=1)
        found = [
            flight.history_of(layout, flight.sources_of(p), e, steps, ids, number, self.counted, sent=sent, reach=self.slots)
            for p, e in zip(present, events, strict=True)
        ]
        (live,) = self.processes.largest([max(len(rows) for rows, _ in found)])
        capacity = len(self.ring.value) // layout.num_devices
        ring = np.zeros((len(found), capacity if live <= capacity else 2 * live), dtype=np.uint32)
        for block, (rows, _) in zip(ring, found, strict=True):
            block[: len(rows)] = rows
        # The first device keeps the totals of all.
        counters = [
            flight.counters_of(len(rows), totals if device == 0 else None)
            for (rows, _), device in zip(found, self.local, strict=True)
        ]
        self.ring.reset_value(from_blocks(self.mesh, list(ring)))
        self.marks.reset_value(from_blocks(self.mesh, [marks for _, marks in found]))
        self.counters.reset_value(from_blocks(self.mesh, counters))
        outbox = flight.outbox_of(layout, steps, ids, number, self.outbox.value.shape, self.counted, sent=sent)
        self.outbox.reset_value(spread(outbox, sharded(self.mesh, None, NEURON)))

    def _local_counters(self) -> np.ndarray:
        return local_part(self.counters.value).reshape(len(self.local), in_flight.NUM_COUNTERS)

    def _local_history(self) -> tuple[np.ndarray, np.ndarray]:
        """(devices, capacity) ring and (devices, slots, 2) marks of this process's devices."""
        devices = len(self.local)
        return local_part(self.ring.value).reshape(devices, -1), local_part(self.marks.value).reshape(devices, -1, 2)
