"""What `dist-sim doctor` makes of what this process sees: what is wrong with it, and what to do."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, final

from dist_sim.cluster.launch import detect
from dist_sim.cluster.sight import PACKAGES, Sight
from dist_sim.errors import DistSimError

_OPTIONAL = {"mpi4py", "dist_sim"}
_SHARED = ("nfs", "nfs4", "lustre", "gpfs", "beegfs", "ceph", "fuse.ceph", "cifs", "afs")
_LAUNCHERS = {"slurm": "srun", "openmpi": "Open MPI's mpirun", "mpich": "MPICH's mpirun", "tpu": "a TPU pod", "single": "none"}
_GIB, _MIB = 2**30, 2**20


@final
@dataclass(frozen=True)
class Finding:
    """One line of the answer: `topic`, what is seen, and, unless it is ok, what to do."""

    level: Literal["ok", "warning", "error"]
    topic: str
    seen: str
    remedy: str = ""


def diagnose(sight: Sight) -> list[Finding]:
    """All findings about what was seen."""
    return [finding for check in CHECKS for finding in check(sight)]


def shown(findings: list[Finding]) -> str:
    """Findings as text, a line each, with what to do below; the last line counts them."""
    width = max(len(f.topic) for f in findings)
    lines = []
    for f in findings:
        lines.append(f"{f.level:<8} {f.topic:<{width}}  {f.seen}")
        if f.remedy:
            lines.append(f"{'':<9}{'':<{width}}  -> {f.remedy}")
    counts = Counter(f.level for f in findings)
    return "\n".join([*lines, f"{counts['error']} errors, {counts['warning']} warnings"])


def processes(environ: Mapping[str, str]) -> tuple[str, int]:
    """The launcher that the environment speaks of and its number of processes; ("none", 1) if it contradicts itself."""
    try:
        launch = detect(environ)
    except DistSimError:
        return "none", 1
    return _LAUNCHERS.get(launch.launcher, launch.launcher), launch.processes


def _python(sight: Sight) -> Iterator[Finding]:
    number = ".".join(map(str, sight.python))
    if not (3, 11) <= sight.python[:2] <= (3, 13):
        yield Finding("error", "Python", number, "use Python 3.11, 3.12 or 3.13")
    else:
        yield Finding("ok", "Python", number)


def _versions(sight: Sight) -> Iterator[Finding]:
    missing = [name for name in PACKAGES if sight.versions.get(name) is None and name not in _OPTIONAL]
    if missing:
        yield Finding("error", "packages", f"missing: {', '.join(missing)}", f"pip install {' '.join(missing)}")
    jax, jaxlib = sight.versions.get("jax"), sight.versions.get("jaxlib")
    if jax and jaxlib and jax.split(".")[:2] != jaxlib.split(".")[:2]:
        yield Finding("error", "packages", f"jax {jax} with jaxlib {jaxlib}", f"pip install jax=={jax} jaxlib=={jax}")
    yield Finding("ok", "packages", ", ".join(f"{name} {v}" for name, v in sight.versions.items() if v))


def _devices(sight: Sight) -> Iterator[Finding]:
    if sight.device_error or not sight.devices:
        chosen = sight.environ.get("JAX_PLATFORMS")
        of_it = f" of JAX_PLATFORMS={chosen}" if chosen else ""
        # Where a platform has no device JAX may say nothing but that something is not so.
        why = "" if sight.device_error == "AssertionError" else f": {sight.device_error}"
        remedy = "pip install 'jax[cuda12]', for GPUs that this machine has; else " if "cuda" in (chosen or "") else ""
        yield Finding("error", "devices", f"JAX finds none{of_it}{why}", f"{remedy}unset JAX_PLATFORMS, or set it to cpu")
        return
    seen = ", ".join(f"{n} x {platform} ({kind})" for (platform, kind), n in Counter(sight.devices).items())
    if sight.gpus and all(platform == "cpu" for platform, _ in sight.devices):
        chosen = sight.environ.get("JAX_PLATFORMS")
        remedy = f"unset JAX_PLATFORMS={chosen}" if chosen else "pip install 'jax[cuda12]' (or cuda13, by the driver)"
        yield Finding("warning", "devices", f"{seen}, though this machine has {sight.gpus} NVIDIA GPUs", remedy)
    else:
        yield Finding("ok", "devices", seen)


def _launcher(sight: Sight) -> Iterator[Finding]:
    environ = sight.environ
    try:
        detect(environ)
    except DistSimError as error:
        yield Finding("error", "launcher", str(error), "unset what does not belong to this start")
        return
    launcher, count = processes(environ)
    tasks = environ.get("SLURM_NTASKS", "")
    if launcher == "none" and "SLURM_JOB_ID" in environ and "SLURM_STEP_NODELIST" not in environ:
        yield Finding("warning", "launcher", f"the shell of SLURM job {environ['SLURM_JOB_ID']}, not a step of it",
                      "start with srun, as in: srun dist-sim run FILE.py")  # fmt: skip
    elif launcher.endswith("mpirun") and tasks.isdigit() and int(tasks) > 1 and int(tasks) != count:
        yield Finding("warning", "launcher", f"{launcher} with {count} processes inside a SLURM job of {tasks} tasks",
                      "start with srun, or give mpirun as many processes as there are tasks")  # fmt: skip
    else:
        yield Finding("ok", "launcher", f"{launcher}, {count} process{'es' if count > 1 else ''}")


def _mpi(sight: Sight) -> Iterator[Finding]:
    environ = sight.environ
    launcher, count = processes(environ)
    if sight.versions.get("mpi4py") is None:
        if launcher.endswith("mpirun"):
            yield Finding("error", "MPI", f"{launcher}, but no mpi4py", "pip install mpi4py, built for this MPI")
        else:
            yield Finding("ok", "MPI", "no mpi4py; it is needed under mpirun only")
        return
    if sight.mpi is None:
        level = "error" if launcher.endswith("mpirun") else "warning"
        yield Finding(level, "MPI", f"mpi4py loads no library: {sight.mpi_error}", "pip install mpich, or module load an MPI")
        return
    library = (
        "Open MPI" if "Open MPI" in sight.mpi else "MPICH" if re.search("MPICH|Intel|MVAPICH|CRAY", sight.mpi) else "another MPI"
    )
    if launcher.endswith("mpirun") and library != "another MPI" and not launcher.startswith(library):
        abi = "openmpi" if launcher.startswith("Open") else "mpich"
        yield Finding("error", "MPI", f"{launcher}, but mpi4py loads {library}: each process is rank 0 of 1, or crashes",
                      f"use the mpirun of {library}, or set MPI4PY_MPIABI={abi}")  # fmt: skip
    elif launcher == "srun" and count > 1 and not {"PMI_RANK", "PMIX_RANK"} & environ.keys():
        yield Finding("warning", "MPI", f"srun gives {library} no ranks: each of {count} processes is rank 0 of 1",
                      "only if you use MPI: srun --mpi=pmi2 (MPICH) or --mpi=pmix (Open MPI)")  # fmt: skip
    else:
        yield Finding("ok", "MPI", f"{library}: {sight.mpi}")


def _network(sight: Sight) -> Iterator[Finding]:
    _, count = processes(sight.environ)
    nodes = sight.environ.get("SLURM_STEP_NUM_NODES", sight.environ.get("SLURM_JOB_NUM_NODES", "1"))
    several = nodes.isdigit() and int(nodes) > 1
    for name, address in sight.addresses.items():
        what = "this machine" if name == sight.host else "the coordinator"
        if address is None:
            level = "error" if count > 1 else "warning"
            yield Finding(level, "network", f"{what}, {name}, has no address: processes could not connect to it",
                          f"add it to /etc/hosts or the name service; test: getent hosts {name}")  # fmt: skip
        elif address.startswith("127.") and several:
            yield Finding("error", "network", f"{what}, {name}, is {address}: other nodes would connect to themselves",
                          f"let {name} be its network address in /etc/hosts")  # fmt: skip
        else:
            yield Finding("ok", "network", f"{what}, {name}, is {address}")


def _cores(sight: Sight) -> Iterator[Finding]:
    seen = f"{sight.cores} of {sight.all_cores}"
    local = sight.environ.get("SLURM_NTASKS_PER_NODE", sight.environ.get("OMPI_COMM_WORLD_LOCAL_SIZE", "1"))
    local = int(local) if local.isdigit() else 1
    if sight.quota is not None and sight.quota < sight.cores:
        yield Finding("warning", "cores", f"{seen}, with time for {sight.quota:g}: threads beyond are stopped and started",
                      f"bind to {max(1, int(sight.quota))} cores (taskset, --cpus-per-task), or raise the limit")  # fmt: skip
    elif local > 1 and sight.cores == sight.all_cores:
        share = max(1, sight.all_cores // local)
        yield Finding("warning", "cores", f"each of {local} processes on this node takes all {sight.all_cores}",
                      f"srun --cpus-per-task={share} --cpu-bind=cores, or mpirun --bind-to core")  # fmt: skip
    elif sight.cores == 1 < sight.all_cores and "SLURM_JOB_ID" in sight.environ:
        yield Finding("warning", "cores", f"{seen}: kernels run on one thread", "ask for more: --cpus-per-task=N")
    else:
        yield Finding("ok", "cores", seen)


def _memory(sight: Sight) -> Iterator[Finding]:
    bounds = [b for b in (sight.memory, sight.memory_limit) if b is not None]
    if not bounds:
        yield Finding("ok", "memory", "unknown")
        return
    limited = f", limited to {_bytes(sight.memory_limit)}" if sight.memory_limit is not None else ""
    seen = f"{_bytes(sight.memory)}{limited}"
    if min(bounds) < 2 * _GIB:
        yield Finding("warning", "memory", seen, "ask for more: --mem=8G in SLURM, --memory in a container")
    else:
        yield Finding("ok", "memory", seen)
    if sight.shm_free is not None and sight.shm_free < 64 * _MIB:
        yield Finding("warning", "memory", f"/dev/shm has {_bytes(sight.shm_free)} left; MPI and NCCL talk through it",
                      "mount it larger: docker --shm-size=1g, apptainer --bind /dev/shm")  # fmt: skip


def _compiler(sight: Sight) -> Iterator[Finding]:
    if sight.compiler is None:
        yield Finding("warning", "compiler", "no g++: networks run on the slower reference kernels",
                      "apt-get install g++, module load gcc, or CXX=/path/of/a/compiler")  # fmt: skip
    else:
        yield Finding("ok", "compiler", sight.compiler)


def _home(sight: Sight) -> Iterator[Finding]:
    if sight.home:
        yield Finding("warning", "home", f"{sight.home}; compiled kernels go into a temporary folder",
                      "let HOME be a folder you may write to, or BRAINEVENT_CACHE_DIR and MPLCONFIGDIR")  # fmt: skip


def _disk(sight: Sight) -> Iterator[Finding]:
    seen = f"{sight.folder} on {sight.file_system}, {_bytes(sight.disk_free)} free"
    if not sight.writable:
        yield Finding("error", "disk", f"{seen}: not writable", "give --out a folder you may write to")
    elif sight.disk_free is not None and sight.disk_free < _GIB:
        yield Finding("warning", "disk", seen, "make room, or give --out a folder with more")
    elif sight.file_system in ("tmpfs", "ramfs"):
        yield Finding("warning", "disk", f"{seen}: it is gone after a reboot and takes memory", "give --out a folder on a disk")
    else:
        yield Finding("ok", "disk", seen)
    if sight.file_system in _SHARED and sight.environ.get("HDF5_USE_FILE_LOCKING", "").upper() not in ("FALSE", "0"):
        yield Finding("warning", "disk", f"HDF5 locks files, which {sight.file_system} may refuse or never grant",
                      "export HDF5_USE_FILE_LOCKING=FALSE")  # fmt: skip


def _bytes(count: int | None) -> str:
    return "unknown" if count is None else f"{count / _GIB:.1f} GiB" if count >= _GIB else f"{count / _MIB:.0f} MiB"


CHECKS: tuple[Callable[[Sight], Iterator[Finding]], ...] = (
    _python, _versions, _devices, _launcher, _mpi, _network, _cores, _memory, _compiler, _home, _disk
)  # fmt: skip
