"""Processes end together: with one message, and one exit code.

A process that fails writes its exit code where the coordinator keeps it; a thread of every other process waits for that, and
ends its own within a moment, even while the main thread is inside a collective that will never return. A process that dies
without a word is noticed by JAX's heartbeat.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, final

_KEY = "dist_sim/end"
_WAIT_MS = 60_000
_LONGEST_MS = 7 * 24 * 3600 * 1000
_NOTICE_S = 0.5  # after which a process that heard of a failure ends
_STOPPED, _PATIENCE_S = 75, 20.0
_LEAVE_S = 2.0  # how long the one that failed stays, so that the others have heard of it before a connection breaks


@final
class Ending:
    """The end of this process as one of several.

    Args:
        processes, process: how many there are, and which this is.

    Attributes:
        last: called with the exit code before this process ends for the failure of another.
    """

    def __init__(self, processes: int = 1, process: int = 0):
        self._alone, self._process = processes == 1, process
        self._failing = False
        self.last: Callable[[int], None] = lambda code: None

    def listen(self) -> None:
        """From now on a failure of another process ends this one; JAX knows them all."""
        if not self._alone:
            threading.Thread(target=self._wait_for_a_failure, daemon=True, name="dist_sim ending").start()

    def speaks(self, code: int) -> bool:
        """To be asked on failing, with an exit code: whether this process is the first, and therefore the one to say why."""
        if self._alone or self._failing:
            return True
        if _client() is None:
            return self._process == 0  # they have not met: what fails now fails in all of them
        try:
            _client().key_value_set(_KEY, str(code), allow_overwrite=False)
            self._failing = True
        except Exception as error:  # jaxlib's errors are not the same in its versions; the state is in their text
            return "ALREADY_EXISTS" not in str(error).upper()
        return True

    def fail(self, code: int) -> None:
        """Ends this process, and with it all others. Does nothing in a program of one process, or before they have met."""
        if self._alone or _client() is None:
            return
        if code == _STOPPED and self._process:
            time.sleep(_PATIENCE_S)  # process 0 has more to do; its end is that of all
        if not self.speaks(code):
            time.sleep(_LEAVE_S)  # the thread that waits for a failure ends this process, with the code of the first
        _flush()
        time.sleep(_LEAVE_S)
        os._exit(code)

    def finish(self) -> None:
        """At the end of a run that went well: waits for all processes (process 0 may be writing results), and lets JAX go."""
        if self._alone:
            return
        import jax

        _client().wait_at_barrier(_KEY, _LONGEST_MS)
        jax.distributed.shutdown()

    def _wait_for_a_failure(self) -> None:
        while True:
            try:
                code = int(_client().blocking_key_value_get(_KEY, _WAIT_MS))
                break
            except Exception as error:
                if "DEADLINE" not in str(error).upper():
                    return  # the coordinator is gone, at the end or before it: then JAX ends the process
        if self._failing:
            return
        # The coordinator keeps the word for the others, and leaves after them.
        time.sleep(_NOTICE_S if self._process else 2 * _NOTICE_S)
        with suppress(Exception):
            self.last(code)
        _flush()
        os._exit(code)


def _client() -> Any:
    """The connection to the coordinator. JAX has no public name for it."""
    from jax._src import distributed

    return distributed.global_state.client


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            continue
