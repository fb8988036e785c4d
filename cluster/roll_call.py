"""The processes of one run come together before JAX joins them: process 0 answers on the coordinator's port, the others call it.

JAX's coordinator knows its processes by their numbers alone, and several may listen on one port: where two runs of a host had the
same one, processes of both joined, and all were aborted. Here each says which run it is of. Who is of another is refused, and
disturbs nobody.
"""

from __future__ import annotations

import errno
import json
import select
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import final

from dist_sim.cluster.launch import Launch
from dist_sim.errors import DeviceError

_TELL_AFTER_S, _AGAIN_S, _GREETING_S, _LONGEST = 15.0, 0.2, 5.0, 4096
_OURS, _GO = "dist_sim: ", "all are here"
_OTHER_PORT = "Give each run a --coordinator port of its own."


@final
@dataclass(frozen=True)
class _Caller:
    """A process that has called, and waits for the others."""

    connection: socket.socket
    process: int

    def waits(self) -> bool:
        """Whether it still does; it says nothing more."""
        asking = select.poll()
        asking.register(self.connection, select.POLLIN)
        return not asking.poll(0)


def roll_call(launch: Launch, address: str, within_s: float, tell: Callable[[str], None]) -> None:
    """Returns when all processes of the run have come.

    Args:
        launch: with the coordinator.
        address: that process 0 listens on; within_s: seconds to wait for the others.
        tell: called with a line for the user if the others are long in coming.

    Raises:
        DeviceError: not all come in time; another run, or another program, has the port.
    """
    assert launch.coordinator is not None
    host, _, port = launch.coordinator.rpartition(":")
    until = time.monotonic() + within_s
    if launch.process == 0:
        _answer(launch, address, int(port), until, within_s, tell)
    else:
        _call(launch, host, int(port), until, within_s, tell)


def _answer(launch: Launch, address: str, port: int, until: float, within_s: float, tell: Callable[[str], None]) -> None:
    callers: dict[int, _Caller] = {}
    missing, telling = list(range(1, launch.processes)), time.monotonic() + _TELL_AFTER_S
    with _listening(launch, address, port) as listener:
        try:
            while missing:
                if time.monotonic() > until:
                    raise _failed(launch, f"process {_listed(missing)} had not come within {within_s:.0f} s")
                if time.monotonic() > telling:
                    tell(f"waiting for process {_listed(missing)} of {launch.processes} at {launch.coordinator}")
                    telling = until + 1
                with suppress(OSError):  # one that leaves while it is answered
                    listener.settimeout(_AGAIN_S)
                    connection, _ = listener.accept()
                    if (caller := _heard(launch, connection, callers)) is not None:
                        callers[caller.process] = caller
                missing = [p for p in range(1, launch.processes) if p not in callers or not callers[p].waits()]
        except BaseException:
            for caller in callers.values():
                caller.connection.close()
            raise
    # Nobody listens on the port any more, and it is JAX's.
    for caller in callers.values():
        with suppress(OSError), caller.connection:
            caller.connection.sendall(f"{_OURS}{_GO}\n".encode())


def _listening(launch: Launch, address: str, port: int) -> socket.socket:
    listener = socket.socket()
    try:
        # For connections of a run that has just ended; of two that listen the second is refused, which JAX's would not be.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((address, port))
        listener.listen(launch.processes)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise _failed(launch, f"another run, or another program, listens there. {_OTHER_PORT}") from None
        raise _failed(launch, f"process 0 cannot listen there: {error.strerror}") from error
    return listener


def _heard(launch: Launch, connection: socket.socket, callers: dict[int, _Caller]) -> _Caller | None:
    """A process of this run, from what it says; whoever else called is told why it is refused."""
    connection.settimeout(_GREETING_S)
    try:
        process, processes, run = json.loads(_line(connection))
        process, reason = int(process), _reason(launch, int(process), int(processes), str(run), callers)
    except (OSError, ValueError, TypeError):
        connection.close()  # no process of ours
        return None
    if reason:
        with connection:
            connection.sendall(f"{_OURS}{reason}\n".encode())
        return None
    return _Caller(connection, process)


def _reason(launch: Launch, process: int, processes: int, run: str, callers: dict[int, _Caller]) -> str:
    """Why a process that calls is refused, or ''."""
    if run and launch.run and run != launch.run:
        return f"another run waits there: that is {launch.run}, this is {run}. {_OTHER_PORT}"
    if processes != launch.processes or not 0 < process < processes:
        return f"the run that waits there has {launch.processes} processes, this one {processes}."
    if process in callers and callers[process].waits():
        return (
            f"process {process} of this run is there already. Two runs with one --coordinator? {_OTHER_PORT} Started by hand, "
            "they are told apart by DIST_SIM_RUN, any word that all processes of a run have in their environment."
        )
    return ""


def _call(launch: Launch, host: str, port: int, until: float, within_s: float, tell: Callable[[str], None]) -> None:
    said, telling = f"{json.dumps([launch.process, launch.processes, launch.run])}\n".encode(), time.monotonic() + _TELL_AFTER_S
    while True:
        if launch.process == 1 and time.monotonic() > telling:  # a line, whoever of all is missing
            tell(f"waiting for process 0 at {launch.coordinator}")
            telling = until + 1
        with suppress(OSError), socket.create_connection((host, port), timeout=_GREETING_S) as connection:
            connection.sendall(said)
            connection.settimeout(max(_AGAIN_S, until - time.monotonic()))
            if answer := _line(connection).decode(errors="replace").strip():
                why = answer.removeprefix(_OURS)
                if why == answer:
                    raise _failed(launch, f"another program answers there. {_OTHER_PORT}")
                if why != _GO:
                    raise _failed(launch, why)
                return
        if time.monotonic() > until:
            raise _failed(launch, f"process 0 had not called all together within {within_s:.0f} s")
        time.sleep(_AGAIN_S)


def _line(connection: socket.socket) -> bytes:
    found = b""
    while not found.endswith(b"\n") and len(found) < _LONGEST and (more := connection.recv(_LONGEST)):
        found += more
        if not found.isascii():  # of another protocol
            break
    return found


def _failed(launch: Launch, why: str) -> DeviceError:
    return DeviceError(
        f"process {launch.process} of {launch.processes} ({launch.launcher}): the processes did not find each other at "
        f"{launch.coordinator}: {why}"
    )


def _listed(processes: list[int]) -> str:
    return ", ".join(map(str, processes[:10])) + (f" and {len(processes) - 10} more" if len(processes) > 10 else "")
