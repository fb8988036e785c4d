from __future__ import annotations

from typing import final

import brainunit as u

from dist_sim.nest.declared import Counter, Parameter, Receptor, State, recordable
from dist_sim.nest.laws import Adaptive
from dist_sim.nest.neurons.conductance import fire, jump, seen, unless_refractory
from dist_sim.nest.neurons.neuron import NESTNeuron


@final
class iaf_cond_alpha(NESTNeuron):
    r"""Leaky integrate-and-fire neuron with alpha-shaped conductances.

    .. math:: C_m \dot V = -g_L (V - E_L) - g_{ex} (V - E_{ex}) - g_{in} (V - E_{in}) + I, \quad
        g_x(t) = \sum_k w_k \frac{e}{\tau_{syn,x}} (t - t_k) e^{-(t - t_k)/\tau_{syn,x}}

    A spike where V >= V_th at the end of a step; then V = V_reset for t_ref. Weights [nS] are the peaks of the conductances;
    positive ones act on g_ex, the sizes of negative ones on g_in.

    Source: Meffin, Burkitt & Grayden (2004), doi:10.1023/B:JCNS.0000014108.03012.81; Bernander et al. (1991),
    doi:10.1073/pnas.88.24.11569. Checked against NEST 3.10 spike for spike.
    """

    V_th = Parameter(u.mV, -55.0)
    V_reset = Parameter(u.mV, -60.0)
    t_ref = Parameter(u.ms, 2.0, at_least=0.0, steps=True)
    g_L = Parameter(u.nS, 16.6667)
    C_m = Parameter(u.pF, 250.0, above=0.0)
    E_ex = Parameter(u.mV, 0.0)
    E_in = Parameter(u.mV, -85.0)
    E_L = Parameter(u.mV, -70.0)
    tau_syn_ex = Parameter(u.ms, 0.2, above=0.0)
    tau_syn_in = Parameter(u.ms, 2.0, above=0.0)
    I_e = Parameter(u.pA, 0.0)

    V_m = State(u.mV, -70.0)
    g_ex = State(u.nS)
    dg_ex = State(u.nS / u.ms)
    g_in = State(u.nS)
    dg_in = State(u.nS / u.ms)
    refractory = Counter()

    spikes_ex = Receptor(u.nS, sign=+1)
    spikes_in = Receptor(u.nS, sign=-1)
    records = ("V_m", "g_ex", "g_in", "t_ref_remaining")
    law = Adaptive(tolerance=1e-3)

    @recordable(u.ms)
    def t_ref_remaining(y, p):
        return y.refractory * p.dt

    @staticmethod
    def propagators(p, dt):
        return {
            "per_C": 1 / p.C_m,
            "rate_ex": 1 / p.tau_syn_ex,
            "rate_in": 1 / p.tau_syn_in,
            "jump_ex": jump(p.tau_syn_ex, p.tau_syn_ex),
            "jump_in": jump(p.tau_syn_in, p.tau_syn_in),
        }

    @staticmethod
    def derivatives(y, p, x):
        V = seen(y, p)
        I_syn = y.g_ex * (V - p.E_ex) + y.g_in * (V - p.E_in)
        return {
            "V_m": unless_refractory(y, (-(p.g_L * (V - p.E_L)) - I_syn + x.current + p.I_e) * p.per_C),
            "dg_ex": -y.dg_ex * p.rate_ex,
            "g_ex": y.dg_ex - y.g_ex * p.rate_ex,
            "dg_in": -y.dg_in * p.rate_in,
            "g_in": y.dg_in - y.g_in * p.rate_in,
        }

    @staticmethod
    def step(y, p, x):
        membrane, spike = fire(y, p)
        return {**membrane, "dg_ex": y.dg_ex + x.spikes_ex * p.jump_ex, "dg_in": y.dg_in - x.spikes_in * p.jump_in}, spike
