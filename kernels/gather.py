"""What every device has, gathered on all of them in memory or by MPI, inside the compiled step: `all_gather`, compiled."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import Any, ClassVar, final

import jax
import jax.numpy as jnp

from dist_sim.errors import DeviceError
from dist_sim.kernels import backend as backends

_MOST = 2**31 - 1  # bytes of one process: MPI counts them in an int
_CAPACITY = 2**18  # bytes that a device can give by memory that processes share: spikes of two million neurons


@final
@dataclass(frozen=True, kw_only=True)
class Allgather:
    """MPI's function of this name in the memory of this process.

    Attributes:
        address: of the function.
        communicator, byte: handles of a communicator that nobody else uses, and of MPI_BYTE.
    """

    address: int
    communicator: int
    byte: int


@final
@dataclass(frozen=True)
class Meeting:
    """Where the devices of a process meet to gather: it is opened once, and used by one program at a time.

    Attributes:
        processes, devices: how many processes gather, and devices of each.
        number: of the meeting in this process; inside `shard_map` an array (1,) int32, or else it is a constant of the program.
    """

    structure: ClassVar[tuple[str, ...]] = ("processes", "devices")

    processes: int
    devices: int
    number: Any


def open_meeting(processes: int, devices: int, shared: int | None = None, allgather: Allgather | None = None) -> Meeting:
    """A meeting of `devices` devices in each of `processes` processes.

    Args:
        shared: address of memory that all processes share: `shared_bytes` zeros, which stay for good.
        allgather: for what does not go by shared memory; one process needs neither.
    """
    start = _function("dist_sim_open_meeting", ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p, ctypes.c_int64, ctypes.c_void_p,
                      ctypes.c_ssize_t, ctypes.c_ssize_t)  # fmt: skip
    found = (None, 0, 0) if allgather is None else (allgather.address, allgather.communicator, allgather.byte)
    return Meeting(processes, devices, start(processes, devices, shared, _CAPACITY, *found))


def shared_bytes(devices: int) -> int:
    """Bytes of memory in which so many devices of several processes meet."""
    return _function("dist_sim_meeting_bytes", ctypes.c_int64, ctypes.c_int64)(devices, _CAPACITY)


def _function(name: str, *arguments: Any) -> Any:
    found = getattr(backends.compiled("gather")._lib, name)
    found.argtypes, found.restype = arguments, ctypes.c_int64
    return found


def gather(place: jax.Array, mine: jax.Array, turn: jax.Array, meeting: Meeting) -> tuple[jax.Array, jax.Array]:
    """Inside `shard_map`, on every device: what each device gives, joined along the first axis in order of places.

    Args:
        place: () int32, of the device in the mesh; the devices of a process lie one after the other.
        mine: of the same shape everywhere.
        turn: () int32, the same everywhere. A program that gathers at several places hands what one returns to the next: its
            devices have to come to them in one order, and a compiler knows no other than that of data.

    Returns:
        What was gathered, and the next turn.

    Raises:
        DeviceError: more than MPI can carry at once.
    """
    if meeting.processes > 1 and (size := mine.size * mine.dtype.itemsize * meeting.devices) > _MOST:
        raise DeviceError(
            f"exchange='mpi': {size:,} bytes per process and interval, and MPI carries up to {_MOST:,} at once. Spread the "
            "network over more processes, or use exchange='mask'."
        )
    results = [
        jax.ShapeDtypeStruct((meeting.processes * meeting.devices * mine.shape[0], *mine.shape[1:]), mine.dtype),
        jax.ShapeDtypeStruct((), "int32"),
    ]
    number = jnp.asarray(meeting.number, jnp.int32)
    return backends.call("gather", results, place, number, mine, turn, has_side_effect=True, source="gather")


def after(given: jax.Array, first: jax.Array) -> jax.Array:
    """`given`, in its place, once `first` is there; a compiler takes it for a result of both."""
    result = jax.ShapeDtypeStruct(given.shape, given.dtype)
    return backends.call("after", [result], given, first, in_place={0: 0}, source="gather")[0]
