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
class iaf_psc_exp_multisynapse(NESTNeuron):
    r"""Leaky integrate-and-fire neuron with any number of exponential postsynaptic currents, solved exactly on the grid.

    .. math:: \dot V = -(V - E_L)/\tau_m + (\sum_k I_k + I_e)/C_m, \quad \dot I_k = -I_k/\tau_{syn,k} + \sum_j w_j \delta(t - t_j)

    A spike where V >= V_th at the end of a step; then V = V_reset for t_ref. Receptor k = 1, 2, ... has the time constant
    tau_syn[k - 1] and takes weights [pA] of both signs.

    Source: Rotter & Diesmann (1999), doi:10.1007/s004220050570. Checked against NEST 3.10 spike for spike.
    """

    E_L = Parameter(u.mV, -70.0)
    C_m = Parameter(u.pF, 250.0, above=0.0)
    tau_m = Parameter(u.ms, 10.0, above=0.0)
    tau_syn = Parameter(u.ms, (2.0,), axis="receptor", above=0.0)
    t_ref = Parameter(u.ms, 2.0, at_least=0.0, steps=True)
    V_th = Parameter(u.mV, -55.0, relative_to="E_L")
    V_reset = Parameter(u.mV, -70.0, relative_to="E_L")
    I_e = Parameter(u.pA, 0.0)

    V_m = State(u.mV, -70.0, relative_to="E_L")
    I_syn = State(u.pA, axis="receptor", settable=False)
    refractory = Counter()

    spikes = Receptor(u.pA, port=1, axis="receptor")
    law = Linear()

    @recordable(u.pA, name="I_syn")
    def I_syn_sum(y, p):
        return sum(y.I_syn)

    @staticmethod
    def propagators(p, dt):
        return {
            "P22": np.expm1(-dt / p.tau_m),
            "P20": constant_to_membrane(p.tau_m, p.C_m, dt),
            "P21": [exponential_to_membrane(tau, p.tau_m, p.C_m, dt) for tau in p.tau_syn],
            "P11": [np.exp(-dt / tau) for tau in p.tau_syn],
        }

    @staticmethod
    def step(y, p, x):
        change = y.V_m * p.P22 + (p.I_e + x.current) * p.P20
        for current, P21 in zip(y.I_syn, p.P21, strict=True):
            change = change + current * P21
        V = jnp.where(y.refractory == 0, y.V_m + change, y.V_m)
        spike = crossed(V, p.V_th)
        left = jnp.where(y.refractory == 0, 0, y.refractory - 1)
        return {
            "V_m": jnp.where(spike, p.V_reset, V),
            "I_syn": [current * P11 + arrived for current, P11, arrived in zip(y.I_syn, p.P11, x.spikes, strict=True)],
            "refractory": jnp.where(spike, p.t_ref, left),
        }, spike
