"""create, connect, simulate: the description of a network, its assembly, and what came of it."""

from dist_sim.simulator.connections import SynapseCollection as SynapseCollection
from dist_sim.simulator.nodes import NodeView as NodeView
from dist_sim.simulator.result import SimulationResult as SimulationResult
from dist_sim.simulator.simulator import Simulator as Simulator
