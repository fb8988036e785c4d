from __future__ import annotations

from typing import final

import brainunit as u
import jax.numpy as jnp
import numpy as np

from dist_sim.nest.declared import Counter, Parameter, Receptor, State
from dist_sim.nest.laws import Adaptive
from dist_sim.nest.neurons.hodgkin_huxley import squid
from dist_sim.nest.neurons.neuron import NESTNeuron


@final
class hh_psc_alpha(NESTNeuron):
    r"""Hodgkin-Huxley neuron of the squid's giant axon with alpha-shaped postsynaptic currents.

    .. math:: C_m \dot V = -g_{Na} m^3 h (V - E_{Na}) - g_K n^4 (V - E_K) - g_L (V - E_L) + I_{ex} + I_{in} + I_e + I, \quad
        \dot x = \alpha_x(V) (1 - x) - \beta_x(V) x

    A spike at the end of the step where V >= 0 has begun to fall, if t_ref has passed since the last one; nothing is reset.
    Weights are in pA, the peak of the current; positive ones act on I_syn_ex, negative ones on I_syn_in.

    Source: Hodgkin & Huxley (1952), doi:10.1113/jphysiol.1952.sp004764; Gerstner & Kistler (2002), Spiking Neuron Models,
    doi:10.1017/CBO9780511815706. Checked against NEST 3.10 spike for spike.
    """

    E_L = Parameter(u.mV, -54.402)
    C_m = Parameter(u.pF, 100.0, above=0.0)
    g_Na = Parameter(u.nS, 12000.0, at_least=0.0)
    g_K = Parameter(u.nS, 3600.0, at_least=0.0)
    g_L = Parameter(u.nS, 30.0, at_least=0.0)
    E_Na = Parameter(u.mV, 50.0)
    E_K = Parameter(u.mV, -77.0)
    tau_syn_ex = Parameter(u.ms, 0.2, above=0.0)
    tau_syn_in = Parameter(u.ms, 2.0, above=0.0)
    t_ref = Parameter(u.ms, 2.0, at_least=0.0, steps=True)
    I_e = Parameter(u.pA, 0.0)

    V_m = State(u.mV, -65.0)
    Act_m = State(u.UNITLESS, 0.05293248525724958, at_least=0.0)
    Inact_h = State(u.UNITLESS, 0.5961207535084603, at_least=0.0)
    Act_n = State(u.UNITLESS, 0.3176769140606974, at_least=0.0)
    dI_syn_ex = State(u.pA / u.ms, settable=False)
    I_syn_ex = State(u.pA, settable=False)
    dI_syn_in = State(u.pA / u.ms, settable=False)
    I_syn_in = State(u.pA, settable=False)
    refractory = Counter()

    spikes_ex = Receptor(u.pA, sign=+1)
    spikes_in = Receptor(u.pA, sign=-1)
    records = ("V_m", "I_syn_ex", "I_syn_in", "Act_m", "Inact_h", "Act_n")
    law = Adaptive(tolerance=1e-3)

    @staticmethod
    def propagators(p, dt):
        return {
            "per_C_m": 1 / p.C_m,
            "rate_ex": 1 / p.tau_syn_ex,
            "rate_in": 1 / p.tau_syn_in,
            "rise_ex": np.e / p.tau_syn_ex,
            "rise_in": np.e / p.tau_syn_in,
        }

    @staticmethod
    def derivatives(y, p, x):
        V, m, h, n = y.V_m, y.Act_m, y.Inact_h, y.Act_n
        alpha_n, beta_n, alpha_m, beta_m, alpha_h, beta_h = squid(V)
        I_Na = p.g_Na * m * m * m * h * (V - p.E_Na)
        I_K = p.g_K * n * n * n * n * (V - p.E_K)
        I_L = p.g_L * (V - p.E_L)
        return {
            "V_m": (-(I_Na + I_K + I_L) + x.current + p.I_e + y.I_syn_ex + y.I_syn_in) * p.per_C_m,
            "Act_m": alpha_m * (1.0 - m) - beta_m * m,
            "Inact_h": alpha_h * (1.0 - h) - beta_h * h,
            "Act_n": alpha_n * (1.0 - n) - beta_n * n,
            "dI_syn_ex": -y.dI_syn_ex * p.rate_ex,
            "I_syn_ex": y.dI_syn_ex - y.I_syn_ex * p.rate_ex,
            "dI_syn_in": -y.dI_syn_in * p.rate_in,
            "I_syn_in": y.dI_syn_in - y.I_syn_in * p.rate_in,
        }

    @staticmethod
    def step(y, p, x):
        is_refractory = y.refractory > 0
        spike = ~is_refractory & (y.V_m >= 0.0) & (x.before.V_m > y.V_m)
        return {
            "dI_syn_ex": y.dI_syn_ex + x.spikes_ex * p.rise_ex,
            "dI_syn_in": y.dI_syn_in + x.spikes_in * p.rise_in,
            "refractory": jnp.where(spike, p.t_ref, jnp.where(is_refractory, y.refractory - 1, 0)),
        }, spike
