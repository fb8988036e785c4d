from __future__ import annotations

from typing import final

import brainunit as u

from dist_sim.nest.declared import Counter, Parameter, Receptor, State
from dist_sim.nest.laws import Adaptive
from dist_sim.nest.neurons import brunel_wang
from dist_sim.nest.neurons.neuron import NESTNeuron
from dist_sim.nest.neurons.nmda_release import NMDARelease


@final
class iaf_bw_2001(NESTNeuron):
    r"""Leaky integrate-and-fire neuron with AMPA, GABA and NMDA conductances, whose NMDA gates open by jumps.

    .. math:: C_m \dot V = -g_L (V - E_L) - (V - E_{ex}) s_{AMPA} - (V - E_{in}) s_{GABA}
        - \frac{V - E_{ex}}{1 + [Mg^{2+}] e^{-0.062 V} / 3.57} s_{NMDA} + I, \qquad \dot s_x = -s_x / \tau_x

    A spike where V >= V_th at the end of a step; then V = V_reset for t_ref. Receptor types: 1 AMPA, 2 GABA and 3 NMDA, where a
    spike of weight w adds w (k_0 + k_1 s) to s_NMDA, with the gate s of its sender (`NMDARelease`): of iaf_bw_2001 alone, by
    static synapses. Weights are in nS.

    Source: Brunel & Wang (2001), doi:10.1023/A:1011204814320, approximated as in Wang (1999),
    doi:10.1523/JNEUROSCI.19-21-09587.1999. Checked against NEST 3.10 spike for spike.
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

    V_m = State(u.mV, -70.0)
    s_AMPA = State(u.nS, at_least=0.0)
    s_GABA = State(u.nS, at_least=0.0)
    s_NMDA = State(u.nS, at_least=0.0)
    I_AMPA = State(u.pA, settable=False)
    I_GABA = State(u.pA, settable=False)
    I_NMDA = State(u.pA, settable=False)
    refractory = Counter()

    spikes_AMPA = Receptor(u.nS, port=1)
    spikes_GABA = Receptor(u.nS, port=2)
    spikes_NMDA = Receptor(u.nS, port=3, released_by=NMDARelease)
    law = Adaptive(tolerance="gsl_error_tol")

    @classmethod
    def check(cls, p):
        super().check(p)
        wrong, why = p["tau_rise_NMDA"] >= p["tau_decay_NMDA"], "A gate that opens so slowly has no jumps."
        cls.refuse_where(wrong, p, "tau_rise_NMDA", "tau_decay_NMDA", "must be below", why)

    propagators = staticmethod(brunel_wang.propagators)

    @staticmethod
    def derivatives(y, p, x):
        return brunel_wang.derivatives(y, p, x, y.s_NMDA) | {"s_NMDA": -y.s_NMDA * p.rate_NMDA}

    @staticmethod
    def step(y, p, x):
        changed, spike = brunel_wang.step(y, p, x, y.s_NMDA)
        return changed | {"s_NMDA": y.s_NMDA + x.spikes_NMDA}, spike
