"""Stopping in time: a signal or a time limit asks, and a run ends at its next safe point with the exit code 75."""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, final

STOPPED = 75
SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2, signal.SIGHUP)


class Stopped(SystemExit):
    """The run has ended early, and can be resumed. Leaves a script like `sys.exit(75)`."""

    def __init__(self, reason: str):
        super().__init__(STOPPED)
        self.reason = reason


@contextmanager
def leaving() -> Iterator[None]:
    """Within this context, before a run has begun, the signals that stop one raise `Stopped`: it is to be started again."""

    def leave(number: int, _: object) -> None:
        print(f"dist-sim: {signal.Signals(number).name} before the run began. Start it again.", file=sys.stderr, flush=True)
        raise Stopped(signal.Signals(number).name)

    with _handled_by(leave, SIGNALS):
        yield


@contextmanager
def _handled_by(handler: Callable[[int, Any], None], signals: Iterable[int]) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield  # Python gives signals to the main thread alone
        return
    # What nohup has made of SIGHUP stays.
    before = {n: signal.signal(n, handler) for n in signals if signal.getsignal(n) is not signal.SIG_IGN}
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)


@final
class Stop:
    """Whether this run has been asked to stop.

    Args:
        max_seconds: of wall time from now on; None for no limit.
    """

    def __init__(self, max_seconds: float | None = None):
        self._signal: int | None = None
        self._limit = max_seconds
        self._deadline = None if max_seconds is None else time.monotonic() + max_seconds

    def reason(self, margin: float = 0.0) -> str | None:
        """Why to stop, or None.

        Args:
            margin: seconds that stopping takes.
        """
        if self._signal is not None:
            return signal.Signals(self._signal).name
        if self._deadline is not None and time.monotonic() + margin >= self._deadline:
            return f"the limit of {self._limit:.0f} s of wall time"
        return None

    def poll(self) -> None:
        """A safe point at which nothing has to be saved.

        Raises:
            Stopped: the run has been asked to stop.
        """
        if (reason := self.reason()) is not None:
            raise Stopped(reason)

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Within this context signals ask to stop, instead of ending the process: SIGTERM, SIGUSR1, SIGUSR2, SIGHUP and Ctrl-C.

        Raises:
            KeyboardInterrupt: Ctrl-C came a second time.
        """
        with _handled_by(self._ask, (*SIGNALS, signal.SIGINT)):
            yield

    def _ask(self, number: int, _: object) -> None:
        if number == signal.SIGINT:
            if self._signal == signal.SIGINT:
                raise KeyboardInterrupt
            print("dist-sim: Ctrl-C: stops at the next safe point. Once more: at once, unsaved.", file=sys.stderr, flush=True)
        self._signal = number
