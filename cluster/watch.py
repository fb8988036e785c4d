"""Notices a run that makes no progress: says which process is stuck and where, writes down all stacks, and ends all processes."""

from __future__ import annotations

import faulthandler
import json
import sys
import sysconfig
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from statistics import median
from types import FrameType
from typing import Protocol, final

from dist_sim.cluster import board

STALLED = 76
STALL_S = 600.0
_STALL, _SIGN, _ANSWER = "dist_sim/stall", "dist_sim/sign", "dist_sim/answer"
_NONE = "none"
_TICKS, _LONGEST_TICK_S, _TICK_S, _SIGNS_PER_S = 10, 30.0, 1.0, 100
_PACES, _TIMES_PACE = 9, 20.0
_ANSWER_S, _SIGN_S, _DUMP_S = 3.0, 1.0, 3.0
_AT_ONCE_S = 0.5  # apart, two processes have come to a standstill together
_SCRIPT = "the script itself"
_LIBRARIES = tuple(sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib"))
_OURS = str(Path(__file__).parents[1])


class Signs(Protocol):
    """What a process says of itself: what goes on ('' for nothing that is watched), how far it is, and when it last said so."""

    phase: str
    at: str
    moment: float

    def longest_silence(self) -> float: ...


@final
@dataclass(frozen=True, kw_only=True)
class Standing:
    """Where a process stands.

    Attributes:
        phase, at: as it last said; quiet: seconds since.
        line: of the program, on which its main thread is.
        inside: whether the main thread is inside JAX there: it computes, or waits for other processes.
    """

    phase: str
    at: str
    quiet: float
    line: str = ""
    inside: bool = False

    def __str__(self) -> str:
        told = f"in {self.phase or _SCRIPT}" + (f", at {self.at}," if self.at else "")
        return f"{told} for {self.quiet:.0f} s" + (f" ({self.line})" if self.line else "")


@final
class Watch:
    """Watches this process, as one of several, from a thread of its own.

    A phase is stuck when nothing is heard of it for `seconds`, or for 20 times as long as its signs usually are apart. The
    script's own lines may take any time, unless another process waits for them in a phase.

    Args:
        processes, process: how many there are, and which this is.
        signs: what this process says of itself.
        seconds: without a sign, after which a phase counts as stuck.
        folder: where the stacks are written: `stacks-<process>.txt`.
        tell: called with what is to be said; end: called with the exit code then, must not return.
    """

    def __init__(
        self,
        processes: int,
        process: int,
        signs: Signs,
        *,
        seconds: float,
        folder: Path,
        tell: Callable[[str], None],
        end: Callable[[int], object],
    ):
        self._processes, self._process, self._signs, self._seconds = processes, process, signs, seconds
        self._folder, self._tell, self._end = folder, tell, end
        self._late = min(_LONGEST_TICK_S, seconds / _TICKS)
        # A process that is stopped cannot say any more where: the others know it from its last tick.
        self._tick = min(self._late, max(_TICK_S, processes / _SIGNS_PER_S))
        self._over = threading.Event()
        self._paces: dict[str, deque[float]] = defaultdict(lambda: deque(maxlen=_PACES))
        self._asleep = 0.0
        self._thread = threading.Thread(target=self._watch, daemon=True, name="dist_sim watch")

    def start(self) -> None:
        """From now on."""
        self._thread.start()

    def close(self) -> None:
        """No more; of several processes, in none."""
        self._over.set()
        if self._processes > 1:
            with suppress(Exception):
                board.post_first(_STALL, _NONE)
        if self._thread.is_alive():
            self._thread.join()

    def _watch(self) -> None:
        before, seen = time.monotonic(), self._signs.moment
        while not self._over.is_set():
            heard = self._wait()
            if self._over.is_set() or heard == _NONE:
                return
            now, moment = time.monotonic(), self._signs.moment
            # While this thread does not run (a suspended job, a laptop that is closed) nobody can be expected to.
            self._asleep += max(0.0, now - before - self._tick - self._late)
            if moment != seen:
                self._paces[self._signs.phase].append(self._signs.longest_silence())
                self._asleep, seen = 0.0, moment
            before = now
            if heard is not None:
                self._answer()
                return
            standing = self._standing()
            if self._processes > 1:
                with suppress(Exception):
                    board.post(f"{_SIGN}/{self._process}", json.dumps(asdict(standing)))
            if standing.phase and standing.quiet > self._limit(standing.phase) and self._alarm():
                return

    def _wait(self) -> str | None:
        """A tick; the process that has found the run stuck meanwhile."""
        if self._processes == 1:
            self._over.wait(self._tick)
            return None
        begin = time.monotonic()
        heard = board.read(_STALL, self._tick)
        if heard is None:
            self._over.wait(begin + self._tick - time.monotonic())  # where there is no coordinator any more
        return heard

    def _limit(self, phase: str) -> float:
        paces = self._paces[phase]
        return max(self._seconds, _TIMES_PACE * median(paces)) if len(paces) == _PACES else self._seconds

    def _standing(self) -> Standing:
        signs = self._signs
        quiet = max(0.0, time.monotonic() - signs.moment - self._asleep)
        line, inside = _place(sys._current_frames().get(threading.main_thread().ident or 0))
        return Standing(phase=signs.phase, at=signs.at, quiet=quiet, line=line, inside=inside)

    def _alarm(self) -> bool:
        """Says what is stuck and ends the run; False if another process was faster."""
        if self._processes > 1 and not board.post_first(_STALL, str(self._process)):
            return False
        standings = {self._process: self._standing()} | self._others()
        for act in (partial(self._tell, told(standings, self._processes, self._folder)), self._dump):
            _in_time(act, _DUMP_S)
        self._end(STALLED)
        return True

    def _others(self) -> dict[int, Standing]:
        """Where the others stand, of those that answer."""
        until, found = time.monotonic() + _ANSWER_S, {}
        for process in range(self._processes):
            if process != self._process and (text := board.read(f"{_ANSWER}/{process}", until - time.monotonic())) is not None:
                found[process] = Standing(**json.loads(text))
        return found

    def _answer(self) -> None:
        with suppress(Exception):
            board.post(f"{_ANSWER}/{self._process}", json.dumps(asdict(self._standing())))
        self._dump()

    def _dump(self) -> None:
        with suppress(OSError), (self._folder / f"stacks-{self._process}.txt").open("a") as file:
            file.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} process {self._process} is {self._standing()}\n")
            file.flush()
            faulthandler.dump_traceback(file, all_threads=True)


