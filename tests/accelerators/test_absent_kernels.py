"""The step with CUDA kernels, compiled for an H200 that is not here: what it launches."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from accelerators.launches import launches, the_step

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parents[1]
FLAGS = "--xla_gpu_enable_command_buffer=+WHILE,+CUSTOM_CALL --xla_gpu_graph_min_graph_size=1 --xla_gpu_autotune_level=0"
KERNELS, MOST_FUSIONS = 4, 4


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
