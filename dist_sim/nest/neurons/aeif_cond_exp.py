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
class aeif_cond_exp(AdaptiveExponential):
    r"""Adaptive exponential integrate-and-fire neuron with exponential conductances.

    .. math:: C_m \dot V = -g_L (V - E_L) + g_L \Delta_T e^{(V - V_{th})/\Delta_T} - \sum_x g_x (V - E_x) - w + I, \quad
        \tau_w \dot w = a (V - E_L) - w, \quad \dot g_x = -g_x / \tau_{syn,x}

    A spike where V >= V_peak (V_th where Delta_T = 0) after an internal step of the solver: V = V_reset for t_ref, w += b.
    Weights are in nS; positive ones act on g_ex, the sizes of negative ones on g_in.

    Source: Brette & Gerstner (2005), doi:10.1152/jn.00686.2005. Checked against NEST 3.10 spike for spike.
    """

    E_ex = Parameter(u.mV, 0.0)
    E_in = Parameter(u.mV, -85.0)
    tau_syn_ex = Parameter(u.ms, 0.2, above=0.0)
    tau_syn_in = Parameter(u.ms, 2.0, above=0.0)

    g_ex = State(u.nS)
    g_in = State(u.nS)

    spikes_ex = Receptor(u.nS, sign=+1)
    spikes_in = Receptor(u.nS, sign=-1)
    records = ("V_m", "g_ex", "g_in", "w")

    @staticmethod
    def propagators(p, dt):
        return {**membrane_propagators(p), "rate_ex": 1 / p.tau_syn_ex, "rate_in": 1 / p.tau_syn_in}

    @staticmethod
    def derivatives(y, p, x):
        V = seen(y, p)
        I_syn = y.g_ex * (p.E_ex - V) + y.g_in * (p.E_in - V)
        return {
            **membrane(y, p, x, V, I_syn),
            "g_ex": -y.g_ex * p.rate_ex,
            "g_in": -y.g_in * p.rate_in,
        }

    @staticmethod
    def accepted(y, p, x):
        return reset_at_peak(y, p, y.V_m)

    @staticmethod
    def step(y, p, x):
        return {"g_ex": y.g_ex + x.spikes_ex, "g_in": y.g_in - x.spikes_in, "refractory": counted_down(y)}, False
