"""Where a run stands: a bar on a terminal, one plain line per 30 s in a log, `status.json` in the run directory."""

from __future__ import annotations

import sys
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from typing import Self, TextIO, final

from rich.console import Console
from rich.progress import BarColumn, ProgressColumn, TextColumn
from rich.progress import Progress as Bar
from rich.table import Column
from rich.text import Text

from dist_sim.errors import OutputError
from dist_sim.kernels import unannounced
from dist_sim.run.directory import RunDirectory
from dist_sim.run.session import current_session

LINE_EVERY = 30.0
STATUS_EVERY = 5.0
PHASE_SHOWN_AFTER = 3.0
RECENT = 60.0
# A script that simulates in thousands of short pieces gets no line, and pays for no file, after each.
SHORT = 1.0


@final
class Phases:
    """Seconds spent in each phase of a run (`connect`, `compile`, `simulate`, ...), and a word on those that take long.

    Args:
        show: whether to write to stderr; by default under `dist-sim run` and on a terminal.
    """

    def __init__(self, *, show: bool | None = None, stream: TextIO | None = None):
        self.seconds: dict[str, float] = {}
        self._stream = stream or sys.stderr
        self._show = _shown(show, self._stream)

    @contextmanager
    def phase(self, name: str) -> Iterator[PhaseCount]:
        """Time a phase; one that lasts over 3 s is announced, then reported every 30 s, then told with its time.

        Yields an object whose `update(done, total)` adds a percentage to the report. Times of one name add up. Its begin and its
        updates are points at which a run that has been asked to stop does so.
        """
        _poll()
        session = current_session()
        if session is not None and session.directory is not None:
            session.directory.enter(name)
        count = PhaseCount(name, self._stream)
        ended = threading.Event()
        if self._show:
            threading.Thread(target=count.watch, args=(ended,), daemon=True).start()
        begin = time.perf_counter()
        try:
            with in_phase(name), unannounced() if self._show else nullcontext():
                yield count
        finally:
            spent = time.perf_counter() - begin
            ended.set()
            self.seconds[name] = self.seconds.get(name, 0.0) + spent
        if self._show and count.announced:
            _say(self._stream, f"{name}: done in {spent:.1f} s")


@final
class PhaseCount:
    """How far one phase is."""

    def __init__(self, name: str, stream: TextIO):
        self.announced = False
        self._name, self._stream = name, stream
        self._done = self._total = 0

    def update(self, done: int, total: int) -> None:
        """`done` of `total` parts of the phase are finished."""
        _poll()
        _beat(f"{done} of {total}")
        self._done, self._total = done, total

    def watch(self, ended: threading.Event) -> None:
        """Report until the phase has ended (runs in a thread: a phase may be one long call)."""
        begin, wait = time.perf_counter(), PHASE_SHOWN_AFTER
        while not ended.wait(wait):
            self.announced, wait = True, LINE_EVERY
            part = f" {100 * self._done / self._total:.0f} %" if self._total else ""
            _say(self._stream, f"{self._name} ...{part} ({time.perf_counter() - begin:.0f} s)")


