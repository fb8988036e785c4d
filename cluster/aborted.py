"""Where JAX aborts a process because another one is lost: a sentence and an exit code instead of C++ stacks.

JAX notices by heartbeats, in threads of C++, that a process is gone; then it writes stacks to stderr and aborts all others, and
nothing of Python is asked. Hence, of several processes, what libraries write to stderr by themselves goes to a file, and the
signal of an abort is taken here, by a function that ends the process.
"""

from __future__ import annotations

import ctypes
import os
import re
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TextIO, final

_UNHEALTHY = re.compile(r"unhealthy[^\n]*\n((?:\d+\s)+)")
_OF_COORDINATOR = re.compile(r"Failed to send RPC to coordination service|RPC: /\S*CoordinationService/Heartbeat")
_HANDLER = ctypes.CFUNCTYPE(None, ctypes.c_int)
_ABORTED = 70
VERDICT_S = 120.0  # after which JAX has given up a process whose connections are closed, at the usual heartbeats
_CLOSED = re.compile(r"Gloo|onnection (closed|reset|refused)|Socket closed|Broken pipe|coordination service", re.IGNORECASE)


def speaks_of_others(error: BaseException) -> bool:
    """Whether an error of JAX is that of a connection to another process. Which type it has depends on what Gloo calls it."""
    of_jax = type(error).__name__ in ("JaxRuntimeError", "XlaRuntimeError") or "Gloo" in str(error)
    return of_jax and isinstance(error, RuntimeError | ValueError) and _CLOSED.search(str(error)) is not None


def lost_processes(text: str) -> list[int]:
    """Which processes JAX has given up, by what it wrote; none if it aborted for another reason.

    Process 0 coordinates: without it the others find nobody who could say more.
    """
    if found := _UNHEALTHY.findall(text):
        return sorted({int(number) for group in found for number in group.split()})
    return [0] if _OF_COORDINATOR.search(text) else []


@final
class Aborted:
    """From now on stderr of libraries goes to a file, while that of Python stays, and an abort ends the process as is said.

    Args:
        file: in which what they write is kept.
        end: called with the processes that are lost; returns the exit code. Others run no more.
        wrapped: gives what Python writes to in the place of the stream that it is given.
    """

    def __init__(self, file: Path, end: Callable[[list[int]], int], wrapped: Callable[[TextIO], TextIO]):
        self._file, self._end = file, end
        sys.stderr.flush()
        self._before = os.dup(2)
        kept = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
        self._begin = os.fstat(kept).st_size
        os.dup2(kept, 2)
        os.close(kept)
        self._stream = os.fdopen(os.dup(self._before), "w", buffering=1, encoding="utf-8", errors="backslashreplace")
        sys.stderr = wrapped(self._stream)
        # Kept here: C has no part in what Python counts.
        self._handler = _HANDLER(self._taken)
        self._libc = ctypes.CDLL(None)
        self._libc.signal(signal.SIGABRT, self._handler)

    def tidy(self) -> None:
        """Removes the file if there is nothing in it."""
        with suppress(OSError):
            if not self._file.stat().st_size:
                self._file.unlink()

    def _taken(self, number: int) -> None:
        code = _ABORTED
        try:
            with self._file.open(encoding="utf-8", errors="replace") as file:
                file.seek(self._begin)
                text = file.read()
            if lost := lost_processes(text):
                code = self._end(lost)
            else:
                os.write(self._before, text.encode())
            sys.stderr.flush()
        finally:
            os._exit(code)
