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

_END, _HEARD, _ALL_HEARD = "dist_sim/end", "dist_sim/heard", "dist_sim/all_heard"
_DONE, _ALL_DONE = "dist_sim/done", "dist_sim/all_done"
_SLICE_MS = 60_000
_STOPPED, _PATIENCE_S = 75, 20.0
_NOTICE_S = 0.5  # after which a process that heard of a failure ends
_LEAVE_S = 7.0  # how long process 0, which keeps the word, waits for all to have heard


@final
class Ending:
    """The end of this process as one of several.

    Args:
        processes, process: how many there are, and which this is.

    Attributes:
        last: called with the exit code before this process ends for the failure of another.
    """

    def __init__(self, processes: int = 1, process: int = 0):
        self._alone, self._processes, self._process = processes == 1, processes, process
        self._failing, self._deciding = False, threading.Lock()
        self._listener = threading.Thread(target=self._wait_for_a_failure, daemon=True, name="dist_sim ending")
        self.last: Callable[[int], None] = lambda code: None

    def listen(self) -> None:
        """From now on a failure of another process ends this one; JAX knows them all."""
        if not self._alone:
            self._listener.start()

    def speaks(self, code: int) -> bool:
        """To be asked on failing, with an exit code: whether this process is the first, and therefore the one to say why."""
        if self._alone or self._failing:
            return True
        if _client() is None:
            return self._process == 0  # they have not met: what fails now fails in all of them
        try:
            with self._deciding:
                _client().key_value_set(_END, str(code), allow_overwrite=False)
                self._failing = True
        except Exception as error:  # jaxlib's errors are not the same in its versions; the state is in their text
            return "ALREADY_EXISTS" not in str(error).upper()
        return True

    def fail(self, code: int) -> None:
        """Ends this process, and with it all others. Does nothing in a program of one process, or before they have met."""
        if self._alone or _client() is None:
            return
        if code == _STOPPED and self._process:
            self._listener.join(_PATIENCE_S)  # process 0 has more to do; its end is that of all
        if not self.speaks(code):
            self._listener.join(_LEAVE_S)  # it ends this process, with the code of the first
        self._leave(code)

    def finish(self) -> None:
        """At the end of a run that went well: waits for all processes (process 0 may be writing results), and lets JAX go."""
        if self._alone:
            return
        import jax

        client = _client()
        # In slices that let other threads run (a barrier would not): a process may fail while this one waits for it.
        if self._process == 0:
            for process in range(1, self._processes):
                _wait_for(f"{_DONE}/{process}")
            client.key_value_set(_ALL_DONE, "")
        else:
            client.key_value_set(f"{_DONE}/{self._process}", "")
            _wait_for(_ALL_DONE)
        jax.distributed.shutdown()

    def _wait_for_a_failure(self) -> None:
        code = _wait_for(_END)
        with self._deciding:
            if code is None or self._failing:
                return
        time.sleep(_NOTICE_S)
        with suppress(Exception):
            self.last(int(code))
        self._leave(int(code))

    def _leave(self, code: int) -> None:
        _flush()
        with suppress(Exception):
            if self._process:
                _client().key_value_set(f"{_HEARD}/{self._process}", "")
                # mpirun kills all when the first one ends: until then process 0 has written down how the run has ended.
                _client().blocking_key_value_get(_ALL_HEARD, int(1000 * _LEAVE_S))
            else:
                # With process 0 the connection of all others breaks, and JAX aborts them: it goes last.
                until = time.monotonic() + _LEAVE_S
                for process in range(1, self._processes):
                    _client().blocking_key_value_get(f"{_HEARD}/{process}", max(1, int(1000 * (until - time.monotonic()))))
                _client().key_value_set(_ALL_HEARD, "")
                time.sleep(_NOTICE_S)
        os._exit(code)


def _wait_for(key: str) -> str | None:
    """The value of a key, as soon as somebody writes it; None if there is no coordinator any more."""
    while True:
        try:
            return _client().blocking_key_value_get(key, _SLICE_MS)
        except Exception as error:
            if "DEADLINE" not in str(error).upper():
                return None  # at the end, or before it: then JAX ends the process


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
