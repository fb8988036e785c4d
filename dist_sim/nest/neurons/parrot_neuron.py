from __future__ import annotations

from typing import final

import brainunit as u

from dist_sim.nest.declared import Receptor
from dist_sim.nest.laws import Discrete
from dist_sim.nest.neurons.neuron import NESTNeuron


@final
class parrot_neuron(NESTNeuron):
    """Repeats every spike that it receives at receptor type 0, in the step in which it arrives, whatever its weight.

    Several spikes that arrive together are sent as several. What arrives at receptor type 1 is ignored: a plastic synapse can end
    there without effect. Source: NEST 3.10, checked against it spike for spike.
    """

    spikes = Receptor(u.UNITLESS, counts=True)
    ignored = Receptor(u.UNITLESS, port=1, counts=True)
    several_spikes = relays = True
    law = Discrete()

    @staticmethod
    def step(y, p, x):
        return {}, x.spikes
