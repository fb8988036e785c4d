"""A network in motion: compiled chunks, recording, and the summary."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Any, final

import jax
import numpy as np

from dist_sim.errors import OutputError
from dist_sim.network.portable import split_part
from dist_sim.partition.layout import NOWHERE
from dist_sim.partition.processes import processes_of
from dist_sim.run.checkpoint import Checkpoints, Saved
from dist_sim.run.loop import ChunkedLoop
from dist_sim.run.progress import Phases, Progress, in_phase
from dist_sim.run.provenance import versions
from dist_sim.run.recording import Recording
from dist_sim.run.session import current_session
from dist_sim.run.stop import Stopped
from dist_sim.run.summary import build_summary, peak_rss_bytes
from dist_sim.simulator.assembly import Description, assemble
from dist_sim.simulator.finite import check_finite
from dist_sim.simulator.identity import identity
from dist_sim.simulator.nodes import Node
from dist_sim.simulator.result import ALWAYS, SimulationResult, recorded_in
from dist_sim.simulator.samples import Samples


@final
class Simulation:
    """Builds the network of a description and advances it."""

    @in_phase("build")
    def __init__(self, description: Description):
        self.description = description
        self.session = current_session()
        self.processes = processes_of(description.mesh)
        self._shown = None if self.processes.index == 0 else False  # one process speaks
        self.phases = Phases(show=self._shown)
        begin = time.perf_counter()
        with self._precision():
            self.network = assemble(description, self.phases)
            self.loop = ChunkedLoop(self.network, self.network.chunk, overflow=self.network.projection.overflow)
            with self.phases.phase("compile"):
                self.loop.compile(0)
                check_finite(self.network, description, 0, 0)  # compiled here, not in the first chunk
            self._initial = {s: s.value for s in self.loop.written}
        self.build_s = time.perf_counter() - begin
        projection, layout = self.network.projection, self.network.layout
        self._num_local = max(1, sum(int((layout.owner == device).sum()) for device in projection.local))
        self._recorded_in = recorded_in(description)
        self._begin()

    def restart(self) -> None:
        """Back to time 0 and the initial states."""
        with self._precision():
            for state, value in self._initial.items():
                state.reset_value(value)
        self._begin()

    @in_phase("simulate")
    def advance(self, steps: int) -> SimulationResult:
        """Runs a number of steps and returns everything since time 0."""
        d = self.description
        first, last = self.step, self.step + steps
        directory = self.session.directory if self.session is not None else None
        with self._precision():
            if self._fresh:
                self._open(last)
            self._catch_up(last)
        done = (self.step - first) * d.dt
        with self._precision(), Progress(steps * d.dt, done_ms=done, directory=directory, show=self._shown) as progress:
            begin, before = time.perf_counter(), self.wall_s
            with self._saving():
                for chunk_first, chunk_last in self.loop.run(self.step, last):
                    seen = len(self._spike_counts)
                    check_finite(self.network, d, chunk_first, chunk_last)
                    self._collect(chunk_first, chunk_last)
                    self.step, self.wall_s = chunk_last, before + time.perf_counter() - begin
                    self._checkpoint()
                    rate = sum(self._spike_counts[seen:]) / ((chunk_last - chunk_first) * d.dt * 1e-3) / self._num_local
                    saved = self.checkpoints.last if self.checkpoints is not None else None
                    progress.update((chunk_last - first) * d.dt, rate=rate, checkpoint=saved)
            self.wall_s = before + time.perf_counter() - begin
        self.phases.seconds["simulate"] = self.wall_s
        with self._precision():
            summary = self._summary()
        if self.session is not None:
            self.session.finish(summary, populations=self._recorded(), recording=self.recording)
        else:
            self.recording.close()
        return SimulationResult(
            self.recording, d.recorded, self._generated(), self.samples.traces(self.step),
            self.samples.weights(self.step), d.num_ids, d.dt, summary,
        )  # fmt: skip

    # ---- between chunks ----

    def _begin(self) -> None:
        self._fresh = True
        self._ahead: Saved | None = None
        self._ends: dict[str, list[int]] = {}
        self.checkpoints: Checkpoints | None = None
        self.step, self.wall_s, self.emitted = 0, 0.0, 0
        self._spike_counts: list[int] = []

    @in_phase("record")
    def _collect(self, first: int, last: int) -> None:
        """Takes the spikes of a chunk from this process's devices, and the samples."""
        network, layout = self.network, self.network.layout
        steps, slots, number = network.spikes(first, last)
        ids = layout.ids_of(slots)
        assert not (ids == NOWHERE).any(), "a padded neuron has spiked"
        self.emitted += network.projection.synapses_of(np.repeat(slots, network.sent(slots, number)))
        steps, ids = np.repeat(steps, number), np.repeat(ids, number)
        self._spike_counts.append(len(ids))
        generated = self._generated(first, last)
        self.samples.collect(first, last, *(np.concatenate(both) for both in zip((steps, ids), generated, strict=True)))
        chosen = np.zeros(len(ids), dtype=bool)
        for (begin, end), flags in self._recorded_in.items():
            chosen |= flags[ids] & (steps >= begin) & (steps < end)
        steps, ids = steps[chosen], ids[chosen]
        order = np.lexsort((ids, steps))
        self.recording.append(first, last, steps[order], ids[order])

    # ---- checkpoints ----

    def _open(self, last: int) -> None:
        """Begins to record, in a run that is resumed after what was recorded before its newest sound checkpoint."""
        self._fresh, saved = False, None
        directory = self.session.directory if self.session is not None else None
        if self.session is not None and directory is not None and self.session.checkpoints is not None:
            lines = identity(self.description) | self.session.identity()
            folder = directory.next_checkpoints_folder()
            self.checkpoints = Checkpoints(
                folder, self.session.checkpoints, lines, self.description.dt, self._tell, self.processes
            )
            if directory.resumed:
                saved = self._newest(self.checkpoints, last, self.session.allow_changed)
                at = f"{saved.step * self.description.dt:g} ms" if saved is not None else "0 ms: there is no checkpoint"
                self._tell(f"resumed at {at}")
        begin = saved.step if saved is not None else 0
        self.samples = Samples(self.description, self.network, directory, begin)
        self.recording = Recording(directory, self.description.dt, processes=self.processes, begin=begin)
        if directory is not None and self.recording.folder is not None:
            directory.write_json(f"{self.recording.folder.name}.json", {"populations": self._recorded()})
        self._ahead = saved

    def _catch_up(self, last: int) -> None:
        """In a run that is resumed: goes to the checkpoint, or to `last` if an earlier call of the script had ended there."""
        if (saved := self._ahead) is None:
            return
        self._ends, reached = saved.facts["ends"], min(saved.step, last)
        self.recording.replay(reached)
        self.step = reached
        if saved.step <= last:
            self._ahead = None
            self._restore(saved)

    def _newest(self, checkpoints: Checkpoints, last: int, allow_changed: bool) -> Saved | None:
        """The newest sound checkpoint: process 0 looks for it and puts damaged ones aside, then the others read the same."""
        saved = None
        if self.processes.index == 0:
            saved = checkpoints.newest(2**31, allow_changed=allow_changed)
            if saved is not None and saved.step > last and str(last) not in saved.facts["ends"]:
                saved = checkpoints.newest(last, allow_changed=allow_changed)
        step = int(self.processes.first("-1" if saved is None else str(saved.step)))
        if self.processes.index and step >= 0:
            saved = checkpoints.at(step)
        return saved

    def _restore(self, saved: Saved) -> None:
        if saved.facts["digest"] != self.recording.digest:
            raise OutputError(
                f"{self.recording.folder}: the spikes before step {saved.step} are not those that were recorded when the "
                "checkpoint was taken: files were changed or lost. Bring them back from a copy."
            )
        self.samples.check(saved.facts["samples"], saved.step)
        if saved.facts["versions"] != versions():
            self._tell(f"saved with {saved.facts['versions']}, goes on with {versions()}")
        self.network.restore_portable(saved.parts(), saved.step)
        self.wall_s, self.emitted = saved.facts["wall_s"], saved.facts["emitted"]
        if self.processes.index:
            self.emitted = 0  # one process keeps the count of all before

    @in_phase("checkpoint")
    def _checkpoint(self) -> None:
        """Between chunks: save if it is time to, and end if the run has been asked to."""
        if self.session is None or self.session.stop is None:
            return
        margin = 2 * self.checkpoints.save_seconds if self.checkpoints is not None else 0.0
        reason = self.session.stop.reason(margin)
        due = self.checkpoints is not None and self.processes.index == 0 and self.checkpoints.due()
        # All stop, and save, between the same chunks: when one is asked to stop, and when process 0 finds it is time.
        stopping, saving = self.processes.largest([int(reason is not None), int(due)])
        if stopping:
            reason = reason or "another process was asked to stop"
            if self.checkpoints is not None:
                self._save(self.checkpoints)
                self.checkpoints.wait()
                self._tell(f"{reason}: saved at {self.step * self.description.dt:g} ms, to be resumed")
            self.processes.largest([0])  # nobody leaves before the checkpoint is on the disk
            raise Stopped(reason)
        if self.checkpoints is not None and saving:
            self._save(self.checkpoints)

    def _save(self, checkpoints: Checkpoints) -> None:
        begin = time.perf_counter()
        # Values that are held here stay as they are: the next chunk writes into other memory.
        values = {state: state.value for state in self.network.states().values()}
        step, network = self.step, self.network
        self.recording.sync()
        self.samples.sync()
        emitted = int(self.processes.total(np.array([self.emitted], dtype=np.int64))[0])
        facts = {
            "emitted": emitted, "wall_s": self.wall_s, "digest": self.recording.digest, "versions": versions(),
            "devices": self.description.mesh.size, "ends": dict(self._ends), "samples": self.samples.counts(),
        }  # fmt: skip

        def collect() -> tuple[dict[str, np.ndarray], dict[str, Any]]:
            return network.portable(lambda state: split_part(values[state]), step), facts

        checkpoints.save(step, collect)
        self.phases.seconds["checkpoint"] = self.phases.seconds.get("checkpoint", 0.0) + time.perf_counter() - begin

    @contextmanager
    def _saving(self) -> Iterator[None]:
        """Nothing is being saved any more when this context has ended."""
        try:
            yield
        except BaseException:
            if self.checkpoints is not None:
                with suppress(OutputError):
                    self.checkpoints.wait()
            raise
        if self.checkpoints is not None:
            with in_phase("checkpoint"):
                self.checkpoints.wait()

    def _tell(self, text: str) -> None:
        if self.processes.index:
            return
        print(f"dist-sim: {text}", file=sys.stderr, flush=True)
        if self.session is not None and self.session.directory is not None:
            self.session.directory.log(text)

    # ---- results ----

    @property
    def num_neurons(self) -> int:
        return sum(n.size for n in self.description.nodes if n.is_neuron)

    def _recorded(self) -> list[tuple[str, int, int]]:
        """Name, first id and size of the neuron populations of which spikes are recorded."""
        nodes = [n for n in self.description.nodes if n.is_neuron]
        some = [n for n in nodes if any(f[n.first_id : n.first_id + n.size].any() for f in self._recorded_in.values())]
        return [(n.name, n.first_id, n.size) for n in some]

    def _populations(self) -> list[Node]:
        """Neuron populations of which all spikes are recorded."""
        always = self._recorded_in[ALWAYS]
        return [n for n in self.description.nodes if n.is_neuron and always[n.first_id : n.first_id + n.size].all()]

    def _summary(self) -> dict[str, Any]:
        d, projection = self.description, self.network.projection
        emitted, delivered, waiting = self._ends[str(self.step)] = self._events()
        return build_summary(
            model_time_ms=self.step * d.dt,
            wall_s=self.wall_s,
            build_s=self.build_s,
            neurons=self.num_neurons,
            synapses=projection.num_synapses,
            synapse_bytes=projection.table_bytes,
            populations=[(n.name, n.first_id, n.size) for n in self._populations()],
            recording=self.recording,
            emitted_events=emitted,
            delivered_events=delivered,
            in_flight_events=waiting,
            phases=self.phases.seconds,
            devices=d.mesh.size,
            exchange=d.exchange.name,
            backend=d.backend,
            precision=d.precision,
            peak_rss=[int(peak) for peak in self.processes.gather(np.array([peak_rss_bytes()])).reshape(-1)],
        )

    def _events(self) -> list[int]:
        """Synaptic events of all spikes so far, those that were delivered, and those that were not yet."""
        if self._ahead is not None:
            return self._ends[str(self.step)]
        projection, slot = self.network.projection, self.network.layout.slot
        # What each process counts for itself; spikes of generators are known to all, and counted once.
        counted = [self.emitted, projection.delivered(), projection.in_flight(self.step) + projection.unsent(self.step)]
        emitted, delivered, waiting = (int(n) for n in self.processes.total(np.array(counted, dtype=np.int64)))
        emitted += projection.synapses_of(slot[self._generated()[1]])
        waiting += projection.synapses_of(slot[self._generated(projection.exchanged_until(self.step))[1]])
        return [emitted, delivered, waiting]

    def _generated(self, first: int = 0, last: int | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Steps and ids of the spikes of generators with global ids in [first, last), by default until now."""
        last = self.step if last is None else last
        steps, ids = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
        for node, trains in self.description.trains.items():
            for k, train in enumerate(trains):
                past = train[(train >= first) & (train < last)]
                steps.append(past)
                ids.append(np.full(len(past), node.first_id + k))
        return np.concatenate(steps), np.concatenate(ids)

    def _precision(self) -> AbstractContextManager[Any]:
        return jax.enable_x64(self.description.precision == 64)
