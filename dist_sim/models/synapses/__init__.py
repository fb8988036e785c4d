"""BrainPy-style synapses, one per file."""

from dist_sim.models.synapses.expon import Expon as Expon
from dist_sim.models.synapses.synapse import Synapse as Synapse
