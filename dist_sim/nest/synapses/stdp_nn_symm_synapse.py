from __future__ import annotations

from typing import final

import brainunit as u

from dist_sim.nest.synapses.declared import WEIGHT, Parameter, Trace
from dist_sim.nest.synapses.powers import grown, shrunk
from dist_sim.nest.synapses.synapse import Synapse


@final
class stdp_nn_symm_synapse(Synapse):
    """`stdp_synapse` that counts nearest neighbours only, on both sides: each postsynaptic spike is paired with the last
    presynaptic one, and each presynaptic spike with the last postsynaptic one.

    Before the first presynaptic spike, postsynaptic ones are paired with time 0, as in NEST.

    Source: Morrison, Diesmann & Gerstner (2008), doi:10.1007/s00422-008-0233-1, fig. 7A. Names, defaults and order of
        operations are
    NEST's. Checked against NEST 3.10.
    """

    tau_plus = Parameter(u.ms, 20.0, above=0.0, decays=True)
    lambda_ = Parameter(u.UNITLESS, 0.01)
    alpha = Parameter(u.UNITLESS, 1.0)
    mu_plus = Parameter(u.UNITLESS, 1.0, at_least=0.0)
    mu_minus = Parameter(u.UNITLESS, 1.0, at_least=0.0)
    Wmax = Parameter(WEIGHT, 100.0)

    K_minus = Trace("tau_minus", nearest=True)

    @staticmethod
    def on_post(s, p, e):
        return {"weight": grown(s.weight, e.decay.tau_plus, p)}

    @staticmethod
    def on_pre(s, p, e):
        weight = shrunk(s.weight, e.K_minus, p)
        return {"weight": weight}, weight
