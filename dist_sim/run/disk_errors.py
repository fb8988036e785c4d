"""What is said where a file system takes no more, as OutputError."""

from __future__ import annotations

import errno
import shutil
from contextlib import suppress
from pathlib import Path

from dist_sim.errors import OutputError


def missing(path: Path, size: int, *, full: bool = False) -> str:
    """What there is room for where `size` bytes were to be written, as a sentence.

    Args:
        full: the file system has said so, whatever bytes it calls free (a quota, or what it keeps for itself).
    """
    folder = next(p for p in (path, *path.parents) if p.is_dir())
    free = shutil.disk_usage(folder).free
    if free >= size and not full:
        return f"{free} bytes are free."
    return f"{size - free if free < size else size} bytes are missing ({size} are needed, {free} free): make room."


def unwritten(path: Path, size: int, error: OSError) -> OutputError:
    """The error of `size` bytes that could not be written at a path."""
    text = f"{path}: cannot be written: {error.strerror or error}."
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        text += f" {missing(path, size, full=True)} What was written before is untouched."
    elif error.errno == errno.EROFS:
        text += " What was written before is untouched: go on when it can be written to again."
    return OutputError(text)


def made(folder: Path) -> Path:
    """A folder, made if it is not there, with those that it lies in.

    Raises:
        OutputError: it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise unwritten(folder, 0, error) from error
    return folder


def remove_quietly(path: Path) -> None:
    """Removes what was left half written, where that can be: the error that is told is that of the writing."""
    with suppress(OSError):
        path.unlink(missing_ok=True)
