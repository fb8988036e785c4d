from __future__ import annotations

from typing import final

import brainunit as u
import jax.numpy as jnp
import numpy as np

from dist_sim.nest.declared import Counter, Parameter, Receptor, State, recordable
from dist_sim.nest.laws import Linear
from dist_sim.nest.neurons.linear import constant_to_membrane, exponential_to_membrane
from dist_sim.nest.neurons.neuron import NESTNeuron, crossed


@final
class mat2_psc_exp(NESTNeuron):
    r"""Leaky integrator without reset, whose threshold adapts on two time scales; solved exactly on the grid.

    .. math:: \dot V = -(V - E_L)/\tau_m + (I_{ex} + I_{in} + I_e)/C_m, \quad
        \dot I_x = -I_x/\tau_{syn,x} + \sum_k w_k \delta(t - t_k), \quad
        V_{th} = \omega + \theta_1 + \theta_2, \quad \dot \theta_j = -\theta_j/\tau_j + \alpha_j \sum_f \delta(t - t_f)

    A spike where V >= V_th at the end of a step, and then none for t_ref; the potential goes on. Weights are in pA; positive
    ones act on I_ex, negative ones on I_in. `V_th_alpha_1` and `V_th_alpha_2` are the parts of the threshold.

    Source: Kobayashi, Tsubo & Shinomoto (2009), doi:10.3389/neuro.10.009.2009. Checked against NEST 3.10 spike for spike; a
    tau_syn that is tau_m, which NEST refuses, is exact here.
    """

    E_L = Parameter(u.mV, -70.0)
    C_m = Parameter(u.pF, 100.0, above=0.0)
    tau_m = Parameter(u.ms, 5.0, above=0.0)
    tau_syn_ex = Parameter(u.ms, 1.0, above=0.0)
    tau_syn_in = Parameter(u.ms, 3.0, above=0.0)
    t_ref = Parameter(u.ms, 2.0, above=0.0, steps=True)
    tau_1 = Parameter(u.ms, 10.0, above=0.0)
    tau_2 = Parameter(u.ms, 200.0, above=0.0)
    alpha_1 = Parameter(u.mV, 37.0)
    alpha_2 = Parameter(u.mV, 2.0)
    omega = Parameter(u.mV, -51.0, relative_to="E_L")
    I_e = Parameter(u.pA, 0.0)

    V_m = State(u.mV, -70.0, relative_to="E_L")
    V_th_alpha_1 = State(u.mV)
    V_th_alpha_2 = State(u.mV)
    I_ex = State(u.pA, settable=False)
    I_in = State(u.pA, settable=False)
    refractory = Counter()

    spikes_ex = Receptor(u.pA, sign=+1)
    spikes_in = Receptor(u.pA, sign=-1)
    same_dynamics = (("tau_syn_ex", "tau_syn_in"),)
    records = ("V_m", "V_th")
    law = Linear()

    @recordable(u.mV)
    def V_th(y, p):
        return p.omega + p.E_L + y.V_th_alpha_1 + y.V_th_alpha_2

    @staticmethod
    def propagators(p, dt):
        return {
            "P22": np.expm1(-dt / p.tau_m),
            "P20": constant_to_membrane(p.tau_m, p.C_m, dt),
            "P21_ex": exponential_to_membrane(p.tau_syn_ex, p.tau_m, p.C_m, dt),
            "P21_in": exponential_to_membrane(p.tau_syn_in, p.tau_m, p.C_m, dt),
            "P11_ex": np.exp(-dt / p.tau_syn_ex),
            "P11_in": np.exp(-dt / p.tau_syn_in),
            "decay_1": np.exp(-dt / p.tau_1),
            "decay_2": np.exp(-dt / p.tau_2),
        }

    @staticmethod
    def step(y, p, x):
        V = y.V_m + (y.V_m * p.P22 + (p.I_e + x.current) * p.P20 + y.I_ex * p.P21_ex + y.I_in * p.P21_in)
        theta_1, theta_2 = y.V_th_alpha_1 * p.decay_1, y.V_th_alpha_2 * p.decay_2
        spike = (y.refractory == 0) & crossed(V, p.omega + theta_1 + theta_2)
        left = jnp.where(y.refractory == 0, 0, y.refractory - 1)
        return {
            "V_m": V,
            "V_th_alpha_1": jnp.where(spike, theta_1 + p.alpha_1, theta_1),
            "V_th_alpha_2": jnp.where(spike, theta_2 + p.alpha_2, theta_2),
            "I_ex": y.I_ex * p.P11_ex + x.spikes_ex,
            "I_in": y.I_in * p.P11_in + x.spikes_in,
            "refractory": jnp.where(spike, p.t_ref, left),
        }, spike
