from __future__ import annotations

from typing import final

import brainunit as u
import jax.numpy as jnp

from dist_sim.nest.synapses.declared import WEIGHT, Parameter, Trace, Variable
from dist_sim.nest.synapses.powers import within
from dist_sim.nest.synapses.synapse import Synapse


@final
class stdp_triplet_synapse(Synapse):
    r"""Spike-timing dependent plasticity by triplets of spikes.

    Each postsynaptic spike, a delay later, and each presynaptic spike change the size of the weight, between 0 and that of Wmax:

    .. math:: |w| \to |w| + K_+ (A_+ + A_{+3} K_{-3}), \qquad |w| \to |w| - K_- (A_- + A_{-3} K_{+3})

    where the traces K grow by 1 with a spike of their neuron, and those of triplets are taken just before the spike. tau_minus
    and tau_minus_triplet are parameters of the target. Amplitudes are in the unit of the target's input.

    Source: Pfister & Gerstner (2006), doi:10.1523/JNEUROSCI.1425-06.2006. Names, defaults and order of operations are NEST's.
    Checked against NEST 3.10.
    """

    tau_plus = Parameter(u.ms, 16.8, above=0.0, decays=True)
    tau_plus_triplet = Parameter(u.ms, 101.0, above=0.0, decays=True)
    Aplus = Parameter(u.UNITLESS, 5e-10)
    Aplus_triplet = Parameter(u.UNITLESS, 6.2e-3)
    Aminus = Parameter(u.UNITLESS, 7e-3)
    Aminus_triplet = Parameter(u.UNITLESS, 2.3e-4)
    Wmax = Parameter(WEIGHT, 100.0)

    Kplus = Variable(0.0, at_least=0.0)
    Kplus_triplet = Variable(0.0, at_least=0.0)
    K_minus = Trace("tau_minus")
    K_minus_triplet = Trace("tau_minus_triplet")

    @staticmethod
    def on_post(s, p, e):
        K_plus = s.Kplus * e.decay.tau_plus
        return {"weight": within(jnp.abs(s.weight) + K_plus * (p.Aplus + p.Aplus_triplet * e.K_minus_triplet), p.Wmax)}

    @staticmethod
    def on_pre(s, p, e):
        triplet = s.Kplus_triplet * e.decay.tau_plus_triplet
        weight = within(jnp.abs(s.weight) - e.K_minus * (p.Aminus + p.Aminus_triplet * triplet), p.Wmax)
        changed = {"weight": weight, "Kplus": s.Kplus * e.decay.tau_plus + 1.0, "Kplus_triplet": triplet + 1.0}
        return changed, weight
