"""Where a result comes from: versions, git commit, host and job."""

from __future__ import annotations

import os
import platform
import re
import socket
import subprocess
import sys
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import xxhash

from dist_sim.core import environ

PACKAGES = ("dist_sim", "jax", "jaxlib", "numpy", "brainunit", "brainevent", "h5py")
ENVIRONMENT = re.compile(r"(SLURM|JAX)_\w+")
# SLURM_JWT is a credential: whatever is named like one stays out of files that are passed on.
SECRET = re.compile(r"TOKEN|JWT|SECRET|PASSW|CREDENTIAL|KEY", re.IGNORECASE)


def versions() -> dict[str, str]:
    """Versions of Python, of dist_sim and of the packages that decide on its results; those not installed are left out."""
    return dict(_versions())


# Read from files, and asked for after each simulate(): a process does not change what it runs on.
@cache
def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def git_commit(folder: Path) -> dict[str, Any] | None:
    """`commit` and `dirty` of the git checkout that holds a folder; None outside one, or without git."""
    try:
        commit = _git(folder, "rev-parse", "HEAD")
        return {"commit": commit, "dirty": bool(_git(folder, "status", "--porcelain", "--untracked-files=no"))}
    except (OSError, subprocess.SubprocessError):
        return None


def script_checksum(script: Path) -> str:
    """A checksum (xxh3, 128 bits) of the text of a script."""
    return xxhash.xxh3_128_hexdigest(script.read_bytes())


def provenance(script: Path | None, command: tuple[str, ...]) -> dict[str, Any]:
    """What `provenance.json` holds, before the script runs; of the environment only SLURM_* and JAX_*, without credentials."""
    return {
        "command": list(command),
        "script": str(script) if script else None,
        "git": git_commit(script.parent) if script else None,
        "versions": versions(),
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "platform": platform.platform(),
        "cpus": os.cpu_count(),
        "executable": sys.executable,
        "jax_enable_x64": environ.get_precision() == 64,
        "environment": {k: v for k, v in sorted(os.environ.items()) if ENVIRONMENT.fullmatch(k) and not SECRET.search(k)},
    }


def _git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=10, check=True)
    return done.stdout.strip()
