"""Memory that the processes of one machine share."""

from __future__ import annotations

import ctypes
import mmap
import os
import tempfile
from contextlib import suppress
from typing import Any

_FOLDER = "/dev/shm"
_mapped: list[mmap.mmap] = []  # for good: compiled programs know the addresses


def shared_memory(communicator: Any, size: int) -> int | None:
    """Address of `size` zeros that all processes of an MPI communicator share, or None on all of them where they cannot.

    It has a name for as long as it takes all to find it, so that nothing of it stays when they end, however they do.
    """
    from mpi4py import MPI

    machine = communicator.Split_type(MPI.COMM_TYPE_SHARED)
    alone = machine.size < communicator.size
    machine.Free()
    if communicator.allreduce(alone, MPI.LOR):
        return None
    path, found = None, None
    if communicator.rank == 0:
        with suppress(OSError):
            file, path = tempfile.mkstemp(prefix="dist_sim-", dir=_FOLDER)
            with os.fdopen(file, "r+b"), suppress(OSError):
                os.posix_fallocate(file, 0, size)  # now, and not by a signal when it is first written to
    path = communicator.bcast(path)
    if path is not None:
        with suppress(OSError, ValueError), open(path, "r+b") as file:
            found = mmap.mmap(file.fileno(), size)
    everywhere = communicator.allreduce(found is not None, MPI.LAND)
    if communicator.rank == 0 and path is not None:
        with suppress(OSError):
            os.unlink(path)
    if not everywhere or found is None:
        return None
    _mapped.append(found)
    return ctypes.addressof(ctypes.c_char.from_buffer(found))
