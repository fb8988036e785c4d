"""What advances every program: compiled chunks, and between them the host's work: recording, checkpoints, stopping."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from typing import Any

import numpy as np

from dist_sim.core import State
from dist_sim.errors import OutputError
from dist_sim.partition.processes import Processes, refuse_forked
from dist_sim.run.checkpoint import Checkpoints, Saved
from dist_sim.run.directory import RunDirectory
from dist_sim.run.loop import ChunkedLoop
from dist_sim.run.progress import Phases, Progress, in_phase
from dist_sim.run.provenance import versions
from dist_sim.run.recording import Recording
from dist_sim.run.safe_point import SafePoint
from dist_sim.run.session import current_session, is_labelled, tell
from dist_sim.run.statistics import Population

REMEDY = "Every process runs the script: let it make the same in each, from seeds that it is given (ds.param, --set seed=1)."


class Engine(ABC):
    """Advances a program of compiled steps: a network of the Simulator, or a step of Modules.

    What a program is, its abstract methods say.

    Args:
        dt: the step [ms]; processes: those of the run; name: in results, None for a number.

    Attributes:
        loop: the compiled steps, which the program makes.
        step: the next one; wall_s: seconds in the loop so far.
        recording: the spikes so far.
        ends: the steps at which calls have ended, as text, and what the program wants to know of each again.
    """

    loop: ChunkedLoop

    def __init__(self, dt: float, processes: Processes, name: str | None = None) -> None:
        refuse_forked()
        self.dt, self.processes, self._given_name = dt, processes, name
        self.session = current_session()
        self._shown = None if processes.index == 0 else False  # one process speaks
        self.phases = Phases(show=self._shown)
        self.recording = Recording(None, dt)
        self._begin()

    # ---- the program ----

    @abstractmethod
    def identity(self) -> Mapping[str, str]:
        """What must be the same for a checkpoint to be gone on from."""

    @abstractmethod
    def surroundings(self) -> Mapping[str, str]:
        """What else must be the same on all processes, and may be another when a run goes on from a checkpoint."""

    @abstractmethod
    def begin_recording(self, directory: RunDirectory | None, begin: int) -> None:
        """Makes `recording`, and whatever else is taken down, from step `begin` on."""

    @abstractmethod
    def populations(self) -> list[Population]:
        """Those of which spikes are recorded."""

    @abstractmethod
    def collect(self, first: int, last: int) -> float | None:
        """Takes down what the chunk [first, last) has left, and refuses NaN; the mean rate of its neurons [Hz] or None."""

    @abstractmethod
    def sync(self) -> None:
        """Returns when all that was taken down is on the disk."""

    @abstractmethod
    def facts(self) -> Mapping[str, Any]:
        """What a checkpoint holds besides arrays: all processes call it together."""

    @abstractmethod
    def saved_states(self) -> Iterable[State]:
        """The States that a checkpoint holds."""

    @abstractmethod
    def portable(self, values: Mapping[State, Any], step: int) -> Mapping[str, np.ndarray]:
        """Values of the States before `step`, without placement: this process's. Called in another thread."""

    @abstractmethod
    def restore(self, saved: Saved) -> None:
        """The inverse of `portable` and `facts`, whatever devices there were."""

    def environment(self) -> AbstractContextManager[Any]:
        """Precision, and whatever else the program is computed in."""
        return nullcontext()

    def check_same(self, lines: Mapping[str, str] | None = None) -> None:
        """To be called before the first step: refuses processes whose scripts have made different programs.

        Args:
            lines: what is compared, by default all that the program is. Errors: those of `Processes.check_same`.
        """
        if self.processes.count > 1:
            self.processes.check_same({**self.identity(), **self.surroundings()} if lines is None else lines, REMEDY)

    # ---- the loop ----

    def _begin(self) -> None:
        self._fresh = True
        self._ahead: Saved | None = None
        self.checkpoints: Checkpoints | None = None
        self._point = SafePoint(self.session, self.processes, None, self.tell)
        self.step, self.wall_s = 0, 0.0
        self.ends: dict[str, Any] = {}

    def run(self, steps: int) -> None:
        """Runs a number of steps."""
        refuse_forked()
        first, last = self.step, self.step + steps
        self.check_same({"steps from here": f"{steps} of {self.dt:g} ms"})
        directory = self.session.directory if self.session is not None else None
        with self.environment():
            if self._fresh:
                self._open(last)
            self._catch_up(last)
        done = (self.step - first) * self.dt
        with self.environment(), Progress(steps * self.dt, done_ms=done, directory=directory, show=self._shown) as progress:
            begin, before = time.perf_counter(), self.wall_s
            with self._saving():
                for chunk_first, chunk_last in self.loop.run(self.step, last):
                    rate = self.collect(chunk_first, chunk_last)
                    self.step, self.wall_s = chunk_last, before + time.perf_counter() - begin
                    self._point.visit(self.save, f"{self.step * self.dt:g} ms")
                    saved = self.checkpoints.last if self.checkpoints is not None else None
                    progress.update((chunk_last - first) * self.dt, rate=rate, checkpoint=saved)
            self.wall_s = before + time.perf_counter() - begin
        self.phases.seconds["simulate"] = self.wall_s

    def finish(self, summary: Mapping[str, Any]) -> None:
        """After `run`: the results are as the summary says."""
        if self.session is not None:
            self.session.finish(self._name, summary, populations=self.populations(), recording=self.recording)
        else:
            self.recording.close()

    # ---- checkpoints ----

    def _open(self, last: int) -> None:
        """Begins to record, in a run that is resumed after what was recorded before its newest sound checkpoint."""
        self._fresh, saved = False, None
        directory = self.session.directory if self.session is not None else None
        if self.session is not None and directory is not None and self.session.checkpoints is not None:
            lines = {**self.identity(), **self.session.identity()}
            folder = directory.next_checkpoints_folder()
            self.checkpoints = Checkpoints(folder, self.session.checkpoints, lines, self.dt, self.tell, self.processes)
            self._point = SafePoint(self.session, self.processes, self.checkpoints, self.tell)
            if directory.resumed:
                spikes = directory.next_spikes_folder()
                saved = self._point.newest(last, allow_changed=self.session.allow_changed, spikes=spikes)
                at = f"{saved.step * self.dt:g} ms" if saved is not None else "0 ms: there is no checkpoint"
                if saved is not None or not is_labelled():  # most points of a sweep begin at 0
                    self.tell(f"resumed at {at}")
        self.begin_recording(directory, saved.step if saved is not None else 0)
        if self.session is not None:
            self._name = self.session.enroll(self._given_name)
        if directory is not None and self.recording.folder is not None:
            known = {"name": self._name, "populations": self.populations()}
            directory.write_json(f"{self.recording.folder.name}.json", known)
        self._ahead = saved

    def _catch_up(self, last: int) -> None:
        """In a run that is resumed: goes to the checkpoint, or to `last` if an earlier call of the script had ended there."""
        if (saved := self._ahead) is None:
            return
        self.ends, reached = saved.facts["ends"], min(saved.step, last)
        self.recording.replay(reached)
        self.step = reached
        if saved.step <= last:
            self._ahead = None
            self._restore(saved)

    def _restore(self, saved: Saved) -> None:
        if saved.facts["digest"] != self.recording.digest:
            raise OutputError(
                f"{self.recording.folder}: the spikes before step {saved.step} are not those that were recorded when the "
                "checkpoint was taken: files were changed or lost. Bring them back from a copy."
            )
        if saved.facts["versions"] != versions():
            self.tell(f"saved with {saved.facts['versions']}, goes on with {versions()}")
        self.wall_s = saved.facts["wall_s"]
        self.restore(saved)

    def save(self, checkpoints: Checkpoints) -> None:
        """Begins to save the state before the next step."""
        begin = time.perf_counter()
        # Values that are kept here stay as they are: the next chunk writes into other memory.
        values, step = {state: state.value for state in self.saved_states()}, self.step
        self.recording.sync()
        self.sync()
        facts = {
            **self.facts(), "wall_s": self.wall_s, "digest": self.recording.digest, "versions": versions(),
            "ends": dict(self.ends),
        }  # fmt: skip

        def collect() -> tuple[Mapping[str, np.ndarray], dict[str, Any]]:
            return self.portable(values, step), facts

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

    def tell(self, text: str) -> None:
        """A line for the user, from one process."""
        tell(text, session=self.session, process=self.processes.index)
