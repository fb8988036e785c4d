"""Neuron models under NEST's names. One model, one file."""

from dist_sim.nest.neurons.iaf_cond_exp import iaf_cond_exp
from dist_sim.nest.neurons.iaf_psc_alpha import iaf_psc_alpha
from dist_sim.nest.neurons.iaf_psc_delta import iaf_psc_delta
from dist_sim.nest.neurons.iaf_psc_exp import iaf_psc_exp
from dist_sim.nest.neurons.neuron import NESTNeuron as NESTNeuron
from dist_sim.nest.neurons.parrot_neuron import parrot_neuron

NEURONS = {model.__name__: model for model in (iaf_cond_exp, iaf_psc_alpha, iaf_psc_delta, iaf_psc_exp, parrot_neuron)}
