"""A real SLURM for the tests that ask for one."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parent / "slurm"


@dataclass(frozen=True, kw_only=True)
class Slurm:
    """A running SLURM of two virtual nodes with two cores each; commands find it through `environment`."""

    environment: dict[str, str]

    def __call__(self, *words: str, cwd: Path | None = None) -> str:
        """What a command prints; it must end well."""
        done = subprocess.run(words, env=self.environment, cwd=cwd, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
        return done.stdout

    def submit(self, *words: str, cwd: Path) -> str:
        """`dist-sim submit` with these words; returns the number of the job."""
        printed = self(sys.executable, "-m", "dist_sim", "submit", *words, cwd=cwd)
        match = re.match(r"job (\d+) submitted", printed)
        assert match, printed
        return match[1]

    def wait(self, job: str, *, state: str = "", limit_s: float = 60.0) -> str:
        """Waits until no task of a job is in the queue, or until one is in `state`; returns what SLURM knows of the job."""
        end = time.monotonic() + limit_s
        while time.monotonic() < end:
            states = self("squeue", "--noheader", "--states=all", "--job", job, "--format=%T").split()
            if state in states if state else not {"PENDING", "RUNNING", "COMPLETING", "REQUEUED", "CONFIGURING"} & set(states):
                break
            time.sleep(0.2)
        else:
            raise AssertionError(f"job {job} after {limit_s} s: {self('scontrol', 'show', 'job', job)}")
        return self("scontrol", "show", "job", job)


def _free_ports(count: int) -> int:
    """The first of `count` ports in a row that nobody listens on."""
    for first in range(17100 + os.getpid() % 1000, 30000, count):
        try:
            for port in range(first, first + count):
                with socket.socket() as probe:
                    probe.bind(("127.0.0.1", port))
        except OSError:
            continue
        return first
    raise AssertionError("no free ports")


@pytest.fixture(scope="session")
def slurm(tmp_path_factory) -> Iterator[Slurm]:
    if os.geteuid() != 0:
        pytest.skip("SLURM's daemons are started by root only")
    if missing := [name for name in ("slurmctld", "slurmd", "sbatch", "munged") if shutil.which(name) is None]:
        pytest.skip(f"no {', '.join(missing)}: apt-get install slurm-wlm munge")
    folder = tmp_path_factory.mktemp("slurm")
    for parent in (folder, folder.parent, folder.parent.parent):
        parent.chmod(0o755)  # munged's socket must be reachable for others
    environment = os.environ | {"SLURM_CONF": str(folder / "slurm.conf"), "PORT": str(_free_ports(4))}
    try:
        up = subprocess.run([SCRIPTS / "up.sh", folder], env=environment, capture_output=True, text=True, timeout=60)
        assert up.returncode == 0, up.stdout + up.stderr
        yield Slurm(environment=environment)
    finally:
        subprocess.run([SCRIPTS / "down.sh", folder], env=environment, capture_output=True, timeout=60)
