from __future__ import annotations

from typing import final

import brainunit as u
import jax.numpy as jnp

from dist_sim.nest.declared import Counter, Parameter, Receptor, State
from dist_sim.nest.laws import Adaptive
from dist_sim.nest.neurons.hodgkin_huxley import hippocampal
from dist_sim.nest.neurons.neuron import NESTNeuron


@final
class hh_cond_exp_traub(NESTNeuron):
    r"""Hodgkin-Huxley neuron of hippocampal pyramidal cells with exponential conductances.

    .. math:: C_m \dot V = -g_{Na} m^3 h (V - E_{Na}) - g_K n^4 (V - E_K) - g_L (V - E_L) - g_{ex} (V - E_{ex})
        - g_{in} (V - E_{in}) + I_e + I, \quad \dot x = \alpha_x - (\alpha_x + \beta_x) x, \quad \dot g_x = -g_x / \tau_{syn,x}

    with rates that depend on V - V_T. A spike at the end of the step where V >= V_T + 30 mV has begun to fall, if t_ref has
    passed since the last one; nothing is reset. Weights are in nS; positive ones act on g_ex, the sizes of negative ones on g_in.

    Source: Traub & Miles (1991), doi:10.1017/CBO9780511895401, as in Brette et al. (2007), doi:10.1007/s10827-007-0038-6,
    appendix 3. Checked against NEST 3.10 spike for spike.
    """

    E_L = Parameter(u.mV, -60.0)
    C_m = Parameter(u.pF, 200.0, above=0.0)
    g_Na = Parameter(u.nS, 20000.0, at_least=0.0)
    g_K = Parameter(u.nS, 6000.0, at_least=0.0)
    g_L = Parameter(u.nS, 10.0, at_least=0.0)
    E_Na = Parameter(u.mV, 50.0)
    E_K = Parameter(u.mV, -90.0)
    V_T = Parameter(u.mV, -63.0)
    E_ex = Parameter(u.mV, 0.0)
    E_in = Parameter(u.mV, -80.0)
    tau_syn_ex = Parameter(u.ms, 5.0, above=0.0)
    tau_syn_in = Parameter(u.ms, 10.0, above=0.0)
    t_ref = Parameter(u.ms, 2.0, at_least=0.0, steps=True)
    I_e = Parameter(u.pA, 0.0)

    V_m = State(u.mV, -60.0)
    Act_m = State(u.UNITLESS, 9.895563096746586e-09, at_least=0.0)
    Inact_h = State(u.UNITLESS, 0.999999999106396, at_least=0.0)
    Act_n = State(u.UNITLESS, 2.551577051602551e-07, at_least=0.0)
    g_ex = State(u.nS, settable=False)
    g_in = State(u.nS, settable=False)
    refractory = Counter()

    spikes_ex = Receptor(u.nS, sign=+1)
    spikes_in = Receptor(u.nS, sign=-1)
    law = Adaptive(tolerance=1e-3)

    @staticmethod
    def propagators(p, dt):
        return {"per_C_m": 1 / p.C_m, "rate_ex": 1 / p.tau_syn_ex, "rate_in": 1 / p.tau_syn_in}

    @staticmethod
    def derivatives(y, p, x):
        V, m, h, n = y.V_m, y.Act_m, y.Inact_h, y.Act_n
        alpha_n, beta_n, alpha_m, beta_m, alpha_h, beta_h = hippocampal(V - p.V_T)
        I_Na = p.g_Na * m * m * m * h * (V - p.E_Na)
        I_K = p.g_K * n * n * n * n * (V - p.E_K)
        I_L = p.g_L * (V - p.E_L)
        I_syn_ex = y.g_ex * (V - p.E_ex)
        I_syn_in = y.g_in * (V - p.E_in)
        return {
            "V_m": (-I_Na - I_K - I_L - I_syn_ex - I_syn_in + x.current + p.I_e) * p.per_C_m,
            "Act_m": alpha_m - (alpha_m + beta_m) * m,
            "Inact_h": alpha_h - (alpha_h + beta_h) * h,
            "Act_n": alpha_n - (alpha_n + beta_n) * n,
            "g_ex": -y.g_ex * p.rate_ex,
            "g_in": -y.g_in * p.rate_in,
        }

    @staticmethod
    def step(y, p, x):
        is_refractory = y.refractory > 0
        spike = ~is_refractory & (y.V_m >= p.V_T + 30.0) & (x.before.V_m > y.V_m)
        return {
            "g_ex": y.g_ex + x.spikes_ex,
            "g_in": y.g_in - x.spikes_in,
            "refractory": jnp.where(spike, p.t_ref, jnp.where(is_refractory, y.refractory - 1, 0)),
        }, spike
