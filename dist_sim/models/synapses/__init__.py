"""BrainPy-style synapses, one per file."""

from dist_sim.models.synapses.alpha import Alpha as Alpha
from dist_sim.models.synapses.ampa import AMPA as AMPA
from dist_sim.models.synapses.bio_nmda import BioNMDA as BioNMDA
from dist_sim.models.synapses.dual_expon import DualExpon as DualExpon
from dist_sim.models.synapses.expon import Expon as Expon
from dist_sim.models.synapses.gabaa import GABAa as GABAa
from dist_sim.models.synapses.nmda import NMDA as NMDA
from dist_sim.models.synapses.synapse import Synapse as Synapse
