from __future__ import annotations

from typing import final

import brainunit as u
import jax.numpy as jnp
import numpy as np

from dist_sim.nest.declared import Counter, Parameter, Receptor, State
from dist_sim.nest.laws import Linear
from dist_sim.nest.neurons.linear import alpha_to_membrane, constant_to_membrane
from dist_sim.nest.neurons.neuron import NESTNeuron, crossed


@final
class iaf_psc_alpha(NESTNeuron):
    r"""Leaky integrate-and-fire neuron with alpha-shaped postsynaptic currents, solved exactly on the grid.

    .. math:: \dot V = -(V - E_L)/\tau_m + (I_{ex} + I_{in} + I_e)/C_m, \quad
        I_x(t) = \sum_k w_k \frac{e}{\tau_{syn,x}} (t - t_k) e^{-(t - t_k)/\tau_{syn,x}}

    A spike where V >= V_th at the end of a step; then V = V_reset for t_ref. Weights [pA] are the amplitudes of the currents;
    positive ones act on I_syn_ex, negative ones on I_syn_in.

    Source: Diesmann et al. (2001), doi:10.1016/S0925-2312(01)00409-X; Rotter & Diesmann (1999), doi:10.1007/s004220050570.
    Checked against NEST 3.10 spike for spike.
    """

    E_L = Parameter(u.mV, -70.0)
    C_m = Parameter(u.pF, 250.0, above=0.0)
    tau_m = Parameter(u.ms, 10.0, above=0.0)
    tau_syn_ex = Parameter(u.ms, 2.0, above=0.0)
    tau_syn_in = Parameter(u.ms, 2.0, above=0.0)
    t_ref = Parameter(u.ms, 2.0, at_least=0.0, steps=True)
    V_th = Parameter(u.mV, -55.0, relative_to="E_L")
    V_reset = Parameter(u.mV, -70.0, relative_to="E_L")
    V_min = Parameter(u.mV, -np.inf, relative_to="E_L")
    I_e = Parameter(u.pA, 0.0)

    V_m = State(u.mV, -70.0, relative_to="E_L")
    I_syn_ex = State(u.pA, settable=False)
    I_syn_in = State(u.pA, settable=False)
    dI_syn_ex = State(u.pA / u.ms, settable=False)
    dI_syn_in = State(u.pA / u.ms, settable=False)
    refractory = Counter()

    spikes_ex = Receptor(u.pA, sign=+1)
    spikes_in = Receptor(u.pA, sign=-1)
    same_dynamics = (("tau_syn_ex", "tau_syn_in"),)
    records = ("V_m", "I_syn_ex", "I_syn_in")
    law = Linear()

    @staticmethod
    def propagators(p, dt):
        P31_ex, P32_ex = alpha_to_membrane(p.tau_syn_ex, p.tau_m, p.C_m, dt)
        P31_in, P32_in = alpha_to_membrane(p.tau_syn_in, p.tau_m, p.C_m, dt)
        return {
            "P33": np.expm1(-dt / p.tau_m),
            "P30": constant_to_membrane(p.tau_m, p.C_m, dt),
            "P31_ex": P31_ex,
            "P31_in": P31_in,
            "P32_ex": P32_ex,
            "P32_in": P32_in,
            "P21_ex": dt * np.exp(-dt / p.tau_syn_ex),
            "P21_in": dt * np.exp(-dt / p.tau_syn_in),
            "P11_ex": np.exp(-dt / p.tau_syn_ex),
            "P11_in": np.exp(-dt / p.tau_syn_in),
            "rise_ex": np.e / p.tau_syn_ex,
            "rise_in": np.e / p.tau_syn_in,
        }

    @staticmethod
    def step(y, p, x):
        change = y.V_m * p.P33 + (p.I_e + x.current) * p.P30
        change = change + (y.dI_syn_ex * p.P31_ex + y.I_syn_ex * p.P32_ex) + (y.dI_syn_in * p.P31_in + y.I_syn_in * p.P32_in)
        V = jnp.where(y.refractory == 0, jnp.maximum(y.V_m + change, p.V_min), y.V_m)
        spike = crossed(V, p.V_th)
        left = jnp.where(y.refractory == 0, 0, y.refractory - 1)
        return {
            "V_m": jnp.where(spike, p.V_reset, V),
            "I_syn_ex": y.dI_syn_ex * p.P21_ex + y.I_syn_ex * p.P11_ex,
            "I_syn_in": y.dI_syn_in * p.P21_in + y.I_syn_in * p.P11_in,
            "dI_syn_ex": y.dI_syn_ex * p.P11_ex + x.spikes_ex * p.rise_ex,
            "dI_syn_in": y.dI_syn_in * p.P11_in + x.spikes_in * p.rise_in,
            "refractory": jnp.where(spike, p.t_ref, left),
        }, spike
