from __future__ import annotations

from typing import final

import brainunit as u
import jax.numpy as jnp
import numpy as np

from dist_sim.nest.declared import Counter, Parameter, Receptor, State
from dist_sim.nest.laws import Linear
from dist_sim.nest.neurons.linear import constant_to_membrane
from dist_sim.nest.neurons.neuron import NESTNeuron, crossed


@final
class iaf_psc_delta(NESTNeuron):
    r"""Leaky integrate-and-fire neuron whose potential jumps by the weight of every incoming spike, solved exactly on the grid.

    .. math:: \dot V = -(V - E_L)/\tau_m + I_e/C_m + \sum_k w_k \delta(t - t_k)

    A spike where V >= V_th at the end of a step; then V = V_reset for t_ref. What arrives meanwhile is lost, or, with
    `refractory_input`, waits, decaying with tau_m, and is added at the end of refractoriness. Weights are in mV.

    Source: Rotter & Diesmann (1999), doi:10.1007/s004220050570. Checked against NEST 3.10 spike for spike.
    """

    E_L = Parameter(u.mV, -70.0)
    C_m = Parameter(u.pF, 250.0, above=0.0)
    tau_m = Parameter(u.ms, 10.0, above=0.0)
    t_ref = Parameter(u.ms, 2.0, at_least=0.0, steps=True)
    V_th = Parameter(u.mV, -55.0, relative_to="E_L")
    V_reset = Parameter(u.mV, -70.0, relative_to="E_L")
    V_min = Parameter(u.mV, -np.inf, relative_to="E_L")
    I_e = Parameter(u.pA, 0.0)
    refractory_input = Parameter(u.UNITLESS, False)

    V_m = State(u.mV, -70.0, relative_to="E_L")
    waiting = State(u.mV, settable=False)
    refractory = Counter()

    spikes = Receptor(u.mV)
    records = ("V_m",)
    law = Linear()

    @staticmethod
    def propagators(p, dt):
        return {
            "P33": np.expm1(-dt / p.tau_m),
            "P30": constant_to_membrane(p.tau_m, p.C_m, dt),
            "decay": np.exp(-dt / p.tau_m),
        }

    @staticmethod
    def step(y, p, x):
        free = y.refractory == 0
        moved = y.V_m + (y.V_m * p.P33 + (p.I_e + x.current) * p.P30) + x.spikes + y.waiting
        V = jnp.where(free, jnp.maximum(moved, p.V_min), y.V_m)
        # Kept as it will be at the end of refractoriness: what is there already decays while it waits.
        waiting = jnp.where(free | ~p.refractory_input, 0.0, (y.waiting + x.spikes) * p.decay)
        spike = crossed(V, p.V_th)
        return {
            "V_m": jnp.where(spike, p.V_reset, V),
            "waiting": waiting,
            "refractory": jnp.where(spike, p.t_ref, jnp.where(free, 0, y.refractory - 1)),
        }, spike
