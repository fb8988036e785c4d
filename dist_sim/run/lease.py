"""Who may write to a run directory: a lock file with a lease, so that a job that died does not hold it for ever.

`run.lock` names its holder (host, process, job) and is touched every few seconds. It is taken over when its process is gone from
this host, when the queue has started the same job again, or when nobody has touched it for three beats. What is left of an
earlier attempt (the queue loses sight of a process when a node's daemons die, or its network) is ended: on this host by the one
that takes over, elsewhere by itself, as soon as it finds that the lock is another's.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, final

from filelock import FileLock, Timeout

from dist_sim.errors import OutputError

BEAT = 10.0
EXPIRES = 3 * BEAT
LOST = 74


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
            # Decides between two that find the same lock stale at the same moment. On file systems without locks (some network
            # ones) the exclusive creation below is what is left.
            with _guard(path):
                if path.exists():
                    self._take_over()
                descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
                with os.fdopen(descriptor, "w") as file:
                    file.write(self._holder)
                    file.flush()
                    os.fsync(file.fileno())
        except (FileExistsError, Timeout) as error:
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

    def _take_over(self) -> None:
        try:
            holder = json.loads(self._path.read_text())
            age = time.time() - self._path.stat().st_mtime
        except FileNotFoundError:
            return
        except ValueError:
            holder, age = {}, time.time() - self._path.stat().st_mtime
        if _earlier_attempt(holder):
            _end(holder)
        elif reason := _held(holder, age):
            raise OutputError(f"{self._path.parent}: {reason} Wait for it to end, or give another directory.")
        self._path.unlink(missing_ok=True)

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


def _guard(path: Path) -> FileLock:
    return FileLock(path.with_name(f".{path.name}.guard"), timeout=10)


def _myself() -> dict[str, Any]:
    return {
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "started": _started(os.getpid()),
        "job": os.environ.get("SLURM_JOB_ID"),
        "restart": int(os.environ.get("SLURM_RESTART_COUNT", 0)),
    }


def _held(holder: dict[str, Any], age: float) -> str | None:
    """Why a lock counts, or None."""
    who = f"process {holder.get('pid')} on {holder.get('host')}" + (f", job {holder['job']}" if holder.get("job") else "")
    if holder.get("host") == socket.gethostname():
        return None if _gone(holder) else f"is being written by {who}."
    if age > EXPIRES:
        return None
    return f"was written by {who} {age:.0f} s ago; a claim that is not renewed ends after {EXPIRES:.0f} s."


def _earlier_attempt(holder: dict[str, Any]) -> bool:
    """Whether the queue, which runs one attempt of a job at a time, has begun another attempt of the holder's job: this one."""
    me = _myself()
    return me["job"] is not None and holder.get("job") == me["job"] and me["restart"] > holder.get("restart", 0)


def _end(holder: dict[str, Any]) -> None:
    """Ends an earlier attempt that still runs on this host, and waits until it is gone.

    Raises:
        OutputError: it does not go.
    """
    if holder.get("host") != socket.gethostname() or holder.get("started") is None:
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
