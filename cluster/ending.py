"""Processes end together: with one message, and one exit code.

A process that fails writes its exit code on the board; a thread of every other process waits for that, and ends its own within a
moment, even while the main thread is inside a collective that will never return. Where none fails, process 0 writes 0 in the end.
A process that fails before they have met meets the others in order to tell them. One that dies without a word is noticed by JAX's
heartbeat.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import final

from dist_sim.cluster import board

_END, _HEARD, _CLOSED, _DONE = (f"dist_sim/{name}" for name in ("end", "heard", "closed", "done"))
_ALL_WELL = "0"
_STOPPED, _PATIENCE_S = 75, 20.0
_NOTICE_S = 0.5  # after which a process that heard of a failure ends
_CLOSE_S = 3.0  # for what a process does before it ends for another: its disk may be what hangs
_LEAVE_S = 6.0  # how long processes wait for each other to have heard
_TOGETHER_S = 0.2  # from when all have heard to their end


@final
class Ending:
    """The end of this process as one of several.

    Args:
        processes, process: how many there are, and which this is.
        meet: has the processes know each other, for one that fails before that; raises where they do not come.

    Attributes:
        last: called with the exit code before this process ends for another reason than its own main thread.
        well: called when all processes have done what they had to, before JAX goes.
    """

    def __init__(self, processes: int = 1, process: int = 0, *, meet: Callable[[], None] | None = None):
        self._alone, self._processes, self._process = processes == 1, processes, process
        self._meet, self._met, self._failing, self._deciding = meet, False, False, threading.Lock()
        self._listener = threading.Thread(target=self._wait_for_a_failure, daemon=True, name="dist_sim ending")
        self.last: Callable[[int], None] = lambda code: None
        self.well: Callable[[], None] = lambda: None

    def listen(self) -> None:
        """From now on a failure of another process ends this one; JAX knows them all."""
        if not self._alone:
            self._met = True
            self._listener.start()

    def speaks(self, code: int) -> bool:
        """To be asked on failing, with an exit code: whether this process is the first, and therefore the one to say why."""
        if self._alone or self._failing or not self._have_met():
            return True
        with self._deciding:
            self._failing = board.post_first(_END, str(code))
        return self._failing

    def fail(self, code: int) -> None:
        """Ends this process, and with it all others. Does nothing in a program of one process."""
        if self._alone:
            return
        if code == _STOPPED and self._process and self._met:
            self._listener.join(_PATIENCE_S)  # process 0 has more to do; its end is that of all
        if not self.speaks(code):
            self._listener.join(_PATIENCE_S)  # it ends this process, with the code of the first
        self._leave(code)

    def abandon(self, code: int) -> None:
        """Ends this process, and with it all others, from a thread beside the main one, which does not come back."""
        self.speaks(code)
        self._close(code)
        self._leave(code)

    def finish(self) -> None:
        """At the end of a run that went well: waits for all processes (process 0 may be writing results), and lets JAX go."""
        if not self._met:
            return
        import jax

        # Not a barrier: a process may fail while this one waits for it.
        if self._process == 0:
            for process in range(1, self._processes):
                board.read(f"{_DONE}/{process}")
            board.post_first(_END, _ALL_WELL)
        else:
            board.post(f"{_DONE}/{self._process}", "")
        # A thread that is still inside jaxlib when Python goes would abort this process.
        self._listener.join()
        self.well()
        jax.distributed.shutdown()

    def _have_met(self) -> bool:
        if not self._met and self._meet is not None:
            meet, self._meet = self._meet, None
            with suppress(Exception):
                meet()
                self.listen()
        return self._met

    def _wait_for_a_failure(self) -> None:
        code = board.read(_END)
        with self._deciding:
            if code is None or code == _ALL_WELL or self._failing:
                return
        time.sleep(_NOTICE_S)
        self._close(int(code))
        self._leave(int(code))

    def _close(self, code: int) -> None:
        def close() -> None:
            with suppress(Exception):
                self.last(code)

        closing = threading.Thread(target=close, daemon=True)
        closing.start()
        closing.join(_CLOSE_S)

    def _leave(self, code: int) -> None:
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError):
                stream.flush()
        if self._met:
            with suppress(Exception):
                self._wait_for_each_other()
        os._exit(code)

    def _wait_for_each_other(self) -> None:
        # Nobody ends before all have heard, and process 0 has closed the run directory. Then all end at one moment: a launcher
        # kills what is left when the first process ends, and may report that signal; JAX aborts what is left when process 0 ends.
        until = time.monotonic() + _LEAVE_S
        if self._process:
            board.post(f"{_HEARD}/{self._process}", "")
            moment = board.read(_CLOSED, until - time.monotonic())
        else:
            for process in range(1, self._processes):
                board.read(f"{_HEARD}/{process}", until - time.monotonic())
            moment = repr(time.time() + _TOGETHER_S)
            board.post(_CLOSED, moment)
        if moment is not None:
            # Clocks of several machines may differ.
            time.sleep(min(max(float(moment) - time.time(), 0.0), _TOGETHER_S))
