"""How a command ends: its exit codes, and what it says of an error."""

from __future__ import annotations

import errno
import linecache
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

import typer

from dist_sim.cluster.ending import Ending
from dist_sim.errors import DeviceError, DistSimError, OutputError
from dist_sim.partition.mesh import without_devices

DONE, BAD_INPUT, INTERNAL, OUTPUT, INTERRUPTED = 0, 64, 70, 74, 130

# Whatever was being read or written when a file system fails.
_OF_DISKS = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.ESTALE}
# Several processes end together; one of them says why.
ending: ContextVar[Ending] = ContextVar("ending")


def together() -> Ending:
    """The end of this process as one of several, or as the only one."""
    return ending.get(None) or Ending()


@contextmanager
def errors_become_exit_codes(debug: bool) -> Iterator[None]:
    """Within this context an error of ours, or of a disk, is told, and ends the command with its exit code."""
    try:
        yield
    except Exception as error:
        if (known := ours(error)) is None:
            raise
        explain(known, debug)
        raise typer.Exit(exit_code(known)) from None


def ours(error: BaseException) -> DistSimError | None:
    """An error that is for people: one of ours, that of a disk, or what one of JAX stands for; None for a bug."""
    if isinstance(error, OSError) and not isinstance(error, DistSimError) and error.errno in _OF_DISKS:
        return OutputError(f"{error.filename or 'a file'}: {error.strerror}.")
    return error if isinstance(error, DistSimError) else without_devices(error)


def exit_code(error: BaseException) -> int:
    """The exit code that an error stands for."""
    if isinstance(error, KeyboardInterrupt):
        return INTERRUPTED
    if not isinstance(error, DistSimError):
        return INTERNAL
    if isinstance(error, OutputError):
        return OUTPUT
    return BAD_INPUT if isinstance(error, (ValueError, TypeError, LookupError, DeviceError)) else INTERNAL


def explain(error: DistSimError, debug: bool, script: Path | None = None) -> None:
    """Tells an error, with its line of the script if it has one, unless another process does."""
    if not together().speaks(exit_code(error)):
        return
    if debug:
        traceback.print_exception(error)
    complain(f"{type(error).__name__}: {error}")
    for note in getattr(error, "__notes__", ()):
        complain(note)
    if script is not None:
        frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(script)]
        if frames:
            line = linecache.getline(frames[-1].filename, frames[-1].lineno or 0).strip()
            typer.echo(f"  {script}, line {frames[-1].lineno}: {line}", err=True)


def complain(text: str) -> None:
    """A line on stderr."""
    typer.echo(f"dist-sim: {text}", err=True)
