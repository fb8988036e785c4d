"""BrainPy-style neuron models, one per file."""

from dist_sim.models.neurons.lif import LIF as LIF
from dist_sim.models.neurons.lif_ref import LIFRef as LIFRef
from dist_sim.models.neurons.neuron import Neuron as Neuron
