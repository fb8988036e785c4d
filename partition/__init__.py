"""Who owns what: placement, mesh and shardings, padded layout, synapse tables, spike exchange."""

from dist_sim.partition.exchange import EXCHANGES as EXCHANGES
from dist_sim.partition.exchange import AllGather as AllGather
from dist_sim.partition.exchange import AllGatherIds as AllGatherIds
from dist_sim.partition.exchange import AllGatherMemory as AllGatherMemory
from dist_sim.partition.exchange import AllGatherMPI as AllGatherMPI
from dist_sim.partition.exchange import usual_exchange as usual_exchange
from dist_sim.partition.layout import Layout as Layout
from dist_sim.partition.mesh import NEURON as NEURON
from dist_sim.partition.mesh import current_mesh as current_mesh
from dist_sim.partition.mesh import neuron_mesh as neuron_mesh
from dist_sim.partition.mesh import run_mesh as run_mesh
from dist_sim.partition.mesh import use_mesh as use_mesh
from dist_sim.partition.methods import PLACEMENTS as PLACEMENTS
from dist_sim.partition.methods import Balanced as Balanced
from dist_sim.partition.methods import Block as Block
from dist_sim.partition.methods import RoundRobin as RoundRobin
from dist_sim.partition.processes import ALONE as ALONE
from dist_sim.partition.processes import Processes as Processes
from dist_sim.partition.processes import all_processes as all_processes
from dist_sim.partition.processes import processes_of as processes_of
