"""Checkpoints of one simulation: when they are taken, written beside the running loop, and found again."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np

from dist_sim.errors import OutputError, ParameterError
from dist_sim.partition.processes import ALONE, Processes
from dist_sim.run.checkpoint_files import (
    begin_checkpoint,
    checkpoint_path,
    checkpoint_steps,
    commit_parts,
    mend_checkpoints,
    read_arrays,
    read_manifest,
    remove_checkpoint,
    write_checkpoint,
    write_part,
)

FIRST_AFTER = 60.0
SHORTEST, LONGEST = 60.0, 3600.0
TIME_UNITS = {"s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
TIME = re.compile(r"(\d+(?:\.\d*)?)\s*(s|min|h|d)?")


@final
@dataclass(frozen=True, kw_only=True)
class CheckpointPolicy:
    """When to take checkpoints, and which to keep.

    Attributes:
        every: seconds of wall time between them; None for the interval that costs least (`best_interval`), inf for none but
            when the run is stopped.
        keep_last: how many of the newest stay.
        keep_every: besides, the first one in every so many ms of model time; None for no others.
        mtbf: mean time between failures [s] that `best_interval` reckons with.
    """

    every: float | None = None
    keep_last: int = 2
    keep_every: float | None = None
    mtbf: float = 24 * 3600.0


def best_interval(save_seconds: float, mtbf: float) -> float:
    """Seconds between checkpoints that lose the least time in all, from 1 minute to 1 hour: sqrt(2 save_time MTBF).

    Source: Young (1974), doi:10.1145/361147.361115; Daly (2006), doi:10.1016/j.future.2004.11.016.
    """
    return min(LONGEST, max(SHORTEST, math.sqrt(2 * save_seconds * mtbf)))


def seconds_of(text: str, option: str) -> float:
    """A time as people write it (`90`, `30s`, `15min`, `1.5h`, `never`) in seconds.

    Raises:
        ParameterError: it is no time.
    """
    match = TIME.fullmatch(text.strip().lower())
    if text.strip().lower() == "never":
        return math.inf
    if match is None:
        raise ParameterError(f"{option} {text}: must be a time, as 30s, 15min or 1.5h, or never.")
    return float(match[1]) * TIME_UNITS[match[2] or "s"]


@final
@dataclass(frozen=True, kw_only=True)
class Saved:
    """A sound checkpoint.

    Attributes:
        step: which; facts: what its manifest says.
        parts: gives the arrays by name that each process has written, one part after the other, so that no process ever holds
            them all. Raises OutputError where they are not those that were saved.
    """

    step: int
    facts: Mapping[str, Any]
    parts: Callable[[], Iterator[Mapping[str, np.ndarray]]]


@final
class Checkpoints:
    """The checkpoints of one simulation.

    A save is written by a thread of its own from values that no longer change; there is one at a time, so that it costs one copy
    of the state at most. Each of several processes writes what its devices have.

    Args:
        folder: where they lie.
        identity: what must be the same for a checkpoint to be gone on from: flat, of strings and numbers.
        dt: the step [ms]; None where steps are items of a loop, which have no time: `keep_every` is then of no use.
        tell: called with a line for the user.
        processes: those of the run. All of them call `save` together.
    """

    def __init__(
        self,
        folder: Path,
        policy: CheckpointPolicy,
        identity: Mapping[str, Any],
        dt: float | None,
        tell: Callable[[str], None],
        processes: Processes = ALONE,
    ):
        self._processes = processes
        self._folder, self._policy, self._identity, self._dt, self._tell = folder, policy, dict(identity), dt, tell
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="checkpoint")
        self._running: Future[None] | None = None
        self._begun = time.monotonic()
        self._interval = FIRST_AFTER if policy.every is None else policy.every
        self.save_seconds = 0.0
        self.last: str | None = None

    # ---- saving ----

    def due(self) -> bool:
        """Whether to save now. Errors of a save that went on beside the loop are raised here.

        Raises:
            OutputError: the last save has failed.
        """
        if self._running is not None and self._running.done():
            self.wait()
        return self._running is None and time.monotonic() - self._begun >= self._interval

    def save(self, step: int, collect: Callable[[], tuple[Mapping[str, np.ndarray], Mapping[str, Any]]]) -> None:
        """Begin to save the state before `step`.

        Args:
            collect: gives arrays and facts; called in another thread, hence from values that do not change any more.

        Raises:
            OutputError: the save before has failed.
        """
        self.wait()
        self._begun = time.monotonic()
        if self._processes.count > 1:
            if self._processes.index == 0:
                begin_checkpoint(self._folder, step)
            self._processes.largest([0])  # nobody writes before there is a folder
        self._running = self._thread.submit(self._write, step, collect)

    def wait(self) -> None:
        """Return when what was begun is on the disk.

        Raises:
            OutputError: it could not be written.
        """
        running, self._running = self._running, None
        if running is not None:
            running.result()

    def _write(self, step: int, collect: Callable[[], tuple[Mapping[str, np.ndarray], Mapping[str, Any]]]) -> None:
        begin = time.monotonic()
        arrays, facts = collect()
        facts = {"identity": self._identity, **facts}
        if self._processes.count == 1:
            write_checkpoint(self._folder, step, arrays, facts)
        else:
            write_part(self._folder, step, self._processes.index, arrays)
            if self._processes.index == 0:
                commit_parts(self._folder, step, self._processes.count, facts)
        first, self.save_seconds = self.save_seconds == 0, time.monotonic() - begin
        self.last = self._at(step)
        if self._processes.index:
            return
        if self._policy.every is None:
            self._interval = best_interval(self.save_seconds, self._policy.mtbf)
            if first:
                self._tell(
                    f"a checkpoint every {self._interval / 60:.1f} min: one takes {self.save_seconds:.2f} s, and a failure in "
                    f"{self._policy.mtbf / 3600:g} h is reckoned with (--checkpoint-every sets another interval)"
                )
        self._prune()

    def _at(self, step: int) -> str:
        return f"item {step}" if self._dt is None else f"{step * self._dt:.1f} ms"

    def _prune(self) -> None:
        steps = checkpoint_steps(self._folder)
        keep = set(steps[-self._policy.keep_last :])
        if self._policy.keep_every is not None and self._dt is not None:
            first: dict[int, int] = {}
            for step in steps:
                first.setdefault(int(step * self._dt // self._policy.keep_every), step)
            keep |= set(first.values())
        for step in steps:
            if step not in keep:
                remove_checkpoint(self._folder, step)

    # ---- restoring ----

    def steps(self) -> list[int]:
        """Those of which there are checkpoints."""
        return checkpoint_steps(self._folder) if self._folder.exists() else []

    def newest(self, until: int, *, allow_changed: bool = False) -> Saved | None:
        """The newest sound checkpoint up to a step; damaged ones are put aside (`<step>.damaged`), which is told.

        Args:
            allow_changed: go on from a checkpoint of another network or script, which is told as well.

        Raises:
            ParameterError: it is of another network, dt, precision, seed or script.
        """
        mend_checkpoints(self._folder)
        for step in reversed(checkpoint_steps(self._folder)):
            if step > until:
                continue
            path = checkpoint_path(self._folder, step)
            try:
                manifest = read_manifest(path)
                self._compare(path, manifest["identity"], allow_changed)
                return self._checked(path, manifest)
            except OutputError as error:
                self._tell(f"the checkpoint of step {step} is damaged and put aside: {error}")
                self._put_aside(path)
        return None

    def at(self, step: int) -> Saved:
        """The checkpoint of a step that another process has looked at and found sound.

        Raises:
            OutputError: this process does not see it.
        """
        path = checkpoint_path(self._folder, step)
        if not path.exists():
            raise OutputError(
                f"{path}: process {self._processes.index} does not find this checkpoint, which process 0 has read. Is the run "
                "directory on a file system that all nodes share?"
            )
        return self._saved(path, read_manifest(path), {})

    def _checked(self, path: Path, manifest: Mapping[str, Any]) -> Saved:
        # What one process has written is kept; of more, one part at a time is in memory, and read again.
        held: dict[int, Mapping[str, np.ndarray]] = {}
        for part in range(len(manifest["arrays"])):
            arrays = read_arrays(path, manifest, part)
            if len(manifest["arrays"]) == 1:
                held[part] = arrays
        return self._saved(path, manifest, held)

    def _saved(self, path: Path, manifest: Mapping[str, Any], held: dict[int, Mapping[str, np.ndarray]]) -> Saved:
        def parts() -> Iterator[Mapping[str, np.ndarray]]:
            for part in range(len(manifest["arrays"])):
                yield held.pop(part) if part in held else read_arrays(path, manifest, part)

        self.last = self._at(manifest["step"])
        return Saved(step=manifest["step"], facts=manifest, parts=parts)

    def _compare(self, path: Path, saved: Mapping[str, Any], allow_changed: bool) -> None:
        changed = [
            f"{key}: {saved.get(key, 'nothing')} then, {self._identity.get(key, 'nothing')} now"
            for key in {**saved, **self._identity}
            if saved.get(key) != self._identity.get(key)
        ]
        if not changed:
            return
        text = "; ".join(changed[:20]) + (f"; and {len(changed) - 20} more" if len(changed) > 20 else "")
        if not allow_changed:
            raise ParameterError(
                f"{path}: is the checkpoint of another run. {text}. Undo the change, or go on all the same with --allow-changed."
            )
        self._tell(f"going on from {path} with changes: {text}")

    def _put_aside(self, path: Path) -> None:
        target, number = path.with_name(f"{path.name}.damaged"), 2
        while target.exists():
            target, number = path.with_name(f"{path.name}.damaged-{number}"), number + 1
        with suppress(OSError):
            path.rename(target)
