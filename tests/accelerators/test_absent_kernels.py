"""The step with CUDA kernels, compiled for an H200 that is not here: what it launches.

JAX's CUDA plugin compiles without a GPU. It lies in a folder of its own, named by DIST_SIM_CUDA_PLUGIN or installed into the
user's cache: where it is importable, JAX looks for a GPU.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from accelerators.launches import launches, the_step

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parents[1]
VARIABLE = "DIST_SIM_CUDA_PLUGIN"
FLAGS = "--xla_gpu_enable_command_buffer=+WHILE,+CUSTOM_CALL --xla_gpu_graph_min_graph_size=1 --xla_gpu_autotune_level=0"
KERNELS, MOST_FUSIONS = 4, 4


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
        half.replace(cache)
    return cache


@pytest.mark.skipif(shutil.which("nvcc") is None or shutil.which("g++") is None, reason="nvcc or g++ is not installed")
def test_a_step_is_four_kernels_and_a_chunk_one_command_buffer(plugin, tmp_path):
    path = os.pathsep.join(map(str, (plugin, REPOSITORY, HERE.parent, REPOSITORY / "examples")))
    flags = f"{FLAGS} --xla_dump_to={tmp_path}"
    environment = os.environ | {"PYTHONPATH": path, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": flags}
    command = [sys.executable, str(HERE / "absent_kernels.py"), str(tmp_path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr

    text, targets = ((tmp_path / name).read_text() for name in ("program.hlo", "targets"))
    assert sorted(re.findall(r'custom_call_target="(dist_sim[\w.]+)"', text)) == sorted(targets.split())
    step = the_step(launches(text))
    assert step.counts["custom-call"] == KERNELS
    assert step.counts["fusion"] <= MOST_FUSIONS, f"{step.counts}"
    assert step.kernels <= KERNELS + MOST_FUSIONS, f"{step.counts}"
    assert not step.loops and not step.branches

    (sequence,) = (file.read_text() for file in tmp_path.glob("*.thunk_sequence_after_thunk_passes.txt"))
    top = [line for line in sequence.splitlines() if re.match(r"\d+: ", line)]
    assert len(top) == 1 and "kCommandBuffer" in top[0]
    assert any("kWhile" in line for line in sequence.splitlines())
