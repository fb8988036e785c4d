from __future__ import annotations

from typing import final

import brainunit as u
import jax.numpy as jnp

from dist_sim.nest.synapses.declared import Parameter, Trace, Variable
from dist_sim.nest.synapses.powers import power
from dist_sim.nest.synapses.synapse import Synapse


@final
class stdp_pl_synapse_hom(Synapse):
    r"""Spike-timing dependent plasticity with power-law potentiation and multiplicative depression, without a largest weight.

    Each postsynaptic spike, a delay later, and each presynaptic spike change

    .. math:: w \to w + \lambda w^{\mu} K_+, \qquad w \to \max(0, w - \lambda \alpha w K_-)

    in the unit of the target's input. A run ends with an error if a weight grows to 64 times the largest initial one.

    Source: Morrison, Aertsen & Diesmann (2007), doi:10.1162/neco.2007.19.6.1437. Names, defaults and order of operations are
        NEST's.
    Checked against NEST 3.10.
    """

    tau_plus = Parameter(u.ms, 20.0, above=0.0, decays=True)
    lambda_ = Parameter(u.UNITLESS, 0.1)
    alpha = Parameter(u.UNITLESS, 1.0)
    mu = Parameter(u.UNITLESS, 0.4)

    Kplus = Variable(0.0, at_least=0.0)
    K_minus = Trace("tau_minus")

    @classmethod
    def largest(cls, p, largest):
        return None

    @staticmethod
    def on_post(s, p, e):
        return {"weight": s.weight + p.lambda_ * power(s.weight, p.mu) * (s.Kplus * e.decay.tau_plus)}

    @staticmethod
    def on_pre(s, p, e):
        weight = s.weight - p.lambda_ * p.alpha * s.weight * e.K_minus
        weight = jnp.where((weight > 0.0) | ~jnp.isfinite(weight), weight, 0.0)
        return {"weight": weight, "Kplus": s.Kplus * e.decay.tau_plus + 1.0}, weight
