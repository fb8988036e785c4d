"""Compiles a program for an H200, or for TPUs, that are not here.

    python absent.py NAME FOLDER
    python absent.py NAME FOLDER v5e:2x2

NAME: of `programs.py`, or `cuda` for the circuit of `test_cuda_kernels.py` with CUDA kernels. With the CUDA plugin of JAX, or
libtpu, on PYTHONPATH and JAX_PLATFORMS=cpu. The optimised program is written to FOLDER/program.hlo, the kernels that it may call
to FOLDER/targets; what else is dumped, XLA_FLAGS say.
"""

import sys
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.experimental import topologies
from jax.sharding import Mesh, NamedSharding, PartitionSpec


def exported(name: str, platform: str) -> tuple[Any, list[str]]:
    """The program, and the kernels that it may call."""
    if name != "cuda":
        from accelerators import programs

        return programs.exported(name, [platform]), []
    from accelerators.test_cuda_kernels import exported_circuit

    from dist_sim.kernels import cuda
    from dist_sim.kernels.neurons import cuda_of

    # The network is built with the twin: what is exported calls the kernels by the same names.
    cuda.toolchain = cuda.TWIN
    program, targets, text = exported_circuit()
    cuda.toolchain = cuda.NVCC
    cuda.load("kernels")
    cuda.register(cuda_of(text))
    return program, targets


def h200s(number: int) -> topologies.TopologyDescription:
    target = (Path(__file__).resolve().parent / "h200.txtpb").read_text()
    return topologies.get_topology_desc("", "cuda", target_config=target, topology=f"1x1x{number}")


def compiled(program: Any, topology: topologies.TopologyDescription) -> str:
    """The text of what XLA makes of it."""
    mesh = Mesh(np.array(topology.devices[: program.nr_devices]), ("neuron",))
    shapes = [jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=NamedSharding(mesh, PartitionSpec())) for x in program.in_avals]
    args, kwargs = jax.tree.unflatten(program.in_tree, shapes)
    with jax.enable_x64(any(x.dtype == np.float64 for x in program.in_avals)):
        return jax.jit(program.call).lower(*args, **kwargs).compile().as_text()


if __name__ == "__main__":
    jax.config.update("jax_num_cpu_devices", 2)
    name, folder, tpus = sys.argv[1], Path(sys.argv[2]), "".join(sys.argv[3:])
    program, targets = exported(name, "tpu" if tpus else "cuda")
    (folder / "targets").write_text("\n".join(targets))
    topology = topologies.get_topology_desc(tpus, "tpu") if tpus else h200s(program.nr_devices)
    (folder / "program.hlo").write_text(compiled(program, topology))
