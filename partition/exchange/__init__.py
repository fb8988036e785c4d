"""Exchange strategies: how the spikes of an interval reach the devices that hold their synapses. One strategy, one file."""

import functools

import jax
from jax.sharding import Mesh

from dist_sim import kernels
from dist_sim.errors import UnknownNameError
from dist_sim.kernels.gather import Meeting
from dist_sim.partition.exchange.all_gather import AllGather
from dist_sim.partition.exchange.all_gather_ids import AllGatherIds
from dist_sim.partition.exchange.all_gather_memory import AllGatherMemory
from dist_sim.partition.exchange.all_gather_mpi import AllGatherMPI, mpi_is_there
from dist_sim.partition.mesh import NEURON, local_positions
from dist_sim.partition.processes import own_cores, processes_of

EXCHANGES = {"mask": AllGather(), "ids": AllGatherIds(), "memory": AllGatherMemory(), "mpi": AllGatherMPI()}


def usual_exchange(mesh: Mesh) -> str:
    """The name of the exchange that is used where none is asked for. Every process calls it, and all get the same."""
    processes = processes_of(mesh)
    if mesh.size == 1 or mesh.devices.flat[0].platform != "cpu":
        return "mask"
    if processes.count == 1:
        return "memory" if kernels.can_compile() else "mask"
    return "mpi" if mpi_is_there(processes) else "mask"


@functools.cache
def meeting_of(mesh: Mesh, exchange: str | None) -> Meeting | None:
    """Where the devices of a mesh meet in programs of Modules; None where they communicate by collectives of JAX.

    By default they do so also where a process has more devices than cores: a device that waits for the others keeps a thread,
    and JAX has one for each core. Every process calls it, and all get the same.

    Args:
        exchange: the name of one; None chooses.

    Raises:
        UnknownNameError: no such exchange. DeviceError: one that is not possible here.
    """
    if exchange is not None and exchange not in EXCHANGES:
        raise UnknownNameError("exchange", exchange, EXCHANGES)
    if mesh.axis_names != (NEURON,):
        return None
    with jax.ensure_compile_time_eval():
        if exchange is None:
            crowded = processes_of(mesh).largest([len(local_positions(mesh)) > len(own_cores())])[0]
            exchange = "mask" if crowded else usual_exchange(mesh)
        return getattr(EXCHANGES[exchange].on(mesh), "meeting", None)
