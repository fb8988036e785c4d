"""Exchange strategies: how the spikes of an interval reach the devices that hold their synapses. One strategy, one file."""

from jax.sharding import Mesh

from dist_sim import kernels
from dist_sim.partition.exchange.all_gather import AllGather
from dist_sim.partition.exchange.all_gather_ids import AllGatherIds
from dist_sim.partition.exchange.all_gather_memory import AllGatherMemory
from dist_sim.partition.exchange.all_gather_mpi import AllGatherMPI, mpi_is_there
from dist_sim.partition.processes import processes_of

EXCHANGES = {"mask": AllGather(), "ids": AllGatherIds(), "memory": AllGatherMemory(), "mpi": AllGatherMPI()}


def usual_exchange(mesh: Mesh) -> str:
    """The name of the exchange that is used where none is asked for. Every process calls it, and all get the same."""
    processes = processes_of(mesh)
    if mesh.size == 1 or mesh.devices.flat[0].platform != "cpu":
        return "mask"
    if processes.count == 1:
        return "memory" if kernels.can_compile() else "mask"
    return "mpi" if mpi_is_there(processes) else "mask"
