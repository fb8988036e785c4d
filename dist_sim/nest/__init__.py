"""The NEST-compatible family: models, devices and the Simulator under NEST's names."""

from dist_sim.nest.connections import SynapseCollection as SynapseCollection
from dist_sim.nest.devices import DEVICES as DEVICES
from dist_sim.nest.neurons import NEURONS as NEURONS
from dist_sim.nest.nodes import NodeView as NodeView
from dist_sim.nest.result import SimulationResult as SimulationResult
from dist_sim.nest.simulator import Simulator as Simulator
