"""A network in motion: what is collected from it between chunks, its checkpoints, and the summary."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from typing import Any, final

import jax
import numpy as np

from dist_sim.core import State
from dist_sim.network.portable import split_part
from dist_sim.partition.layout import NOWHERE
from dist_sim.partition.processes import processes_of
from dist_sim.run.checkpoint import Saved
from dist_sim.run.directory import RunDirectory
from dist_sim.run.engine import Engine
from dist_sim.run.loop import ChunkedLoop
from dist_sim.run.progress import in_phase
from dist_sim.run.recording import Recording
from dist_sim.run.statistics import Population
from dist_sim.run.summary import build_summary, peak_rss_bytes
from dist_sim.simulator.assembly import Description, assemble
from dist_sim.simulator.finite import Finite
from dist_sim.simulator.identity import identity, surroundings
from dist_sim.simulator.nodes import Node
from dist_sim.simulator.recorders import ALWAYS, Recorders, recorded_in
from dist_sim.simulator.result import SimulationResult
from dist_sim.simulator.samples import Samples


@final
class Simulation(Engine):
    """Builds the network of a description and advances it."""

    @in_phase("build")
    def __init__(self, description: Description, name: str | None = None):
        super().__init__(description.dt, processes_of(description.mesh), name)
        self.description = description
        if self.session is not None and self.session.foresee is not None:
            self.session.foresee(description)
        self.check_same()  # before they build: what is of other shapes would hang
        begin = time.perf_counter()
        with self.environment():
            self.network = assemble(description, self.phases)
            self.loop = ChunkedLoop(self.network, self.network.chunk, overflow=self.network.projection.overflow)
            with self.phases.phase("compile"):
                self.loop.compile(0)
                self.finite = Finite(self.network, description)
                self.finite.check(0, 0)  # compiled here, not in the first chunk
            self._initial = {s: s.value for s in self.loop.written}
        self.build_s = time.perf_counter() - begin
        projection, layout = self.network.projection, self.network.layout
        self._num_local = max(1, sum(int((layout.owner == device).sum()) for device in projection.local))
        self._recorded_in, self._recorders = recorded_in(description), Recorders.of(description)
        self.emitted = 0

    def restart(self) -> None:
        """Back to time 0 and the initial states."""
        with self.environment():
            for state, value in self._initial.items():
                state.reset_value(value)
        self._begin()
        self.emitted = 0

    @in_phase("simulate")
    def advance(self, steps: int) -> SimulationResult:
        """Runs a number of steps and returns everything since time 0."""
        self.run(steps)
        with self.environment():
            summary = self._summary()
        self.finish(summary)
        return SimulationResult(
            self._recorders, self.recording.so_far, self._generated(), self.samples.so_far(self.step),
            self.samples.weights(self.step), self.step, summary,
        )  # fmt: skip

    # ---- between chunks ----

    @in_phase("record")
    def collect(self, first: int, last: int) -> float:
        """Takes the spikes of a chunk from this process's devices, and the samples."""
        self.finite.check(first, last)
        network, layout = self.network, self.network.layout
        steps, slots, number = network.spikes(first, last)
        ids = layout.ids_of(slots)
        assert not (ids == NOWHERE).any(), "a padded neuron has spiked"
        self.emitted += network.projection.synapses_of(np.repeat(slots, network.sent(slots, number)))
        steps, ids = np.repeat(steps, number), np.repeat(ids, number)
        spikes, generated = len(ids), self._generated(first, last)
        self.samples.collect(first, last, *(np.concatenate(both) for both in zip((steps, ids), generated, strict=True)))
        chosen = np.zeros(len(ids), dtype=bool)
        for (begin, end), flags in self._recorded_in.items():
            chosen |= flags[ids] & (steps >= begin) & (steps < end)
        steps, ids = steps[chosen], ids[chosen]
        order = np.lexsort((ids, steps))
        self.recording.append(first, last, steps[order], ids[order])
        return spikes / ((last - first) * self.dt * 1e-3) / self._num_local

    # ---- checkpoints ----

    def identity(self) -> Mapping[str, str]:
        return identity(self.description)

    def surroundings(self) -> Mapping[str, str]:
        return surroundings(self.description)

    def begin_recording(self, directory: RunDirectory | None, begin: int) -> None:
        self.samples = Samples(self.description, self.network, directory, begin)
        self.recording = Recording(directory, self.description.dt, processes=self.processes, begin=begin)

    def saved_states(self) -> Iterable[State]:
        return self.network.states().values()

    def portable(self, values: Mapping[State, Any], step: int) -> Mapping[str, np.ndarray]:
        return self.network.portable(lambda state: split_part(values[state]), step)

    def facts(self) -> Mapping[str, Any]:
        emitted = int(self.processes.total(np.array([self.emitted], dtype=np.int64))[0])
        return {"emitted": emitted, "devices": self.description.mesh.size, "samples": self.samples.counts()}

    def restore(self, saved: Saved) -> None:
        self.samples.check(saved.facts["samples"], saved.step)
        self.network.restore_portable(saved.parts(), saved.step)
        # One process keeps the count of all before.
        self.emitted = 0 if self.processes.index else saved.facts["emitted"]

    def sync(self) -> None:
        self.samples.sync()

    # ---- results ----

    @property
    def num_neurons(self) -> int:
        return sum(n.size for n in self.description.nodes if n.is_neuron)

    def populations(self) -> list[Population]:
        nodes = [n for n in self.description.nodes if n.is_neuron]
        some = [n for n in nodes if any(f[n.first_id : n.first_id + n.size].any() for f in self._recorded_in.values())]
        return [(n.name, n.first_id, n.size) for n in some]

    def _whole_populations(self) -> list[Node]:
        """Neuron populations of which all spikes are recorded."""
        always = self._recorded_in[ALWAYS]
        return [n for n in self.description.nodes if n.is_neuron and always[n.first_id : n.first_id + n.size].all()]

    def _summary(self) -> dict[str, Any]:
        d, projection = self.description, self.network.projection
        events = self.ends[str(self.step)] = self._events()
        return build_summary(
            model_time_ms=self.step * d.dt,
            wall_s=self.wall_s,
            build_s=self.build_s,
            neurons=self.num_neurons,
            synapses=projection.num_synapses,
            synapse_bytes=projection.table_bytes,
            populations=[(n.name, n.first_id, n.size) for n in self._whole_populations()],
            recording=self.recording,
            events=events,
            phases=self.phases.seconds,
            devices=d.mesh.size,
            exchange=d.exchange.name,
            backend=d.backend,
            precision=d.precision,
            peak_rss=[int(peak) for peak in self.processes.gather(np.array([peak_rss_bytes()])).reshape(-1)],
        )

    def _events(self) -> tuple[int, int, int]:
        """Synaptic events of all spikes so far, those that were delivered, and those that were not yet."""
        if self._ahead is not None:
            emitted, delivered, waiting = self.ends[str(self.step)]
            return emitted, delivered, waiting
        projection, slot = self.network.projection, self.network.layout.slot
        # What each process counts for itself; spikes of generators are known to all, and counted once.
        counted = [self.emitted, projection.delivered(), projection.in_flight(self.step) + projection.unsent(self.step)]
        emitted, delivered, waiting = (int(n) for n in self.processes.total(np.array(counted, dtype=np.int64)))
        emitted += projection.synapses_of(slot[self._generated()[1]])
        waiting += projection.synapses_of(slot[self._generated(projection.exchanged_until(self.step))[1]])
        return emitted, delivered, waiting

    def _generated(self, first: int = 0, last: int | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Steps and ids of the spikes of generators with global ids in [first, last), by default until now."""
        last = self.step if last is None else last
        steps, ids = self.description.events
        chosen = (steps >= first) & (steps < last)
        return steps[chosen], ids[chosen]

    def environment(self) -> AbstractContextManager[Any]:
        return jax.enable_x64(self.description.precision == 64)
