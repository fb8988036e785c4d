"""What compiles for GPUs and TPUs that are not here: JAX's CUDA plugin, and libtpu.

Each lies in a folder of its own, named by a variable of the environment or installed into the user's cache: where it is
importable, JAX looks for the device.
"""

import os
import re
import subprocess
import sys
from contextlib import suppress
from importlib.metadata import requires, version
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def plugin() -> Path:
    """The folder of the CUDA plugin, of the version of jaxlib."""
    of_jax = version("jaxlib")
    wanted = [f"jax-cuda13-plugin=={of_jax}", f"jax-cuda13-pjrt=={of_jax}", "flatbuffers"]
    return folder_of("jax_plugins", "DIST_SIM_CUDA_PLUGIN", f"cuda-plugin-{of_jax}", wanted)


@pytest.fixture(scope="session")
def libtpu() -> Path:
    """The folder of libtpu, of the version that JAX names."""
    (wanted,) = (r.split(";")[0] for r in requires("jax") or () if r.startswith("libtpu"))
    return folder_of("libtpu", "DIST_SIM_LIBTPU", f"libtpu-{version('jax')}", [wanted])


def folder_of(package: str, variable: str, name: str, wanted: list[str]) -> Path:
    """Where the package is, after it was installed if it had to be."""
    if named := os.environ.get(variable):
        assert (Path(named) / package).is_dir(), f"{variable}={named}: there is no {package} in this folder"
        return Path(named)
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "dist_sim" / name
    if not cache.exists():
        half = cache.with_name(f"{cache.name}.{os.getpid()}")
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--retries", "1", "--target", str(half)]
        done = subprocess.run([*command, *wanted], capture_output=True, text=True, timeout=240)
        if done.returncode and re.search("connection|resolve|timed out|No matching distribution", done.stderr, re.IGNORECASE):
            pytest.skip(f"no registry has given {' '.join(wanted)}; set {variable} to a folder that holds them")
        assert done.returncode == 0, done.stderr
        with suppress(OSError):  # another worker was first
            half.replace(cache)
    return cache
