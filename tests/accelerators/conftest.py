"""JAX's CUDA plugin, which compiles without a GPU.

It lies in a folder of its own, named by DIST_SIM_CUDA_PLUGIN or installed into the user's cache: where it is importable, JAX
looks for a GPU.
"""

import os
import re
import subprocess
import sys
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path

import pytest

VARIABLE = "DIST_SIM_CUDA_PLUGIN"


@pytest.fixture(scope="session")
def plugin() -> Path:
    """The folder of the plugin, of the version of jaxlib."""
    if named := os.environ.get(VARIABLE):
        assert (Path(named) / "jax_plugins").is_dir(), f"{VARIABLE}={named}: there is no jax_plugins in this folder"
        return Path(named)
    of_jax = version("jaxlib")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "dist_sim" / f"cuda-plugin-{of_jax}"
    if not cache.exists():
        wanted = [f"jax-cuda13-plugin=={of_jax}", f"jax-cuda13-pjrt=={of_jax}", "flatbuffers"]
        half = cache.with_name(f"{cache.name}.{os.getpid()}")
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--retries", "1", "--target", str(half)]
        done = subprocess.run([*command, *wanted], capture_output=True, text=True, timeout=240)
        if done.returncode and re.search("connection|resolve|timed out|No matching distribution", done.stderr, re.IGNORECASE):
            pytest.skip(f"no registry has given {' '.join(wanted)}; set {VARIABLE} to a folder that holds them")
        assert done.returncode == 0, done.stderr
        with suppress(OSError):  # another worker was first
            half.replace(cache)
    return cache
