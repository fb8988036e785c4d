from __future__ import annotations

from typing import final

import brainunit as u

from dist_sim.nest.synapses.declared import WEIGHT, Parameter, Trace, Variable
from dist_sim.nest.synapses.powers import grown, shrunk
from dist_sim.nest.synapses.synapse import Synapse


@final
class stdp_nn_pre_centered_synapse(Synapse):
    """`stdp_synapse` with nearest neighbours around the presynaptic spikes: a postsynaptic spike is paired with all
    presynaptic ones since the postsynaptic spike before, and a presynaptic spike with the last postsynaptic one.

    Source: Morrison, Diesmann & Gerstner (2008), doi:10.1007/s00422-008-0233-1, fig. 7B. Names, defaults and order of
        operations are
    NEST's. Checked against NEST 3.10.
    """

    tau_plus = Parameter(u.ms, 20.0, above=0.0, decays=True)
    lambda_ = Parameter(u.UNITLESS, 0.01)
    alpha = Parameter(u.UNITLESS, 1.0)
    mu_plus = Parameter(u.UNITLESS, 1.0, at_least=0.0)
    mu_minus = Parameter(u.UNITLESS, 1.0, at_least=0.0)
    Wmax = Parameter(WEIGHT, 100.0)

    Kplus = Variable(0.0, at_least=0.0)
    K_minus = Trace("tau_minus", nearest=True)

    @staticmethod
    def on_post(s, p, e):
        return {"weight": grown(s.weight, s.Kplus * e.decay.tau_plus, p), "Kplus": 0.0}

    @staticmethod
    def on_pre(s, p, e):
        weight = shrunk(s.weight, e.K_minus, p)
        return {"weight": weight, "Kplus": s.Kplus * e.decay.tau_plus + 1.0}, weight
