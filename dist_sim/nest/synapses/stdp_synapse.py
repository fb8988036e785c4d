from __future__ import annotations

from typing import final

import brainunit as u

from dist_sim.nest.synapses.declared import WEIGHT, Parameter, Trace, Variable
from dist_sim.nest.synapses.powers import grown, shrunk
from dist_sim.nest.synapses.synapse import Synapse


@final
class stdp_synapse(Synapse):
    r"""Pair-based spike-timing dependent plasticity, every pair of spikes counting, with powers of the weight.

    With x = w / Wmax, each postsynaptic spike, a delay later, and each presynaptic spike change

    .. math:: x \to \min(1, x + \lambda (1 - x)^{\mu_+} K_+), \qquad
        x \to \max(0, x - \alpha \lambda x^{\mu_-} K_-)

    where the traces K grow by 1 with a spike of their neuron and decay with tau_plus and tau_minus. mu = 0: additive, 1:
    multiplicative. tau_minus is a parameter of the target. Weights have the sign of Wmax, and are at most as large. The whole
    delay is dendritic, as in NEST. A weight read after a simulation holds the presynaptic spikes that have arrived, and the
    postsynaptic ones up to the last of them at least.

    Source: Guetig et al. (2003), doi:10.1523/JNEUROSCI.23-09-03697.2003; Morrison, Diesmann & Gerstner (2008),
    doi:10.1007/s00422-008-0233-1. Names, defaults and order of operations are NEST's. Checked against NEST 3.10.
    """

    tau_plus = Parameter(u.ms, 20.0, above=0.0, decays=True)
    lambda_ = Parameter(u.UNITLESS, 0.01)
    alpha = Parameter(u.UNITLESS, 1.0)
    mu_plus = Parameter(u.UNITLESS, 1.0, at_least=0.0)
    mu_minus = Parameter(u.UNITLESS, 1.0, at_least=0.0)
    Wmax = Parameter(WEIGHT, 100.0)

    Kplus = Variable(0.0, at_least=0.0)
    K_minus = Trace("tau_minus")

    @staticmethod
    def on_post(s, p, e):
        return {"weight": grown(s.weight, s.Kplus * e.decay.tau_plus, p)}

    @staticmethod
    def on_pre(s, p, e):
        weight = shrunk(s.weight, e.K_minus, p)
        return {"weight": weight, "Kplus": s.Kplus * e.decay.tau_plus + 1.0}, weight
