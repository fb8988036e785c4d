from __future__ import annotations

from typing import final

import brainunit as u
import jax.numpy as jnp

from dist_sim.nest.synapses.declared import WEIGHT, Parameter, Trace, Variable
from dist_sim.nest.synapses.powers import within
from dist_sim.nest.synapses.synapse import Synapse


@final
class vogels_sprekeler_synapse(Synapse):
    r"""Symmetric spike-timing dependent plasticity with a constant depression, for inhibitory synapses.

    Each postsynaptic spike, a delay later, and each presynaptic spike change the size of the weight, between 0 and that of Wmax:

    .. math:: |w| \to |w| + \eta K_+, \qquad |w| \to |w| + \eta K_- - \alpha \eta

    where the traces K grow by 1 with a spike of their neuron and decay with tau and with tau_minus of the target: give both
    one value. eta is in the unit of the target's input.

    Source: Vogels, Sprekeler, Zenke, Clopath & Gerstner (2011), doi:10.1126/science.1211095. Names, defaults and order of
    operations are NEST's. Checked against NEST 3.10.
    """

    tau = Parameter(u.ms, 20.0, above=0.0, decays=True)
    alpha = Parameter(u.UNITLESS, 0.12)
    eta = Parameter(u.UNITLESS, 1e-3)
    Wmax = Parameter(WEIGHT, 1.0)

    default_weight = 0.5

    Kplus = Variable(0.0, at_least=0.0)
    K_minus = Trace("tau_minus")

    @staticmethod
    def on_post(s, p, e):
        return {"weight": within(jnp.abs(s.weight) + p.eta * (s.Kplus * e.decay.tau), p.Wmax)}

    @staticmethod
    def on_pre(s, p, e):
        facilitated = within(jnp.abs(s.weight) + p.eta * e.K_minus, p.Wmax)
        weight = within(jnp.abs(facilitated) - p.alpha * p.eta, p.Wmax)
        return {"weight": weight, "Kplus": s.Kplus * e.decay.tau + 1.0}, weight
