"""Exchange strategies: how the spikes of an interval reach the devices that hold their synapses. One strategy, one file."""

from dist_sim.partition.exchange.all_gather import AllGather
from dist_sim.partition.exchange.all_gather_ids import AllGatherIds
from dist_sim.partition.exchange.all_gather_mpi import AllGatherMPI

EXCHANGES = {"mask": AllGather(), "ids": AllGatherIds(), "mpi": AllGatherMPI()}
