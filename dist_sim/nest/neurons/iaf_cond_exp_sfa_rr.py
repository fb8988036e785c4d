from __future__ import annotations

from typing import final

import brainunit as u
import jax.numpy as jnp

from dist_sim.nest.declared import Counter, Parameter, Receptor, State
from dist_sim.nest.laws import Adaptive
from dist_sim.nest.neurons.conductance import fire, seen, unless_refractory
from dist_sim.nest.neurons.neuron import NESTNeuron


@final
class iaf_cond_exp_sfa_rr(NESTNeuron):
    r"""Integrate-and-fire neuron with exponential conductances, spike-frequency adaptation and relative refractoriness.

    .. math:: C_m \dot V = -g_L (V - E_L) - \sum_x g_x (V - E_x) + I, \qquad \dot g_x = -g_x / \tau_x, \quad x = ex, in, sfa, rr

    A spike where V >= V_th at the end of a step; then V = V_reset for t_ref, and g_sfa and g_rr grow by q_sfa and q_rr. Weights
    are in nS; positive ones act on g_ex, the sizes of negative ones on g_in.

    Source: Dayan & Abbott (2001), Theoretical Neuroscience, MIT Press, p. 166; Muller et al. (2007),
    doi:10.1162/neco.2007.19.11.2958.
    Checked against NEST 3.10 spike for spike.
    """

    V_th = Parameter(u.mV, -57.0)
    V_reset = Parameter(u.mV, -70.0)
    t_ref = Parameter(u.ms, 0.5, at_least=0.0, steps=True)
    g_L = Parameter(u.nS, 28.95)
    C_m = Parameter(u.pF, 289.5, above=0.0)
    E_ex = Parameter(u.mV, 0.0)
    E_in = Parameter(u.mV, -75.0)
    E_L = Parameter(u.mV, -70.0)
    tau_syn_ex = Parameter(u.ms, 1.5, above=0.0)
    tau_syn_in = Parameter(u.ms, 10.0, above=0.0)
    I_e = Parameter(u.pA, 0.0)
    tau_sfa = Parameter(u.ms, 110.0, above=0.0)
    tau_rr = Parameter(u.ms, 1.97, above=0.0)
    E_sfa = Parameter(u.mV, -70.0)
    E_rr = Parameter(u.mV, -70.0)
    q_sfa = Parameter(u.nS, 14.48)
    q_rr = Parameter(u.nS, 3214.0)

    V_m = State(u.mV, -70.0)
    g_ex = State(u.nS)
    g_in = State(u.nS)
    g_sfa = State(u.nS)
    g_rr = State(u.nS)
    refractory = Counter()

    spikes_ex = Receptor(u.nS, sign=+1)
    spikes_in = Receptor(u.nS, sign=-1)
    law = Adaptive(tolerance=1e-3)

    @staticmethod
    def propagators(p, dt):
        return {
            "per_C": 1 / p.C_m,
            "rate_ex": 1 / p.tau_syn_ex,
            "rate_in": 1 / p.tau_syn_in,
            "rate_sfa": 1 / p.tau_sfa,
            "rate_rr": 1 / p.tau_rr,
        }

    @staticmethod
    def derivatives(y, p, x):
        V = seen(y, p)
        current = -(p.g_L * (V - p.E_L)) + x.current + p.I_e - y.g_ex * (V - p.E_ex) - y.g_in * (V - p.E_in)
        return {
            "V_m": unless_refractory(y, (current - y.g_sfa * (V - p.E_sfa) - y.g_rr * (V - p.E_rr)) * p.per_C),
            "g_ex": -y.g_ex * p.rate_ex,
            "g_in": -y.g_in * p.rate_in,
            "g_sfa": -y.g_sfa * p.rate_sfa,
            "g_rr": -y.g_rr * p.rate_rr,
        }

    @staticmethod
    def step(y, p, x):
        membrane, spike = fire(y, p)
        return {
            **membrane,
            "g_ex": y.g_ex + x.spikes_ex,
            "g_in": y.g_in - x.spikes_in,
            "g_sfa": jnp.where(spike, y.g_sfa + p.q_sfa, y.g_sfa),
            "g_rr": jnp.where(spike, y.g_rr + p.q_rr, y.g_rr),
        }, spike
