"""Who started this process, as one of how many: read from its environment, without asking anybody.

What the launchers set, and JAX's own detection (which needs Open MPI 4 or older, or all of SLURM's step variables), differ; this
one is a pure function, so that what it makes of an environment can be shown and tested.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

from dist_sim.errors import DeviceError, ParameterError

TPU_PORT = 8482
_PORTS = 40000, 20000  # first port and number of ports that a SLURM step takes its own from


@final
@dataclass(frozen=True, kw_only=True)
class Launch:
    """One process of a program.

    Attributes:
        launcher: 'slurm', 'openmpi', 'mpich', 'tpu', 'explicit' or 'single'.
        processes: how many there are; process: this one, from 0.
        local_process, local_processes: among those on this node; None where it is not told.
        coordinator: host:port of process 0; None if the processes have to ask each other for it (MPI), or need none.
        nodes: names of the nodes, where they are told.
        run: a word that processes of another run do not have; '' where none is told.
        note: a remark to show to the user, or ''.
    """

    launcher: str
    processes: int = 1
    process: int = 0
    local_process: int | None = None
    local_processes: int | None = None
    coordinator: str | None = None
    nodes: tuple[str, ...] = ()
    run: str = ""
    note: str = ""

    @property
    def under_mpi(self) -> bool:
        """Whether the processes can talk to each other through MPI."""
        return self.launcher in ("openmpi", "mpich")


def detect(
    environment: Mapping[str, str], *, coordinator: str | None = None, processes: int | None = None, process: int | None = None
) -> Launch:
    """How this process was started.

    Addresses given here, or as DIST_SIM_COORDINATOR, DIST_SIM_PROCESSES and DIST_SIM_PROCESS, go before what a launcher says;
    mpirun inside a SLURM job before SLURM. DIST_SIM_RUN is then the word of this run.

    Args:
        coordinator: host:port of process 0; processes: how many; process: this one, from 0. All three, or none.

    Raises:
        ParameterError: part of an address, or one that makes no sense. DeviceError: variables that contradict each other.
    """
    given = {
        "coordinator": coordinator or environment.get("DIST_SIM_COORDINATOR") or None,
        "processes": processes if processes is not None else environment.get("DIST_SIM_PROCESSES"),
        "process": process if process is not None else environment.get("DIST_SIM_PROCESS"),
    }
    if any(value is not None for value in given.values()):
        return _explicit(given, environment.get("DIST_SIM_RUN", ""))
    slurm, mpi = _slurm(environment), _mpi(environment)
    # srun --mpi=pmi2 sets both, and they agree; mpirun in a job's script sees the variables of the script's only process.
    if slurm is not None and (mpi is None or (mpi.processes, mpi.process) == (slurm.processes, slurm.process)):
        return slurm
    found = mpi or _tpu(environment)
    if found is not None:
        return found
    tasks = environment.get("SLURM_NTASKS", "1")
    if "SLURM_JOB_ID" in environment and "SLURM_STEP_NODELIST" not in environment and tasks.isdigit() and int(tasks) > 1:
        note = f"this job has {tasks} tasks, but one process was started. Start all of them: srun dist-sim run FILE.py"
        return Launch(launcher="single", note=note)
    return Launch(launcher="single")


def first_node(nodelist: str) -> str:
    """The first name of a SLURM list of nodes: 'gpu[007-010,12],login1' -> 'gpu007'."""
    match = re.match(r"([^,\[]+)(?:\[(\w+)[^\]]*\]([^,\[]*))?", nodelist)
    if match is None:
        raise DeviceError(f"SLURM_STEP_NODELIST={nodelist!r}: is no list of nodes.")
    return "".join(part or "" for part in match.groups())


def _explicit(given: Mapping[str, str | int | None], run: str) -> Launch:
    shown = ", ".join(f"{name}={value}" for name, value in given.items() if value is not None)
    if missing := [f"--{name}" for name, value in given.items() if value is None]:
        raise ParameterError(
            f"{shown}: {' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing. Give each process "
            "--coordinator HOST:PORT (of process 0) --processes N --process R, R from 0 to N - 1."
        )
    processes, process = (_number(name, given[name]) for name in ("processes", "process"))
    coordinator = str(given["coordinator"])
    if processes < 1 or not 0 <= process < processes:
        raise ParameterError(f"{shown}: --process must be from 0 to --processes - 1.")
    if processes == 1:
        return Launch(launcher="single")
    host, colon, port = coordinator.rpartition(":")
    if not colon or not host or not port.isdigit() or not 0 < int(port) < 65536:
        raise ParameterError(f"--coordinator {coordinator}: must be HOST:PORT of process 0, as in 10.0.0.1:40000.")
    return Launch(launcher="explicit", processes=processes, process=process, coordinator=coordinator, run=run)


def _slurm(environment: Mapping[str, str]) -> Launch | None:
    # Inside srun only: the batch script itself has a job, but is no step.
    names = ("SLURM_JOB_ID", "SLURM_STEP_ID", "SLURM_STEP_NUM_TASKS", "SLURM_PROCID", "SLURM_STEP_NODELIST")
    if any(name not in environment for name in names):
        return None
    job, step, tasks, process, nodelist = (environment[name] for name in names)
    if _number(names[2], tasks) == 1:
        return None
    first, number = _PORTS
    # Two steps of one job run at once: the port is the step's own.
    port = first + zlib.crc32(f"{job}.{step}".encode()) % number
    here = environment.get("SLURM_STEP_TASKS_PER_NODE", "")
    alike = re.fullmatch(r"(\d+)(?:\(x\d+\))?", here)
    return Launch(
        launcher="slurm",
        processes=_number(names[2], tasks),
        process=_number(names[3], process),
        local_process=_optional(environment, "SLURM_LOCALID"),
        local_processes=int(alike[1]) if alike else None,
        coordinator=f"{first_node(nodelist)}:{environment.get('JAX_COORDINATOR_PORT', port)}",
        nodes=(nodelist,),
        run=f"step {job}.{step}",
    )


def _mpi(environment: Mapping[str, str]) -> Launch | None:
    for launcher, size, rank, local_rank, local_size in (
        ("openmpi", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_LOCAL_RANK", "OMPI_COMM_WORLD_LOCAL_SIZE"),
        ("mpich", "PMI_SIZE", "PMI_RANK", "MPI_LOCALRANKID", "MPI_LOCALNRANKS"),
    ):
        if size in environment and rank in environment:
            if (processes := _number(size, environment[size])) == 1:
                return None
            return Launch(
                launcher=launcher,
                processes=processes,
                process=_number(rank, environment[rank]),
                local_process=_optional(environment, local_rank),
                local_processes=_optional(environment, local_size),
            )
    return None


def _tpu(environment: Mapping[str, str]) -> Launch | None:
    hosts = [host for host in environment.get("TPU_WORKER_HOSTNAMES", "").split(",") if host]
    if len(hosts) < 2 or "TPU_WORKER_ID" not in environment:
        return None
    worker = _number("TPU_WORKER_ID", environment["TPU_WORKER_ID"])
    slices = _optional(environment, "MEGASCALE_NUM_SLICES") or 1
    number = _optional(environment, "MEGASCALE_SLICE_ID") or 0
    host = environment.get("MEGASCALE_COORDINATOR_ADDRESS", hosts[0]).partition(":")[0]
    if worker >= len(hosts):
        raise DeviceError(f"TPU_WORKER_ID={worker}: TPU_WORKER_HOSTNAMES names {len(hosts)} workers.")
    return Launch(
        launcher="tpu",
        processes=len(hosts) * slices,
        process=number * len(hosts) + worker,
        local_process=0,
        local_processes=1,
        coordinator=f"{host}:{TPU_PORT}",
        nodes=tuple(hosts),
    )


def _number(name: str, text: object) -> int:
    try:
        return int(str(text))
    except ValueError:
        raise ParameterError(f"{name}={text}: must be a whole number.") from None


def _optional(environment: Mapping[str, str], name: str) -> int | None:
    return _number(name, environment[name]) if name in environment else None
