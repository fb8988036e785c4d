"""CUDA of printed models: the same structs as the C++, compiled by nvcc with IEEE division and roots and no contraction."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dist_sim.errors import DeviceError
from dist_sim.kernels.neurons import NeuronText, struct_of

FLAGS = ("-std=c++17", "-O3", "-fmad=false", "-prec-div=true", "-prec-sqrt=true", "-ftz=true")
_FOLDER = Path(__file__).resolve().parent / "cpp"


def source_of(texts: Sequence[NeuronText]) -> str:
    """One file with a kernel per model; under g++ with DIST_SIM_ONE_LANE each is a function of the same name, the kernel's
    twin."""
    parts = ['#include "model.cuh"']
    for text in texts:
        number = "double" if text.dtype == np.float64 else "float"
        parts.append(struct_of(text))
        model = f"model_{text.target}, {number}"
        parts.append(
            f'extern "C" __global__ void __launch_bounds__(dist_sim::THREADS<{model}>, 1)\n'
            f"{text.target}_kernel(const dist_sim::Arguments<{number}> at) {{\n"
            f"  dist_sim::step_grid<{model}>(at);\n}}\n"
            f'#if !defined(__CUDACC__)\nextern "C" void {text.target}(const dist_sim::Arguments<{number}>* at) '
            f"{{ {text.target}_kernel(*at); }}\n#endif\n"
        )
    return "\n".join(parts)


@dataclass(frozen=True, kw_only=True)
class Compiled:
    """What ptxas says of one kernel: registers per thread and bytes of spilled registers."""

    kernel: str
    architecture: str
    registers: int
    spilled: int


def compile_cubin(texts: Sequence[NeuronText], architecture: str, folder: Path) -> list[Compiled]:
    """Compiles the kernels of models into `folder`/models_<architecture>.cubin; needs nvcc, no GPU.

    Args:
        architecture: `sm_80`, `sm_90`, ...

    Raises:
        DeviceError: there is no nvcc, or it refuses.
    """
    nvcc = shutil.which("nvcc")
    if nvcc is None:
        raise DeviceError("nvcc was not found: CUDA kernels need the CUDA toolkit (PATH), or nvidia-cuda-nvcc from PyPI.")
    file = folder / "models.cu"
    file.write_text(source_of(texts))
    command = [nvcc, *FLAGS, "-I", str(_FOLDER), f"-arch={architecture}", "-cubin", "-Xptxas", "-v", "-o"]
    done = subprocess.run([*command, str(folder / f"models_{architecture}.cubin"), str(file)], capture_output=True, text=True)
    if done.returncode:
        errors = "\n".join(line for line in done.stderr.splitlines() if "error" in line)
        raise DeviceError(f"nvcc refuses the kernels for {architecture}: {errors[:2000]}")
    found = []
    for part in done.stderr.split("Compiling entry function")[1:]:
        kernel = re.search(r"'(\w+)'", part)
        registers, spilled = re.search(r"Used (\d+) registers", part), re.search(r"(\d+) bytes spill stores", part)
        assert kernel and registers and spilled, part
        found.append(Compiled(kernel=kernel[1], architecture=architecture, registers=int(registers[1]), spilled=int(spilled[1])))
    return found
