"""What a process can see of its machine and launcher. Looks only; `doctor` judges."""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import final

from dist_sim.cluster.launch import first_node

PACKAGES = ("dist_sim", "jax", "jaxlib", "numpy", "brainunit", "brainevent", "orbax-checkpoint", "h5py", "mpi4py")
_PROBE_S = 120.0  # the first start of a GPU or a cold network file system may take this long
_LIST_DEVICES = "import jax, json; print(json.dumps([[d.platform, d.device_kind] for d in jax.local_devices()]))"
_MPI_LIBRARY = "import mpi4py; mpi4py.rc.initialize = False; from mpi4py import MPI; print(MPI.Get_library_version())"


@final
@dataclass(frozen=True, kw_only=True)
class Sight:
    """Attributes:
    environ: environment variables.
    python: version; `versions`: package -> version, or None where it is missing.
    devices: (platform, kind) of each device that JAX sees here; `device_error`: what it says if it sees none.
    gpus: GPUs that the system has, whatever JAX sees.
    mpi: first line of the version text of the library that mpi4py loads, None without mpi4py; `mpi_error`: why it does not load.
    host: name of this machine; `addresses`: name -> address, None where it does not resolve (this machine, a job's first node).
    cores: this process may use; `all_cores`: of the machine; `quota`: cores' worth of time of its control groups, or None.
    memory, memory_limit, shm_free, disk_free: bytes; None where unknown or unlimited.
    compiler: of C++: its version, or None; home: why nothing can be kept in the home folder, or ''.
    folder: where the run directory will be; `file_system`: its type; `writable`.
    """

    environ: Mapping[str, str]
    python: tuple[int, ...]
    versions: Mapping[str, str | None]
    devices: tuple[tuple[str, str], ...]
    device_error: str
    gpus: int
    mpi: str | None
    mpi_error: str
    host: str
    addresses: Mapping[str, str | None]
    cores: int
    all_cores: int
    quota: float | None
    memory: int | None
    memory_limit: int | None
    shm_free: int | None
    disk_free: int | None
    compiler: str | None
    home: str
    folder: str
    file_system: str
    writable: bool


def look(folder: Path, *, memory_limit: int | None, quota: float | None) -> Sight:
    """What this process sees.

    Args:
        folder: where runs will be written.
        memory_limit, quota: of its control groups, as in `Sight`.

    Devices and MPI are asked in processes of their own, so that what hangs or crashes there is found here.
    """
    devices, device_error = _probe(_LIST_DEVICES)
    versions = {name: _version(name) for name in PACKAGES}
    mpi, mpi_error = _probe(_MPI_LIBRARY) if versions["mpi4py"] else (None, "")
    host = socket.gethostname()
    nodes = os.environ.get("SLURM_STEP_NODELIST", os.environ.get("SLURM_JOB_NODELIST"))
    names = [host, *([first_node(nodes)] if nodes else [])]
    existing = next(p for p in (folder.absolute(), *folder.absolute().parents) if p.exists())
    return Sight(
        environ=dict(os.environ),
        python=sys.version_info[:3],
        versions=versions,
        devices=tuple((str(p), str(k)) for p, k in json.loads(devices)) if devices else (),
        device_error=device_error,
        gpus=len([p for p in Path("/dev").glob("nvidia*") if re.fullmatch(r"nvidia\d+", p.name)]),
        mpi=mpi.splitlines()[0] if mpi else None,
        mpi_error=mpi_error,
        host=host,
        addresses={name: _address(name) for name in names},
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        all_cores=os.cpu_count() or 1,
        quota=quota,
        memory=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        memory_limit=memory_limit,
        shm_free=shutil.disk_usage("/dev/shm").free if Path("/dev/shm").is_dir() else None,
        disk_free=shutil.disk_usage(existing).free,
        compiler=_compiler(),
        home=_home(),
        folder=str(folder.absolute()),
        file_system=file_system(existing, _read(Path("/proc/self/mountinfo"))),
        writable=os.access(existing, os.W_OK),
    )


def file_system(path: Path, mounts: str) -> str:
    """Type of the file system that a path lies on, by the text of /proc/self/mountinfo; "unknown" without one."""
    best, found = -1, "unknown"
    for line in mounts.splitlines():
        before, _, after = line.partition(" - ")
        fields, kinds = before.split(), after.split()
        if len(fields) < 5 or not kinds:
            continue
        point = fields[4].replace("\\040", " ")
        # The last of several mounts on one point is the one that is seen.
        if path.resolve().is_relative_to(point) and len(point) >= best:
            best, found = len(point), kinds[0]
    return found


def _probe(code: str) -> tuple[str | None, str]:
    """What Python prints for `code`, and else the reason."""
    try:
        # Descriptors stay open: a launcher may talk to its processes over one of them.
        done = subprocess.run(
            [sys.executable, "-P", "-c", code],
            capture_output=True,
            text=True,
            timeout=_PROBE_S,
            close_fds=False,
            stdin=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired:
        return None, f"no answer within {_PROBE_S:.0f} s"
    if done.returncode == 0 and done.stdout.strip():
        return done.stdout.strip(), ""
    said = done.stderr.strip().splitlines()
    return None, said[-1] if said else f"exit code {done.returncode}"


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _address(name: str) -> str | None:
    try:
        return socket.gethostbyname(name)
    except OSError:
        return None


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


def _home() -> str:
    given = Path(os.environ.get("BRAINEVENT_CACHE_DIR", ""))
    if given.name and not given.name.startswith("dist_sim-"):  # which is what kernels take for want of a home
        return ""
    try:
        cache = Path.home() / ".cache"
    except RuntimeError:
        return "there is none"
    try:
        cache.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        return f"{cache} cannot be made: {error.strerror}"
    return "" if os.access(cache, os.W_OK | os.X_OK) else f"{cache} cannot be written"


def _compiler() -> str | None:
    if (path := shutil.which(os.environ.get("CXX", "g++"))) is None or platform.system() != "Linux":
        return None
    done = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=20)
    return done.stdout.splitlines()[0] if done.returncode == 0 and done.stdout else None
