from __future__ import annotations

from typing import final

import brainunit as u
import jax.numpy as jnp

from dist_sim.nest.synapses.declared import WEIGHT, Parameter, Trace, Variable
from dist_sim.nest.synapses.powers import grown, shrunk
from dist_sim.nest.synapses.synapse import Synapse


@final
class stdp_nn_restr_synapse(Synapse):
    """`stdp_synapse` that counts only pairs of spikes that follow each other at once: the first postsynaptic spike after a
    presynaptic one, and a presynaptic spike with the last postsynaptic one if there was any since the presynaptic spike before.

    Source: Morrison, Diesmann & Gerstner (2008), doi:10.1007/s00422-008-0233-1, fig. 7C. Names, defaults and order of
        operations are
    NEST's. Checked against NEST 3.10.
    """

    tau_plus = Parameter(u.ms, 20.0, above=0.0, decays=True)
    lambda_ = Parameter(u.UNITLESS, 0.01)
    alpha = Parameter(u.UNITLESS, 1.0)
    mu_plus = Parameter(u.UNITLESS, 1.0, at_least=0.0)
    mu_minus = Parameter(u.UNITLESS, 1.0, at_least=0.0)
    Wmax = Parameter(WEIGHT, 100.0)

    followed = Variable(0.0, hidden=True)  # 1 if the target has spiked since the last presynaptic spike
    K_minus = Trace("tau_minus", nearest=True)

    @staticmethod
    def on_post(s, p, e):
        return {"weight": jnp.where(s.followed > 0.0, s.weight, grown(s.weight, e.decay.tau_plus, p)), "followed": 1.0}

    @staticmethod
    def on_pre(s, p, e):
        weight = jnp.where(s.followed > 0.0, shrunk(s.weight, e.K_minus, p), s.weight)
        return {"weight": weight, "followed": 0.0}, weight
