"""Who may write to a run directory: a lock file with a lease, so that a job that died does not hold it for ever.

`run.lock` names its holder (host, process, job) and is touched every few seconds. It is taken over when its process is gone, as
far as this process can see it (on one host, in one PID namespace); when the queue has started the same job again; or when it has
not been touched for three beats while this process watched it. What its time says is not asked: the clocks of two hosts differ,
and a healthy run must not lose its lock to one that is ahead.

What is left of an earlier attempt (the queue loses sight of a process when a node's daemons die, or its network) is ended: on
this host by the one that takes over, elsewhere by itself, as soon as it finds that the lock is another's.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from dist_sim.errors import OutputError

BEAT = 10.0
EXPIRES = 3 * BEAT
LOST = 74
_LOOKS = 60  # at a lock that is watched
# What flock says on file systems without locks: NFS without a lock daemon, FUSE.
_NO_LOCKS = {errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL}
_TAKEN, _GUARD_S = {errno.EAGAIN, errno.EACCES}, 10.0


@final
@dataclass(frozen=True)
class _Seen:
    """A lock file as it was at a moment: its text, and when it was touched by whatever clock."""

    text: str
    touched: int


@final
class Lease:
    """The claim on a directory, held until `release`.

    Args:
        path: of the lock file.

    Raises:
        OutputError: another process holds it, or it cannot be written.
    """

    def __init__(self, path: Path):
        self._path, self._ended = path, threading.Event()
        self._holder = json.dumps(_myself())
        try:
            silent = None
            while (found := self._claim(silent)) is not None:
                silent = self._watched(found)
        except FileExistsError as error:
            raise OutputError(f"{path.parent}: another run has just started here. Give another --out.") from error
        except OSError as error:
            if isinstance(error, OutputError):
                raise
            text = f"{path.parent}: cannot be written: {error.strerror}. Give a folder you may write to."
            raise OutputError(text) from error
        threading.Thread(target=self._renew, daemon=True).start()

    def release(self) -> None:
        """Give up the claim."""
        self._ended.set()
        with suppress(OSError):
            if self._path.read_text() == self._holder:
                self._path.unlink()

    def _claim(self, silent: _Seen | None) -> _Seen | None:
        """Takes the lock, or gives what must be watched before.

        Args:
            silent: the lock as it was all the time while it was watched.
        """
        # Decides between two that find the same lock stale at the same moment.
        with _guarded(self._path):
            if (found := _look(self._path)) is not None:
                holder = _holder(found)
                if _earlier_attempt(holder):
                    _end(holder)
                elif _visible(holder):
                    if not _gone(holder):
                        self._refuse(f"is being written by {_who(holder)}.")
                elif found != silent:
                    return found
                self._set_aside(found)
            descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
            with os.fdopen(descriptor, "w") as file:
                file.write(self._holder)
                file.flush()
                os.fsync(file.fileno())
        return None

    def _watched(self, found: _Seen) -> _Seen:
        """A lock that has been watched, and not touched, for as long as a lease goes on."""
        who = _who(_holder(found))
        sys.stderr.write(f"dist-sim: {self._path.parent}: locked by {who}; looks for {EXPIRES:.0f} s whether it still runs\n")
        sys.stderr.flush()
        until = time.monotonic() + EXPIRES
        while time.monotonic() < until:
            time.sleep(EXPIRES / _LOOKS)
            if (now := _look(self._path)) is None:
                break
            if now != found:
                self._refuse(f"is being written by {_who(_holder(now))}, which has just renewed its claim.")
        return found

    def _refuse(self, reason: str) -> None:
        raise OutputError(f"{self._path.parent}: {reason} Wait for it to end, or give another directory.")

    def _set_aside(self, found: _Seen) -> None:
        # Where nothing guards, another may have taken the same lock over meanwhile: what is taken away is looked at again.
        aside = self._path.with_name(f".{self._path.name}.{os.getpid()}-{time.monotonic_ns()}")
        with suppress(FileNotFoundError):
            os.rename(self._path, aside)
            mine = (now := _look(aside)) is None or now.text == found.text
            if not mine:
                os.link(aside, self._path)
            aside.unlink()
            if not mine:
                raise FileExistsError

    def _renew(self) -> None:
        while not self._ended.wait(BEAT):
            with suppress(OSError):
                if self._path.read_text() != self._holder and not self._ended.is_set():
                    self._leave()
                os.utime(self._path)

    def _leave(self) -> None:
        """Ends the process here and now: whatever else it did would be written into the run of another."""
        with suppress(OSError, ValueError):
            sys.stderr.write(f"dist-sim: {self._path.parent}: another process goes on with this run; this one ends.\n")
            sys.stderr.flush()
        os._exit(LOST)


def holder_is_gone(path: Path) -> bool:
    """Whether the process that a lock file names is seen, from here, to be none any more. False where nobody can tell."""
    if (found := _look(path)) is None:
        return False
    holder = _holder(found)
    return _visible(holder) and _gone(holder)


@contextmanager
def _guarded(path: Path) -> Iterator[None]:
    """Within this context no other process is, where the file system has locks; exclusive creation is what is left elsewhere."""
    descriptor, until = os.open(path.with_name(f".{path.name}.guard"), os.O_RDWR | os.O_CREAT, 0o666), time.monotonic() + _GUARD_S
    try:
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                if error.errno in _TAKEN:
                    if time.monotonic() > until:
                        raise FileExistsError(error.errno, error.strerror) from error
                    time.sleep(0.02)
                    continue
                if error.errno not in _NO_LOCKS:
                    raise
            break
        yield
    finally:
        os.close(descriptor)


def _look(path: Path) -> _Seen | None:
    try:
        # Opened: a network file system may answer what it remembers to one that only asks.
        with path.open() as file:
            return _Seen(file.read(), os.fstat(file.fileno()).st_mtime_ns)
    except FileNotFoundError:
        return None


def _holder(seen: _Seen) -> dict[str, Any]:
    try:
        holder = json.loads(seen.text)
    except ValueError:  # half written by a process that died, or about to be
        return {}
    return holder if isinstance(holder, dict) else {}


def _myself() -> dict[str, Any]:
    return {
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "processes": _processes(),
        "started": _started(os.getpid()),
        "job": os.environ.get("SLURM_JOB_ID"),
        "restart": int(os.environ.get("SLURM_RESTART_COUNT", 0)),
    }


def _who(holder: dict[str, Any]) -> str:
    job = f", job {holder['job']}" if holder.get("job") else ""
    return f"process {holder.get('pid')} on {holder.get('host')}{job}"


def _processes() -> str | None:
    """Among which processes a number means one: a boot of a machine, and a PID namespace there. None if nobody can tell."""
    try:
        return f"{Path('/proc/sys/kernel/random/boot_id').read_text().strip()} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return None


def _visible(holder: dict[str, Any]) -> bool:
    """Whether this process would see the holder. Two containers may have one host name."""
    if holder.get("processes") is None and _processes() is None:
        return holder.get("host") == socket.gethostname()
    return holder.get("processes") == _processes()


def _earlier_attempt(holder: dict[str, Any]) -> bool:
    """Whether the queue, which runs one attempt of a job at a time, has begun another attempt of the holder's job: this one."""
    me = _myself()
    return me["job"] is not None and holder.get("job") == me["job"] and me["restart"] > holder.get("restart", 0)


def _end(holder: dict[str, Any]) -> None:
    """Ends an earlier attempt that still runs on this host, and waits until it is gone.

    Raises:
        OutputError: it does not go.
    """
    if not _visible(holder) or holder.get("started") is None:
        return
    until = time.monotonic() + BEAT
    while not _gone(holder):
        if time.monotonic() > until:
            raise OutputError(
                f"process {holder['pid']} of job {holder['job']}, an earlier attempt, cannot be ended. End it by hand."
            )
        with suppress(ProcessLookupError, PermissionError):
            os.kill(holder["pid"], signal.SIGKILL)
        time.sleep(0.05)


def _gone(holder: dict[str, Any]) -> bool:
    # A process number may have been given to another process since.
    return holder.get("started") is not None and _started(holder["pid"]) != holder["started"]


def _started(pid: int) -> str | None:
    """When a process of this host was started, in the words of its system; None if there is none or nobody can tell."""
    try:
        state, *fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return None if state in "ZX" else fields[18]
    except (OSError, IndexError):
        pass
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except OSError:
        pass
    return "unknown"
