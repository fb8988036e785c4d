from __future__ import annotations

from typing import Any, final

import brainunit as u

from dist_sim.nest.declared import Counter, Parameter, Receptor, State
from dist_sim.nest.laws import Adaptive
from dist_sim.nest.neurons import brunel_wang
from dist_sim.nest.neurons.escape import total
from dist_sim.nest.neurons.neuron import NESTNeuron


@final
class iaf_bw_2001_exact(NESTNeuron):
    r"""Leaky integrate-and-fire neuron with AMPA, GABA and NMDA conductances, every NMDA synapse with a gate of its own.

    .. math:: C_m \dot V = -g_L (V - E_L) - (V - E_{ex}) s_{AMPA} - (V - E_{in}) s_{GABA}
        - \frac{V - E_{ex}}{1 + [Mg^{2+}] e^{-0.062 V} / 3.57} \sum_j w_j s_j + I, \qquad \dot s_x = -s_x / \tau_x

    .. math:: \dot s_j = -s_j / \tau_{decay,NMDA} + \alpha x_j (1 - s_j), \qquad
        \dot x_j = -x_j / \tau_{rise,NMDA} + \sum_k \delta(t - t_j^k)

    A spike where V >= V_th at the end of a step; then V = V_reset for t_ref. Receptor types: 1 AMPA, 2 GABA and 3 NMDA, where
    every synapse j has the states x_j and s_j, solved with V: static synapses from neurons and spike_generators, few for each
    neuron. s_NMDA is the sum of w_j s_j. Weights are in nS. As a Module, which has no synapses, w_NMDA gives their weights, and
    their spikes go in as `spikes_NMDA`, a number for each.

    Source: Brunel & Wang (2001), doi:10.1023/A:1011204814320. Checked against NEST 3.10 spike for spike.
    """

    E_L = Parameter(u.mV, -70.0)
    E_ex = Parameter(u.mV, 0.0)
    E_in = Parameter(u.mV, -70.0)
    V_th = Parameter(u.mV, -55.0)
    V_reset = Parameter(u.mV, -60.0)
    C_m = Parameter(u.pF, 500.0, above=0.0)
    g_L = Parameter(u.nS, 25.0)
    t_ref = Parameter(u.ms, 2.0, at_least=0.0, steps=True)
    tau_AMPA = Parameter(u.ms, 2.0, above=0.0)
    tau_GABA = Parameter(u.ms, 5.0, above=0.0)
    tau_decay_NMDA = Parameter(u.ms, 100.0, above=0.0)
    tau_rise_NMDA = Parameter(u.ms, 2.0, above=0.0)
    alpha = Parameter(u.ms**-1, 0.5, above=0.0)
    conc_Mg2 = Parameter(u.mM, 1.0, above=0.0)
    gsl_error_tol = Parameter(u.UNITLESS, 1e-3, above=0.0)
    w_NMDA = Parameter(u.nS, (), axis="NMDA")

    V_m = State(u.mV, -70.0)
    s_AMPA = State(u.nS, at_least=0.0)
    s_GABA = State(u.nS, at_least=0.0)
    s_NMDA = State(u.nS, settable=False)
    x_NMDA = State(u.UNITLESS, axis="NMDA", settable=False)
    gate_NMDA = State(u.UNITLESS, axis="NMDA", settable=False)
    I_AMPA = State(u.pA, settable=False)
    I_GABA = State(u.pA, settable=False)
    I_NMDA = State(u.pA, settable=False)
    refractory = Counter()

    spikes_AMPA = Receptor(u.nS, port=1)
    spikes_GABA = Receptor(u.nS, port=2)
    spikes_NMDA = Receptor(u.nS, port=3, axis="NMDA", counts=True, weights="w_NMDA")
    records = ("V_m", "s_AMPA", "s_GABA", "s_NMDA", "I_AMPA", "I_GABA", "I_NMDA")
    law = Adaptive(tolerance="gsl_error_tol")

    @staticmethod
    def propagators(p, dt):
        return brunel_wang.propagators(p, dt) | {"rate_rise": 1 / p.tau_rise_NMDA}

    @staticmethod
    def derivatives(y, p, x):
        gates = zip(y.x_NMDA, y.gate_NMDA, strict=True)
        return brunel_wang.derivatives(y, p, x, opened(y, p)) | {
            "x_NMDA": [-rise * p.rate_rise for rise in y.x_NMDA],
            "gate_NMDA": [p.alpha * rise * (1.0 - gate) - gate * p.rate_NMDA for rise, gate in gates],
        }

    @staticmethod
    def step(y, p, x):
        s_NMDA = opened(y, p)
        changed, spike = brunel_wang.step(y, p, x, s_NMDA)
        rises = [rise + number for rise, number in zip(y.x_NMDA, x.spikes_NMDA, strict=True)]
        return changed | {"s_NMDA": s_NMDA, "x_NMDA": rises}, spike


def opened(y: Any, p: Any) -> Any:
    """By how much the gates of all synapses open NMDA [nS]."""
    return total(tuple(w * gate for w, gate in zip(p.w_NMDA, y.gate_NMDA, strict=True)))
