from __future__ import annotations

from typing import final

import brainunit as u
import jax.numpy as jnp
import numpy as np

from dist_sim.nest.declared import Parameter, Receptor, State, recordable
from dist_sim.nest.laws import Linear
from dist_sim.nest.neurons.neuron import NESTNeuron, crossed


@final
class iaf_chs_2007(NESTNeuron):
    r"""Spike-response neuron of a relay cell: alpha-shaped potentials of its input, and an after-potential of every spike.

    .. math:: V = \sum_k w_k V_{epsp} \frac{t - t_k}{\tau_{epsp}} e^{1 - (t - t_k)/\tau_{epsp}}
        - V_{reset} \sum_f e^{-(t - t_f)/\tau_{reset}}

    A spike where V >= 1 at the end of a step. All potentials are relative to the threshold, without unit, and so are the
    weights, which are at least 0. NEST's list `noise` is not here: noise comes from generators.

    Source: Carandini, Horton & Sincich (2007), doi:10.1167/7.14.20. Checked against NEST 3.10 spike for spike.
    """

    tau_epsp = Parameter(u.ms, 8.5, above=0.0)
    tau_reset = Parameter(u.ms, 15.4, above=0.0)
    V_epsp = Parameter(u.UNITLESS, 0.77, at_least=0.0)
    V_reset = Parameter(u.UNITLESS, 2.31, at_least=0.0)

    V_syn = State(u.UNITLESS, settable=False)
    dV_syn = State(u.UNITLESS, settable=False)
    V_spike = State(u.UNITLESS, settable=False)

    spikes = Receptor(u.UNITLESS, at_least=0.0)
    records = ("V_m",)
    current_ports = 0
    law = Linear()

    @recordable(u.UNITLESS)
    def V_m(y, p):
        return y.V_syn + y.V_spike

    @staticmethod
    def propagators(p, dt):
        decay = np.exp(-dt / p.tau_epsp)
        return {"P11": decay, "P21": p.V_epsp * np.e / p.tau_epsp * dt * decay, "P30": np.exp(-dt / p.tau_reset)}

    @staticmethod
    def step(y, p, x):
        V_syn, V_spike = y.V_syn * p.P11 + y.dV_syn * p.P21, y.V_spike * p.P30
        spike = crossed(V_syn + V_spike, 1.0)
        return {
            "V_syn": V_syn,
            "dV_syn": y.dV_syn * p.P11 + x.spikes,
            "V_spike": jnp.where(spike, V_spike - p.V_reset, V_spike),
        }, spike
