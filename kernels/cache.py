"""Where compiled kernels are kept, and a word on the time that compiling takes.

brainevent's folder in the user's home, or a temporary one where there is no such home.

brainevent makes its folder when it is imported, and cannot be imported without one. This is imported before.
"""

from __future__ import annotations

import functools
import os
import stat
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

import jax


def _wanted() -> Path | None:
    """The folder that brainevent will make; None where nobody knows the home."""
    if given := os.environ.get("BRAINEVENT_CACHE_DIR"):
        return Path(given)
    try:
        return Path.home() / ".cache" / "brainevent"
    except RuntimeError:
        return None


def _obstacle(folder: Path | None) -> str:
    """Why nothing can be written into a folder, or ''."""
    if folder is None:
        return "there is no home folder"
    try:
        if not folder.is_dir():
            folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        return f"{folder} cannot be made: {error.strerror}"
    return "" if os.access(folder, os.W_OK | os.X_OK) else f"{folder} cannot be written"


def _temporary() -> Path:
    """A folder of this user alone, the same for all processes of a host: what lies in it is loaded as code."""
    folder = Path(tempfile.gettempdir(), f"dist_sim-{os.getuid()}")
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        status = folder.lstat()
        if stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid() and not status.st_mode & 0o077:
            return folder
    except OSError:
        pass
    return Path(tempfile.mkdtemp(prefix="dist_sim-"))


OBSTACLE = _obstacle(_wanted())
if OBSTACLE:
    os.environ["BRAINEVENT_CACHE_DIR"] = str(_temporary())
    os.environ.setdefault("MPLCONFIGDIR", os.environ["BRAINEVENT_CACHE_DIR"])


_SAID_AFTER_S = 3.0
_silent: ContextVar[bool] = ContextVar("silent", default=False)


@contextmanager
def unannounced() -> Iterator[None]:
    """Within this context compiling is not announced: what goes on here is, by whoever begins it."""
    token = _silent.set(True)
    try:
        yield
    finally:
        _silent.reset(token)


@contextmanager
def compiling() -> Iterator[None]:
    """Within this context kernels may be compiled. If that takes long it is said, by one process."""
    say_where()
    # Asked for its number alone JAX would start.
    if _silent.get() or (jax.distributed.is_initialized() and jax.process_index()):
        yield
        return
    ended, begin = threading.Event(), time.monotonic()

    def watch() -> None:
        if not ended.wait(_SAID_AFTER_S):
            print("dist-sim: compiles kernels, which are kept for the next time ...", file=sys.stderr, flush=True)

    watching = threading.Thread(target=watch, daemon=True)
    watching.start()
    try:
        yield
    finally:
        ended.set()
        watching.join()
    if (spent := time.monotonic() - begin) > _SAID_AFTER_S:
        print(f"dist-sim: kernels: done in {spent:.1f} s", file=sys.stderr, flush=True)


@functools.cache
def say_where() -> None:
    """A line, where kernels are kept in another folder than usual."""
    if OBSTACLE:
        print(
            f"dist-sim: {OBSTACLE}: compiled kernels are kept in {os.environ['BRAINEVENT_CACHE_DIR']}. BRAINEVENT_CACHE_DIR "
            "names another folder.",
            file=sys.stderr, flush=True,
        )  # fmt: skip
