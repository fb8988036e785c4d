"""The programs compiled for an H200 that is not here: what a step launches, and in which arithmetic. And for TPUs."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from accelerators.launches import Launches, launches, the_step
from accelerators.programs import SIMULATED
from accelerators.test_cuda_kernels import circuit

from dist_sim.forecast.forecast import forecast
from dist_sim.forecast.machines import MACHINES

HERE = Path(__file__).resolve().parent
FLAGS = "--xla_gpu_enable_command_buffer=+WHILE,+CUSTOM_CALL --xla_gpu_graph_min_graph_size=1 --xla_gpu_autotune_level=0"
# Launches of one step, without those of loops and branches inside it, at most.
BUDGET = {"linear": 24, "discrete": 24}
SLOW_BUDGET = {"two_devices": 28, "adaptive": 48, "tsodyks2": 28, "stdp": 40, "einet": 20}
# With CUDA kernels: calls of them, and XLA's own fusions at most.
CUDA_CALLS, CUDA_FUSIONS = 4, 4
TPU_FUSIONS = 180


@dataclass(frozen=True)
class Compiled:
    """What XLA made of a program: its launches, the kernels that it calls and those it may, the order of launches after all
    passes, PTX."""

    program: Launches
    called: list[str]
    allowed: list[str]
    sequence: str
    ptx: str


def compile_to(folder: Path, words: list[str], package: Path, **variables: str) -> None:
    path = os.pathsep.join([str(package), str(HERE.parents[1]), str(HERE.parent), str(HERE.parents[1] / "examples")])
    environment = os.environ | {"PYTHONPATH": path, "JAX_PLATFORMS": "cpu"} | variables
    command = [sys.executable, str(HERE / "absent.py"), words[0], str(folder), *words[1:]]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=580)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def compiled(plugin, tmp_path_factory):
    """Compiles a program by its name, once."""
    known: dict[str, Compiled] = {}

    def get(name: str) -> Compiled:
        if name not in known:
            folder = tmp_path_factory.mktemp(name)
            compile_to(folder, [name], plugin, XLA_FLAGS=f"{FLAGS} --xla_dump_to={folder}")
            (sequence,) = folder.glob("*.thunk_sequence_after_thunk_passes.txt")
            text, allowed = ((folder / file).read_text() for file in ("program.hlo", "targets"))
            called = re.findall(r'custom_call_target="(dist_sim[\w.]+)"', text)
            ptx = "\n".join(file.read_text() for file in folder.glob("*.ptx"))
            known[name] = Compiled(launches(text), called, allowed.split(), sequence.read_text(), ptx)
        return known[name]

    return get


@pytest.mark.parametrize("name", [*BUDGET, *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW_BUDGET)])
def test_a_step_launches_no_more_than_its_budget(compiled, name):
    step, most = the_step(compiled(name).program), (BUDGET | SLOW_BUDGET)[name]
    assert 8 < step.kernels <= most, f"{step.counts}"


def test_the_step_of_a_network_has_no_loop_and_no_branch_inside(compiled):
    step = the_step(compiled("linear").program)
    assert not step.loops and not step.branches


WITH_CUDA = pytest.param(
    "cuda", marks=pytest.mark.skipif(not (shutil.which("nvcc") and shutil.which("g++")), reason="nvcc or g++ is not installed")
)


@pytest.mark.parametrize("name", ["linear", WITH_CUDA, pytest.param("stdp", marks=pytest.mark.slow)])
def test_the_forecast_counts_what_a_step_launches(compiled, name):
    sim, backend = (circuit(), "cuda") if name == "cuda" else (SIMULATED[name](), "reference")
    machine = replace(MACHINES["h200"], backend=backend)
    assert forecast(sim._description(), 1, machine, rate=5.0).launches == the_step(compiled(name).program).kernels


@pytest.mark.parametrize("name", [WITH_CUDA])
def test_with_cuda_kernels_a_step_is_four_calls(compiled, name):
    found = compiled(name)
    step = the_step(found.program)
    assert sorted(found.called) == sorted(found.allowed)
    assert step.counts["custom-call"] == CUDA_CALLS and step.counts["fusion"] <= CUDA_FUSIONS, f"{step.counts}"
    assert step.kernels <= CUDA_CALLS + CUDA_FUSIONS and not step.loops and not step.branches, f"{step.counts}"


@pytest.mark.parametrize("name", ["linear", WITH_CUDA])
def test_a_chunk_is_one_command_buffer(compiled, name):
    lines = compiled(name).sequence.splitlines()
    top = [line for line in lines if re.match(r"\d+: ", line)]
    assert len(top) == 1 and "kCommandBuffer" in top[0]
    assert any("kWhile" in line for line in lines)


@pytest.mark.parametrize("name", ["linear", "adaptive"])
def test_sums_that_meet_are_whole_numbers_and_all_results_are_rounded(compiled, name):
    """Atomic operations on floats would add in any order; an fma rounds once where the CPU's kernels round twice; quotients and
    roots of 32 bits are approximations on GPUs."""
    ptx = compiled(name).ptx
    atomic = re.findall(r"^\s+(?:atom|red)\.([\w.:]+)", ptx, re.MULTILINE)
    assert atomic and all(re.search(r"\.add\.[us](32|64)$", name) for name in atomic)
    assert re.search(r"^\s+mul\.(rn\.)?f32", ptx, re.MULTILINE)
    assert not re.search(r"^\s+(fma|mad)\.\w+\.f(32|64)", ptx, re.MULTILINE)
    assert not re.search(r"^\s+\w+\.(full|approx)\.", ptx, re.MULTILINE)
    assert bool(re.search(r"^\s+div\.rn\.f64", ptx, re.MULTILINE)) == (name == "adaptive")


@pytest.mark.parametrize(
    ("name", "tpus"),
    [
        ("linear", "v5e:2x2"),
        ("two_devices", "v5p:2x2x1"),
        ("stdp", "v5e:2x2"),
        ("einet_gradient", "v5p:2x2x1"),
        *(pytest.param(name, "v5e:2x2", marks=pytest.mark.slow) for name in ("discrete", "adaptive", "tsodyks2", "einet")),
    ],
)
def test_a_program_compiles_for_tpus(libtpu, tmp_path, name, tpus):
    """In 32 bits throughout, and with one collective in a step of several."""
    compile_to(tmp_path, [name, tpus], libtpu, TPU_SKIP_MDS_QUERY="1")
    text = (tmp_path / "program.hlo").read_text()
    assert not re.search(r"\b(f64|s64|u64)\[", text)
    step = launches(text).loops[0]
    assert 10 < step.counts["fusion"] <= TPU_FUSIONS
    collectives = {n: k for n, k in step.counts.items() if re.match("all-|collective|reduce-scatter", n)}
    assert collectives == ({"all-reduce": 1} if name == "two_devices" else {})


def test_loops_and_branches_are_counted_apart():
    text = """
%inner (p: s32[]) -> s32[] {
  %a = s32[] fusion(%p), kind=kLoop, calls=%f
  ROOT %b = s32[] copy(%a)
}

%body (p: s32[]) -> s32[] {
  %q = s32[] parameter(0)
  %c = s32[] fusion(%q), kind=kLoop, calls=%f
  %d = s32[] conditional(%c, %q, %q), branch_computations={%inner, %inner}
  ROOT %w = s32[] while(%d), condition=%cond, body=%inner
}

ENTRY %main (p: s32[]) -> s32[] {
  %p = s32[] parameter(0)
  ROOT %w = s32[] while(%p), condition=%cond, body=%body
}
"""
    step = the_step(launches(text))
    assert step.kernels == 1 and [loop.kernels for loop in step.loops] == [2] and len(step.branches) == 2
