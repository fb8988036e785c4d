"""Exchange strategies: how the spikes of an interval reach the devices that hold their synapses. One strategy, one file."""

from jax.sharding import Mesh

from dist_sim.partition.exchange.all_gather import AllGather
from dist_sim.partition.exchange.all_gather_ids import AllGatherIds
from dist_sim.partition.exchange.all_gather_mpi import AllGatherMPI, under_mpi

EXCHANGES = {"mask": AllGather(), "ids": AllGatherIds(), "mpi": AllGatherMPI()}


def usual_exchange(mesh: Mesh) -> str:
    """The name of the exchange that is used where none is asked for. Every process calls it, and all get the same."""
    return "mpi" if under_mpi(mesh) else "mask"
