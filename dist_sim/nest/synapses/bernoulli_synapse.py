from __future__ import annotations

from typing import final

import brainunit as u

from dist_sim.nest.synapses.declared import Parameter
from dist_sim.nest.synapses.synapse import Synapse


@final
class bernoulli_synapse(Synapse):
    """Synapses that pass on each spike with a probability, independently.

    Random numbers are keyed by the seed, the synapse, the step and the spike: the same on any placement.

    Source: Lefort, Tomm, Sarria & Petersen (2009), doi:10.1016/j.neuron.2008.12.020, has such probabilities. Names and
        defaults are
    NEST's. Checked against NEST 3.10 by distributions.
    """

    p_transmit = Parameter(u.UNITLESS, 1.0, at_least=0.0, at_most=1.0)

    @classmethod
    def uniforms(cls, p):
        return 1

    @staticmethod
    def on_pre(s, p, e):
        return {}, s.weight, e.uniforms[0] < p.p_transmit
