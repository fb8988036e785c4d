"""What the doctor finds: each thing that can be wrong is found when it is, and nothing else is."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from dist_sim.cluster.doctor import diagnose, processes, shown
from dist_sim.cluster.sight import PACKAGES, Sight, file_system

GIB = 2**30
WELL = Sight(
    environ={}, python=(3, 12, 1), versions=dict.fromkeys(PACKAGES, "1.0") | {"jax": "0.10.2", "jaxlib": "0.10.1"},
    devices=(("cpu", "cpu"),), device_error="", gpus=0, mpi="MPICH Version: 4.2", mpi_error="", host="n1",
    addresses={"n1": "10.0.0.1"}, cores=8, all_cores=8, quota=None, memory=64 * GIB, memory_limit=None, shm_free=GIB,
    disk_free=100 * GIB, home="", compiler="g++ 12.2", folder="/scratch/runs", file_system="ext4", writable=True,
)  # fmt: skip
STEP = {
    "SLURM_JOB_ID": "7", "SLURM_STEP_ID": "0", "SLURM_STEP_NODELIST": "n[1-2]", "SLURM_STEP_NUM_TASKS": "2", "SLURM_NTASKS": "2",
    "SLURM_PROCID": "0", "SLURM_STEP_NUM_NODES": "2", "PMI_RANK": "0", "PMI_SIZE": "2",
}  # fmt: skip
HYDRA, OPEN_MPI = {"PMI_RANK": "0", "PMI_SIZE": "2"}, {"OMPI_COMM_WORLD_SIZE": "2", "OMPI_COMM_WORLD_RANK": "1"}


@pytest.mark.parametrize(
    "change", [{}, {"environ": STEP}, {"environ": HYDRA}, {"environ": OPEN_MPI, "mpi": "Open MPI v4.1.4"},
               {"mpi": None, "versions": WELL.versions | {"mpi4py": None}}],
    ids=["alone", "srun", "mpich", "open mpi", "no mpi4py"],
)  # fmt: skip
def test_a_sound_machine_is_sound(change):
    assert {f.level for f in diagnose(replace(WELL, **change))} == {"ok"}


CASES = {
    "old python": ({"python": (3, 10, 2)}, "error", "Python", "3.11"),
    "missing package": ({"versions": WELL.versions | {"h5py": None}}, "error", "packages", "pip install h5py"),
    "jaxlib of another version": ({"versions": WELL.versions | {"jaxlib": "0.9.0"}}, "error", "packages", "jaxlib==0.10.2"),
    "no home": ({"home": "/nowhere/.cache cannot be made: Not a directory"}, "warning", "home", "HOME"),
    "no plugin": (
        {"devices": (), "device_error": "AssertionError", "environ": {"JAX_PLATFORMS": "cuda"}}, "error", "devices", "cuda12",
    ),
    "no device": ({"devices": (), "device_error": "RuntimeError: no GPU"}, "error", "devices", "JAX_PLATFORMS"),
    "idle GPUs": ({"gpus": 4}, "warning", "devices", "jax[cuda12]"),
    "GPUs switched off": ({"gpus": 4, "environ": {"JAX_PLATFORMS": "cpu"}}, "warning", "devices", "unset JAX_PLATFORMS"),
    "half an address": ({"environ": {"DIST_SIM_PROCESSES": "2"}}, "error", "launcher", "unset"),
    "shell of a batch job": ({"environ": {"SLURM_JOB_ID": "7", "SLURM_NTASKS": "4"}}, "warning", "launcher", "srun"),
    "mpirun for some": ({"environ": HYDRA | {"SLURM_JOB_ID": "7", "SLURM_NTASKS": "8"}}, "warning", "launcher", "mpirun"),
    "MPICH under Open MPI": ({"environ": OPEN_MPI}, "error", "MPI", "MPI4PY_MPIABI=openmpi"),
    "Open MPI under MPICH": ({"environ": HYDRA, "mpi": "Open MPI v4.1.4"}, "error", "MPI", "MPI4PY_MPIABI=mpich"),
    "srun without PMI": (
        {"environ": {k: v for k, v in STEP.items() if "PMI" not in k}}, "warning", "MPI", "--mpi=pmi2"),
    "mpirun without mpi4py": (
        {"environ": HYDRA, "mpi": None, "versions": WELL.versions | {"mpi4py": None}}, "error", "MPI", "pip install mpi4py"),
    "mpi4py without a library": ({"mpi": None, "mpi_error": "cannot load"}, "warning", "MPI", "pip install mpich"),
    "no address": ({"environ": STEP, "addresses": {"n1": None}}, "error", "network", "getent hosts n1"),
    "no address, alone": ({"addresses": {"n1": None}}, "warning", "network", "getent hosts n1"),
    "loopback on several nodes": ({"environ": STEP, "addresses": {"n1": "127.0.1.1"}}, "error", "network", "/etc/hosts"),
    "first node unknown": ({"environ": STEP, "addresses": {"n1": "10.0.0.1", "n0": None}}, "error", "network", "hosts n0"),
    "less time than cores": ({"quota": 2.0}, "warning", "cores", "bind to 2"),
    "one core of a job": ({"cores": 1, "environ": STEP}, "warning", "cores", "--cpus-per-task"),
    "shared cores": ({"environ": STEP | {"SLURM_NTASKS_PER_NODE": "4"}}, "warning", "cores", "--cpus-per-task=2"),
    "little memory": ({"memory_limit": GIB}, "warning", "memory", "--mem"),
    "small /dev/shm": ({"shm_free": 2**20}, "warning", "memory", "--shm-size"),
    "no compiler": ({"compiler": None}, "warning", "compiler", "g++"),
    "not writable": ({"writable": False}, "error", "disk", "--out"),
    "full disk": ({"disk_free": 2**20}, "warning", "disk", "room"),
    "memory as a disk": ({"file_system": "tmpfs"}, "warning", "disk", "--out"),
    "locks on NFS": ({"file_system": "nfs4"}, "warning", "disk", "HDF5_USE_FILE_LOCKING=FALSE"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_each_fault_is_found_with_what_to_do_and_no_other(case):
    change, level, topic, remedy = CASES[case]
    (found,) = [f for f in diagnose(replace(WELL, **change)) if f.level != "ok"]
    assert (found.level, found.topic) == (level, topic) and remedy in found.remedy
    text = shown(diagnose(replace(WELL, **change)))
    assert found.seen in text and f"-> {found.remedy}" in text
    assert text.endswith("1 errors, 0 warnings" if level == "error" else "0 errors, 1 warnings")


def test_locks_switched_off_are_no_fault():
    sight = replace(WELL, file_system="lustre", environ={"HDF5_USE_FILE_LOCKING": "FALSE"})
    assert {f.level for f in diagnose(sight)} == {"ok"}


@pytest.mark.parametrize(("environ", "count"), [({}, 1), (STEP, 2), (HYDRA, 2), (OPEN_MPI, 2), ({"SLURM_NTASKS": "9"}, 1)])
def test_processes(environ, count):
    assert processes(environ)[1] == count


def test_the_file_system_is_that_of_the_innermost_and_last_mount(tmp_path):
    line = "36 25 0:30 / {} rw,relatime shared:1 - {} source rw"
    mounts = "\n".join(
        line.format(*m) for m in [("/", "ext4"), (tmp_path.parent, "nfs4"), (tmp_path.parent, "lustre"), ("/none", "xfs")]
    )
    assert file_system(tmp_path, mounts) == "lustre"
    assert file_system(Path("/"), mounts) == "ext4" and file_system(tmp_path, "") == "unknown"


def test_the_command_sees_this_machine(tmp_path):
    words = [sys.executable, "-m", "dist_sim", "doctor", "--out", str(tmp_path / "new" / "run")]
    done = subprocess.run(words, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stdout + done.stderr
    for topic in ("Python", "packages", "devices", "launcher", "MPI", "network", "cores", "memory", "compiler", "disk"):
        assert f" {topic} " in done.stdout
    assert done.stdout.rstrip().endswith("warnings") and "0 errors" in done.stdout and not list(tmp_path.iterdir())
