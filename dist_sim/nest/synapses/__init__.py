"""Synapse models under NEST's names. One model, one file."""

from dist_sim.nest.synapses.static_synapse import static_synapse
from dist_sim.nest.synapses.stdp_synapse import stdp_synapse
from dist_sim.nest.synapses.synapse import Synapse as Synapse

SYNAPSES = {model.__name__: model for model in (static_synapse, stdp_synapse)}