def told(standings: dict[int, Standing], processes: int, folder: Path) -> str:
    """What is said of a run that is stuck: which process it hangs on, and what the others do.

    Args:
        standings: of the processes that answer.
    """
    silent = [process for process in range(processes) if process not in standings]
    if silent:
        guilty = {process: f"does not answer{_last_sign(process)}" for process in silent}
    else:
        # Who waits for others is inside JAX. Of the rest, what came to a standstill first is what the others wait for.
        free = {process: s for process, s in standings.items() if not s.inside} or standings
        longest = max(s.quiet for s in free.values())
        guilty = {process: f"is {s}" for process, s in free.items() if longest - s.quiet < _AT_ONCE_S}
    first, *more = guilty
    lines = [f"no progress: process {first} {guilty[first]}"]
    lines += [f"as well as process {_listed(more)}"] if more else []
    waiting: dict[str, list[int]] = defaultdict(list)
    for process, standing in standings.items():
        if process not in guilty:
            waiting[_where(standing)].append(process)
    lines += [f"waiting for it in {phase}: process {_listed(them)}" for phase, them in waiting.items()]
    files = ", ".join(str(folder / f"stacks-{p}.txt") for p in sorted(standings)[:_PACES])
    lines.append(f"stacks: {files}{', ...' if len(standings) > _PACES else ''}")
    lines.append("a phase that may take longer needs a larger --stall-seconds (0: wait for ever)")
    return "\n  ".join(lines)


def _where(standing: Standing) -> str:
    return (standing.phase or _SCRIPT) + (f", at {standing.at}" if standing.at and not standing.phase else "")


def _last_sign(process: int) -> str:
    text = board.read(f"{_SIGN}/{process}", _SIGN_S)
    return "" if text is None else f"; it was {Standing(**json.loads(text))} when it was last heard"


def _listed(processes: list[int]) -> str:
    return ", ".join(map(str, processes[:_PACES])) + (f" and {len(processes) - _PACES} more" if len(processes) > _PACES else "")


def _place(frame: FrameType | None) -> tuple[str, bool]:
    """The innermost line that is of no library, and whether it has called JAX."""
    inside = False
    while frame is not None:
        file = frame.f_code.co_filename
        if file.startswith(_OURS) or not (file.startswith(_LIBRARIES) or file.startswith("<")):
            return f"{file}, line {frame.f_lineno}, in {frame.f_code.co_name}", inside
        inside = inside or frame.f_globals.get("__name__", "").partition(".")[0] == "jax"
        frame = frame.f_back
    return "", inside


def _in_time(act: Callable[[], None], seconds: float) -> None:
    """Does something on a disk that may be what hangs."""
    thread = threading.Thread(target=act, daemon=True)
    thread.start()
    thread.join(seconds)