@final
class Progress:
    """The progress of one `simulate()`, as a context. One that takes less than a second goes unmentioned.

    Args:
        total_ms: the model time to simulate.
        done_ms: how much of it there is already, in a run that is resumed.
        directory: where heartbeats and lines go as well.
        show: whether to write to `stream` (stderr); by default under `dist-sim run` and on a terminal.
    """

    def __init__(
        self,
        total_ms: float,
        *,
        done_ms: float = 0.0,
        directory: RunDirectory | None = None,
        show: bool | None = None,
        stream: TextIO | None = None,
        line_every: float = LINE_EVERY,
    ):
        self.total_ms, self.done_ms = float(total_ms), float(done_ms)
        self.rate: float | None = None
        self.checkpoint: str | None = None
        self._directory, self._stream, self._line_every = directory, stream or sys.stderr, line_every
        self._show = _shown(show, self._stream)
        self._bar: Bar | None = None
        self._begin = self._line_at = self._status_at = 0.0
        self._recent: deque[tuple[float, float]] = deque()

    def __enter__(self) -> Self:
        if self._directory is not None:
            self._directory.enter("simulate")
        self._begin = self._line_at = time.perf_counter()
        self._recent.append((self._begin, self.done_ms))
        self._status_at = self._begin - STATUS_EVERY + SHORT
        if self._show and self._stream.isatty():
            columns = (
                TextColumn("[bold]simulate", table_column=Column(min_width=8)),
                BarColumn(bar_width=10, table_column=Column(min_width=10)),
                _Standing(self),
            )
            self._bar = Bar(*columns, console=Console(file=self._stream), transient=True)
            self._task = self._bar.add_task("", total=self.total_ms)
            self._bar.start()
        return self

    def __exit__(self, kind, error, trace) -> None:
        if self._bar is not None:
            self._bar.stop()
        if error is None and time.perf_counter() - self._begin < SHORT:
            return
        # After an error the last line is a courtesy: on a full disk it must not take the place of what went wrong.
        with nullcontext() if error is None else suppress(OutputError):
            self._line()
            self._heartbeat(force=True)

    def update(self, done_ms: float, *, rate: float | None = None, checkpoint: str | None = None) -> None:
        """After each chunk: model time done in this `simulate()`, mean rate so far [Hz], the last checkpoint if there is one."""
        _beat(f"{done_ms:g} ms")
        self.done_ms, self.rate = float(done_ms), rate
        self.checkpoint = checkpoint or self.checkpoint
        now = time.perf_counter()
        self._recent.append((now, self.done_ms))
        while len(self._recent) > 2 and now - self._recent[0][0] > RECENT:
            self._recent.popleft()
        if self._bar is not None:
            self._bar.update(self._task, completed=self.done_ms)
        elif now - self._line_at >= self._line_every:
            self._line()
        self._heartbeat()

    @property
    def rtf(self) -> float | None:
        """Real-time factor: wall time per model time, over the last minute; below 1 is faster than life."""
        (wall0, model0), (wall1, model1) = self._recent[0], self._recent[-1]
        return (wall1 - wall0) * 1e3 / (model1 - model0) if model1 > model0 else None

    @property
    def eta_s(self) -> float | None:
        """Seconds to the end, at the pace of the last minute."""
        return None if self.rtf is None else max(self.total_ms - self.done_ms, 0.0) * 1e-3 * self.rtf

    def standing(self, *, share: bool = True) -> str:
        """One line: model time, real-time factor, rate, ETA, last checkpoint."""
        part = f" ({100 * self.done_ms / self.total_ms if self.total_ms else 100.0:.1f} %)" if share else ""
        return "  ".join((
            f"{_model_time(self.done_ms)} of {_model_time(self.total_ms)}{part}",
            f"RTF {_or_dash(self.rtf, '.2f')}",
            f"rate {_or_dash(self.rate, '.2f')} Hz",
            f"ETA {_clock(self.eta_s)}",
            f"checkpoint {self.checkpoint or 'none'}",
        ))  # fmt: skip

    def _line(self) -> None:
        self._line_at = time.perf_counter()
        if self._show:
            _say(self._stream, self.standing())
        if self._directory is not None:
            self._directory.log(self.standing())

    def _heartbeat(self, force: bool = False) -> None:
        now = time.perf_counter()
        if self._directory is not None and (force or now - self._status_at >= STATUS_EVERY):
            self._status_at = now
            self._directory.update_status(
                state="running", model_time_ms=self.done_ms, total_ms=self.total_ms, rtf=self.rtf, rate=self.rate,
                eta_s=self.eta_s, wall_s=now - self._begin, last_checkpoint=self.checkpoint,
            )  # fmt: skip


@final
class _Standing(ProgressColumn):
    """What stands beside the bar."""

    def __init__(self, progress: Progress):
        # On a narrow terminal the end is cut off: a second line would make the bar jump.
        super().__init__(Column(no_wrap=True, overflow="ellipsis"))
        self._progress = progress

    def render(self, task) -> Text:
        return Text(self._progress.standing(share=False), no_wrap=True, overflow="ellipsis")


@contextmanager
def in_phase(name: str) -> Iterator[None]:
    """Within this context (or a function that it decorates) the signs of life of `dist-sim run` tell of this phase."""
    session = current_session()
    with nullcontext() if session is None else session.heartbeat.within(name):
        yield


def _beat(at: str) -> None:
    session = current_session()
    if session is not None:
        session.heartbeat.beat(at)


def _poll() -> None:
    session = current_session()
    if session is not None and session.stop is not None:
        session.stop.poll()


def _shown(show: bool | None, stream: TextIO) -> bool:
    return (current_session() is not None or stream.isatty()) if show is None else show


def _say(stream: TextIO, text: str) -> None:
    print(f"dist-sim: {text}", file=stream, flush=True)


def _or_dash(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def _model_time(milliseconds: float) -> str:
    return f"{milliseconds / 1e3:.2f} s" if milliseconds >= 1e4 else f"{milliseconds:.1f} ms"


def _clock(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02d}:{second:02d}"
