"""A real SLURM of two virtual nodes on this machine, for as long as a test or a command needs it."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SCRIPTS = Path(__file__).parent / "cluster" / "slurm"
# A daemon that held a pipe of the tests would keep them waiting for its end.
QUIET: dict[str, Any] = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.DEVNULL)


@dataclass(frozen=True, kw_only=True)
class Slurm:
    """A running SLURM of two virtual nodes (ds1, ds2) with two cores each; commands find it through `environment`."""

    environment: dict[str, str]

    @property
    def folder(self) -> Path:
        """Of its configuration, logs and state."""
        return Path(self.environment["SLURM_CONF"]).parent

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

    def shown(self, job: str) -> dict[str, str]:
        """What SLURM knows of a job, by name: JobState, Restarts, NodeList, ..."""
        return dict(re.findall(r"(\w+)=(\S*)", self("scontrol", "--oneliner", "show", "job", job)))

    def kill_daemons(self, node: str) -> list[str]:
        """`kill -9` of all of SLURM on a node, and of nothing that it has started; returns the names of what was killed."""
        log, killed = str(self.folder / "log" / f"slurmd.{node}.log"), []
        for process in Path("/proc").glob("[0-9]*"):
            try:
                name = (process / "cmdline").read_text().replace("\0", " ")
                if name.startswith("slurm") and log in {os.readlink(f) for f in (process / "fd").iterdir()}:
                    os.kill(int(process.name), signal.SIGKILL)
                    killed.append(name.partition(" -")[0].strip())
            except OSError:
                continue  # it has ended meanwhile
        return sorted(killed)

    def revive(self, node: str) -> None:
        """Starts the daemon of a node again, as systemd or a reboot would."""
        words = ["slurmd", "-N", node, "-f", self.environment["SLURM_CONF"]]
        subprocess.run(words, env=self.environment, start_new_session=True, check=True, timeout=30, **QUIET)


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


def missing() -> str:
    """Why there can be no SLURM here, or ''."""
    if os.geteuid() != 0:
        return "SLURM's daemons are started by root only"
    absent = [name for name in ("slurmctld", "slurmd", "sbatch", "munged") if shutil.which(name) is None]
    return f"no {', '.join(absent)}: apt-get install slurm-wlm munge" if absent else ""


@contextmanager
def running(folder: Path) -> Iterator[Slurm]:
    """A SLURM that keeps everything below `folder`, until the end of this context."""
    for parent in (folder, folder.parent, folder.parent.parent):
        parent.chmod(0o755)  # munged's socket must be reachable for others
    environment = os.environ | {"SLURM_CONF": str(folder / "slurm.conf"), "PORT": str(_free_ports(4))}
    try:
        up = subprocess.run([SCRIPTS / "up.sh", folder], env=environment, capture_output=True, text=True, timeout=60)
        assert up.returncode == 0, up.stdout + up.stderr
        yield Slurm(environment=environment)
    finally:
        subprocess.run([SCRIPTS / "down.sh", folder], env=environment, capture_output=True, timeout=60)
