"""Compiles one of the programs for an H200 that is not here.

    python absent.py NAME FOLDER

with the CUDA plugin of JAX on PYTHONPATH and JAX_PLATFORMS=cpu. The optimised program is written to FOLDER/program.hlo, and
what XLA dumps (PTX, the launches after all passes) beside it.
"""

import os
import sys
from pathlib import Path

name, folder = sys.argv[1], Path(sys.argv[2])
flags = f"--xla_gpu_enable_command_buffer=+WHILE --xla_gpu_graph_min_graph_size=1 --xla_gpu_autotune_level=0 --xla_dump_to={folder}"
os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["XLA_FLAGS"] = flags

import jax

jax.config.update("jax_num_cpu_devices", 2)

import numpy as np
from accelerators.programs import exported
from jax.experimental import topologies
from jax.sharding import Mesh, NamedSharding, PartitionSpec

target = (Path(__file__).resolve().parent / "h200.txtpb").read_text()
program = exported(name, ["cuda"])
topology = topologies.get_topology_desc("", "cuda", target_config=target, topology=f"1x1x{program.nr_devices}")
mesh = Mesh(np.array(topology.devices[: program.nr_devices]), ("neuron",))
shapes = [jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=NamedSharding(mesh, PartitionSpec())) for x in program.in_avals]
args, kwargs = jax.tree.unflatten(program.in_tree, shapes)
with jax.enable_x64(any(x.dtype == np.float64 for x in program.in_avals)):
    compiled = jax.jit(program.call).lower(*args, **kwargs).compile()
(folder / "program.hlo").write_text(compiled.as_text())
