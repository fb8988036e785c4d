"""Synapse models under NEST's names. One model, one file."""

from dist_sim.nest.synapses.bernoulli_synapse import bernoulli_synapse
from dist_sim.nest.synapses.quantal_stp_synapse import quantal_stp_synapse
from dist_sim.nest.synapses.static_synapse import static_synapse
from dist_sim.nest.synapses.static_synapse_hom_w import static_synapse_hom_w
from dist_sim.nest.synapses.stdp_nn_pre_centered_synapse import stdp_nn_pre_centered_synapse
from dist_sim.nest.synapses.stdp_nn_restr_synapse import stdp_nn_restr_synapse
from dist_sim.nest.synapses.stdp_nn_symm_synapse import stdp_nn_symm_synapse
from dist_sim.nest.synapses.stdp_pl_synapse_hom import stdp_pl_synapse_hom
from dist_sim.nest.synapses.stdp_synapse import stdp_synapse
from dist_sim.nest.synapses.stdp_synapse_hom import stdp_synapse_hom
from dist_sim.nest.synapses.stdp_triplet_synapse import stdp_triplet_synapse
from dist_sim.nest.synapses.synapse import Synapse as Synapse
from dist_sim.nest.synapses.tsodyks2_synapse import tsodyks2_synapse
from dist_sim.nest.synapses.tsodyks_synapse import tsodyks_synapse
from dist_sim.nest.synapses.tsodyks_synapse_hom import tsodyks_synapse_hom
from dist_sim.nest.synapses.vogels_sprekeler_synapse import vogels_sprekeler_synapse

SYNAPSES = {
    model.__name__: model
    for model in (
        static_synapse, static_synapse_hom_w, stdp_synapse, stdp_synapse_hom, stdp_pl_synapse_hom, stdp_triplet_synapse,
        stdp_nn_symm_synapse, stdp_nn_restr_synapse, stdp_nn_pre_centered_synapse, vogels_sprekeler_synapse, tsodyks_synapse,
        tsodyks_synapse_hom, tsodyks2_synapse, quantal_stp_synapse, bernoulli_synapse,
    )
}  # fmt: skip
