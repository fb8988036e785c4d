from __future__ import annotations

import ctypes
import functools
import sys
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self, final

import jax
import numpy as np
from jax.sharding import Mesh

from dist_sim import kernels
from dist_sim.errors import DeviceError
from dist_sim.kernels.gather import Allgather, Meeting, open_meeting, shared_bytes
from dist_sim.partition.exchange.all_gather_memory import AllGatherMemory, push_gathered
from dist_sim.partition.processes import Processes, processes_of
from dist_sim.partition.shared_memory import shared_memory

_INSTEAD = "Or use exchange='mask', which needs no MPI and gives the same spikes."
_HINDRANCES = (
    "",
    "there is no mpi4py, or no MPI that it could load. pip install 'dist_sim[mpi]' (and mpich, where the machine has no MPI).",
    "it is not this rank of one MPI program: MPI knows other ranks than JAX, or none. Start all processes by the mpirun of "
    "mpi4py's MPI, `mpirun -n N dist-sim run FILE.py`, or by `srun --mpi=pmi2` (MPICH) or `srun --mpi=pmix` (Open MPI). "
    "`dist-sim doctor` shows which MPI mpi4py loads.",
    "its MPI may be called by the main thread only, and devices have threads of their own. Leave mpi4py.rc.thread_level at "
    "'multiple', and use an MPI built with support for threads.",
    "there is no C++ compiler (g++ or clang++) to build the exchange with. apt-get install g++, or module load gcc.",
)
_NO_MPI4PY, _NOT_THE_RANK, _ONE_THREAD, _NO_COMPILER = range(1, 5)


@final
@dataclass(frozen=True)
class AllGatherMPI:
    """The masks of `AllGather`, gathered by processes inside the compiled step: microseconds where gloo takes hundreds.

    For CPU devices of processes that mpirun has started (or srun --mpi=...), with mpi4py. Where all processes share the memory of
    one machine, their devices meet there, as in `AllGatherMemory`. Else the devices of a process do, and one of them calls
    MPI_Allgather for all. One process needs no MPI.

    Args:
        meeting: of the devices; None until `on` has opened it.
    """

    name: ClassVar[str] = "mpi"
    meeting: Meeting | None = None

    def on(self, mesh: Mesh) -> Self:
        """For this mesh. Every process calls it, and what one of them cannot do, all refuse.

        Raises:
            DeviceError: devices that are no CPUs, or not equally many of each process in the order of processes; no mpi4py, or no
                C++ compiler; processes that are not the ranks of one MPI program; an MPI for one thread.
        """
        processes = processes_of(mesh)
        if processes.count == 1:
            return replace(self, meeting=AllGatherMemory().on(mesh).meeting)
        where = "exchange='mpi'"
        if (platform := mesh.devices.flat[0].platform) != "cpu":
            raise DeviceError(f"{where}: the devices are {platform!r}, and MPI joins CPUs. Use exchange='mask'.")
        owners = [device.process_index for device in mesh.devices.flat]
        each = len(owners) // processes.count
        if owners != [process for process in range(processes.count) for _ in range(each)]:
            raise DeviceError(
                f"{where}: the devices of the mesh belong to the processes {owners}. MPI gathers in the order of processes, "
                "equally much of each: let dist_sim make the mesh (devices=N), or use exchange='mask'."
            )
        found = _hindrances(processes, begin=True)
        if found.any():
            process = int(np.flatnonzero(found)[0])
            told = f"process {process} ({np.count_nonzero(found)} of {processes.count} processes)"
            raise DeviceError(f"{where}: {told}: {_HINDRANCES[found[process]]} {_INSTEAD}")
        shared = shared_memory(_communicator(), shared_bytes(mesh.size))
        return replace(self, meeting=open_meeting(processes.count, each, shared, _allgather()))

    def at(self, number: jax.Array) -> Self:
        """Inside `shard_map`: with the number of the meeting as an argument of the program, (1,) int32."""
        assert self.meeting is not None
        return replace(self, meeting=replace(self.meeting, number=number))

    def __call__(self, step, outbox, events, sources, history, *, num_delays: int, backend: str, counted=()):
        """As `AllGather`."""
        return push_gathered(
            self.meeting, step, outbox, events, sources, history, num_delays=num_delays, backend=backend, counted=counted
        )

    def bytes_per_step(self, num_slots: int, num_devices: int) -> int:
        """Bytes that a device receives per step."""
        return num_slots // 8

    def grown(self) -> Self:
        """The strategy to run a chunk again with after an overflow."""
        return self


def mpi_is_there(processes: Processes) -> bool:
    """Whether all processes have begun to use MPI, as ranks of one program."""
    return not _hindrances(processes, begin=False).any()


def _hindrances(processes: Processes, *, begin: bool) -> np.ndarray:
    """(count,) what keeps each process from using MPI, as an index of `_HINDRANCES`.

    Args:
        begin: import mpi4py, and so start MPI, where the program has not yet.
    """
    return processes.gather(np.array([_hindrance(processes, begin)], np.int32))[:, 0]


def _hindrance(processes: Processes, begin: bool) -> int:
    if not kernels.can_compile():
        return _NO_COMPILER
    if not begin and "mpi4py.MPI" not in sys.modules:
        return _NO_MPI4PY
    try:
        from mpi4py import MPI
    except (ImportError, RuntimeError):
        return _NO_MPI4PY
    if not MPI.Is_initialized() or (MPI.COMM_WORLD.size, MPI.COMM_WORLD.rank) != (processes.count, processes.index):
        return _NOT_THE_RANK
    return _ONE_THREAD if MPI.Query_thread() < MPI.THREAD_SERIALIZED else 0


@functools.cache
def _communicator() -> Any:
    """One of its own: no message of the program can be taken for one of the exchange."""
    from mpi4py import MPI

    return MPI.COMM_WORLD.Dup()


@functools.cache
def _allgather() -> Allgather:
    from mpi4py import MPI

    # Looked up in the library that mpi4py itself is linked with.
    function = ctypes.cast(ctypes.CDLL(MPI.__file__).MPI_Allgather, ctypes.c_void_p)
    assert function.value is not None
    return Allgather(address=function.value, communicator=MPI._handleof(_communicator()), byte=MPI._handleof(MPI.BYTE))
