from __future__ import annotations

from typing import final

import brainunit as u
import jax.numpy as jnp

from dist_sim.nest.declared import Counter, Parameter, Receptor, State
from dist_sim.nest.laws import Adaptive
from dist_sim.nest.neurons.neuron import NESTNeuron, crossed


@final
class iaf_cond_exp(NESTNeuron):
    r"""Leaky integrate-and-fire neuron with exponential conductances.

    .. math:: C_m \dot V = -g_L (V - E_L) - g_{ex} (V - E_{ex}) - g_{in} (V - E_{in}) + I, \qquad \dot g_x = -g_x / \tau_{syn,x}

    A spike where V >= V_th at the end of a step; then V = V_reset for t_ref. Weights are in nS; positive ones act on g_ex, the
    sizes of negative ones on g_in.

    Source: Meffin, Burkitt & Grayden (2004), doi:10.1023/B:JCNS.0000014108.03012.81. Checked against NEST 3.10 spike for spike.
    """

    V_th = Parameter(u.mV, -55.0)
    V_reset = Parameter(u.mV, -60.0)
    t_ref = Parameter(u.ms, 2.0, at_least=0.0, steps=True)
    g_L = Parameter(u.nS, 16.6667)
    C_m = Parameter(u.pF, 250.0, above=0.0)
    E_ex = Parameter(u.mV, 0.0)
    E_in = Parameter(u.mV, -85.0)
    E_L = Parameter(u.mV, -70.0)
    tau_syn_ex = Parameter(u.ms, 0.2, above=0.0)
    tau_syn_in = Parameter(u.ms, 2.0, above=0.0)
    I_e = Parameter(u.pA, 0.0)

    V_m = State(u.mV, -70.0)
    g_ex = State(u.nS)
    g_in = State(u.nS)
    refractory = Counter()

    spikes_ex = Receptor(u.nS, sign=+1)
    spikes_in = Receptor(u.nS, sign=-1)
    law = Adaptive(tolerance=1e-3)

    @staticmethod
    def derivatives(y, p, x):
        is_refractory = y.refractory > 0
        V = jnp.where(is_refractory, p.V_reset, jnp.minimum(y.V_m, p.V_th))
        I_syn = y.g_ex * (V - p.E_ex) + y.g_in * (V - p.E_in)
        dV = (-(p.g_L * (V - p.E_L)) - I_syn + x.current + p.I_e) / p.C_m
        return {
            "V_m": jnp.where(is_refractory, 0.0, dV),
            "g_ex": -y.g_ex / p.tau_syn_ex,
            "g_in": -y.g_in / p.tau_syn_in,
        }

    @staticmethod
    def step(y, p, x):
        is_refractory = y.refractory > 0
        spike = ~is_refractory & crossed(y.V_m, p.V_th)
        return {
            "V_m": jnp.where(is_refractory | spike, p.V_reset, y.V_m),
            "g_ex": y.g_ex + x.spikes_ex,
            "g_in": y.g_in - x.spikes_in,
            "refractory": jnp.where(spike, p.t_ref, jnp.where(is_refractory, y.refractory - 1, 0)),
        }, spike
