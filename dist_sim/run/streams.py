"""What a run says must not end it: nobody may be reading any more, as in `dist-sim run FILE.py 2>&1 | head`."""

from __future__ import annotations

import errno
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO, final


@contextmanager
def readers_may_leave() -> Iterator[None]:
    """Within this context what is written to a pipe that nobody reads, or a terminal that is gone, is dropped, and to stderr also
    what its disk does not take. Where the shell has closed a stream, no file of the run takes its number.

    On stdout a full disk stays an error: what a script prints there may be all it is run for.
    """
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = outlasting(sys.stdout, BrokenPipeError), outlasting(sys.stderr)
    try:
        yield
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        sys.stdout, sys.stderr = before


@final
class _Outlasting(io.FileIO):
    """A file descriptor, for which writes that fail in one way count as done."""

    def __init__(self, descriptor: int, dropped: type[OSError]):
        super().__init__(descriptor, "w", closefd=False)
        self._dropped = dropped

    def write(self, data: Any) -> int | None:
        try:
            return super().write(data)
        except OSError as error:
            if not isinstance(error, self._dropped) and error.errno != errno.EIO:
                raise
            return memoryview(data).nbytes


def outlasting(stream: TextIO | None, dropped: type[OSError] = OSError) -> TextIO:
    """What writes where `stream` does, as long as that is open, and drops what cannot be written for this reason."""
    if stream is None:  # closed by the shell
        return open(os.devnull, "w", encoding="utf-8")
    try:
        raw = _Outlasting(stream.fileno(), dropped)
    except (OSError, ValueError, AttributeError):  # no file, or none at all
        return stream
    stream.flush()
    through = getattr(stream, "write_through", False)
    return io.TextIOWrapper(
        raw if through else io.BufferedWriter(raw), encoding=stream.encoding, errors=stream.errors,
        line_buffering=getattr(stream, "line_buffering", False), write_through=through,
    )  # fmt: skip
