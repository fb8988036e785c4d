"""Compiles the loop of a network with CUDA kernels for an H200 that is not here.

    python absent_kernels.py FOLDER

with the CUDA plugin of JAX on PYTHONPATH and JAX_PLATFORMS=cpu. The optimised program is written to FOLDER/program.hlo, the
kernels that it may call to FOLDER/targets; what else is dumped, XLA_FLAGS say.
"""

import sys
from pathlib import Path

import brainunit as u
import jax
import numpy as np
from accelerators.test_cuda_kernels import circuit, exported
from jax.experimental import topologies
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from dist_sim.kernels import cuda
from dist_sim.kernels.neurons import cuda_of

folder = Path(sys.argv[1])
# The network is built with the twin: what is exported calls the kernels by the same names.
cuda.toolchain = cuda.TWIN
sim = circuit(backend="cuda")
sim.simulate(0.1 * u.ms)
(population,) = sim._simulation.network.populations
targets = [f"dist_sim.cuda.{k}" for k in ("deliver", "poisson", "push_masks", population.text.target)]
program = exported(sim, targets)
(folder / "targets").write_text("\n".join(targets))

cuda.toolchain = cuda.NVCC
cuda.load("kernels")
cuda.register(cuda_of(population.text))
target = (Path(__file__).resolve().parent / "h200.txtpb").read_text()
topology = topologies.get_topology_desc("", "cuda", target_config=target, topology="1x1x1")
mesh = Mesh(np.array(topology.devices[:1]), ("neuron",))
shapes = [jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=NamedSharding(mesh, PartitionSpec())) for x in program.in_avals]
args, kwargs = jax.tree.unflatten(program.in_tree, shapes)
(folder / "program.hlo").write_text(jax.jit(program.call).lower(*args, **kwargs).compile().as_text())
