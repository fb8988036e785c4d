"""Compiles one of the programs for an H200 that is not here.

    python absent.py NAME FOLDER

with the CUDA plugin of JAX on PYTHONPATH and JAX_PLATFORMS=cpu. The optimised program is written to FOLDER/program.hlo; what
else is dumped, XLA_FLAGS say.
"""

import sys
from pathlib import Path

import jax
import numpy as np
from accelerators.programs import exported
from jax.experimental import topologies
from jax.sharding import Mesh, NamedSharding, PartitionSpec

jax.config.update("jax_num_cpu_devices", 2)

name, folder = sys.argv[1], Path(sys.argv[2])
target = (Path(__file__).resolve().parent / "h200.txtpb").read_text()
program = exported(name, ["cuda"])
topology = topologies.get_topology_desc("", "cuda", target_config=target, topology=f"1x1x{program.nr_devices}")
mesh = Mesh(np.array(topology.devices[: program.nr_devices]), ("neuron",))
shapes = [jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=NamedSharding(mesh, PartitionSpec())) for x in program.in_avals]
args, kwargs = jax.tree.unflatten(program.in_tree, shapes)
with jax.enable_x64(any(x.dtype == np.float64 for x in program.in_avals)):
    compiled = jax.jit(program.call).lower(*args, **kwargs).compile()
(folder / "program.hlo").write_text(compiled.as_text())
