from __future__ import annotations

from typing import final

import brainunit as u

from dist_sim.nest.declared import Parameter, Receptor, State
from dist_sim.nest.neurons.adaptive_exponential import (
    AdaptiveExponential,
    counted_down,
    membrane,
    membrane_propagators,
    reset_at_peak,
    seen,
)


@final
class aeif_psc_exp(AdaptiveExponential):
    r"""Adaptive exponential integrate-and-fire neuron with exponential postsynaptic currents.

    .. math:: C_m \dot V = -g_L (V - E_L) + g_L \Delta_T e^{(V - V_{th})/\Delta_T} + I_{ex} - I_{in} - w + I, \quad
        \tau_w \dot w = a (V - E_L) - w, \quad \dot I_x = -I_x / \tau_{syn,x}

    A spike where V >= V_peak (V_th where Delta_T = 0) after an internal step of the solver: V = V_reset for t_ref, w += b.
    Weights are in pA; positive ones act on I_syn_ex, the sizes of negative ones on
    I_syn_in, which is positive and inhibits.

    Source: Brette & Gerstner (2005), doi:10.1152/jn.00686.2005. Checked against NEST 3.10 spike for spike.
    """

    tau_syn_ex = Parameter(u.ms, 0.2, above=0.0)
    tau_syn_in = Parameter(u.ms, 2.0, above=0.0)

    I_syn_ex = State(u.pA)
    I_syn_in = State(u.pA)

    spikes_ex = Receptor(u.pA, sign=+1)
    spikes_in = Receptor(u.pA, sign=-1)
    records = ("V_m", "I_syn_ex", "I_syn_in", "w")

    @staticmethod
    def propagators(p, dt):
        return {**membrane_propagators(p), "rate_ex": 1 / p.tau_syn_ex, "rate_in": 1 / p.tau_syn_in}

    @staticmethod
    def derivatives(y, p, x):
        return {
            **membrane(y, p, x, seen(y, p), y.I_syn_ex - y.I_syn_in),
            "I_syn_ex": -y.I_syn_ex * p.rate_ex,
            "I_syn_in": -y.I_syn_in * p.rate_in,
        }

    @staticmethod
    def accepted(y, p, x):
        return reset_at_peak(y, p, y.V_m)

    @staticmethod
    def step(y, p, x):
        return {
            "I_syn_ex": y.I_syn_ex + x.spikes_ex,
            "I_syn_in": y.I_syn_in - x.spikes_in,
            "refractory": counted_down(y),
        }, False
