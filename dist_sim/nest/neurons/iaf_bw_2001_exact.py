from __future__ import annotations

from typing import final

import brainunit as u

from dist_sim.nest.declared import Counter, Parameter, Receptor, State
from dist_sim.nest.laws import Adaptive
from dist_sim.nest.neurons import brunel_wang
from dist_sim.nest.neurons.neuron import NESTNeuron


@final
class iaf_bw_2001_exact(NESTNeuron):
    r"""Leaky integrate-and-fire neuron with AMPA, GABA and NMDA conductances, every NMDA synapse with a gate of its own.

    .. math:: C_m \dot V = -g_L (V - E_L) - (V - E_{ex}) s_{AMPA} - (V - E_{in}) s_{GABA}
        - \frac{V - E_{ex}}{1 + [Mg^{2+}] e^{-0.062 V} / 3.57} s_{NMDA} + I, \qquad \dot s_x = -s_x / \tau_x

    A spike where V >= V_th at the end of a step; then V = V_reset for t_ref. Receptor types: 1 AMPA, 2 GABA; 3, NMDA, is refused
    for now: every synapse has two states of its own, which move between spikes. Weights are in nS.

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

    V_m = State(u.mV, -70.0)
    s_AMPA = State(u.nS, at_least=0.0)
    s_GABA = State(u.nS, at_least=0.0)
    s_NMDA = State(u.nS, at_least=0.0, settable=False)
    I_AMPA = State(u.pA, settable=False)
    I_GABA = State(u.pA, settable=False)
    I_NMDA = State(u.pA, settable=False)
    refractory = Counter()

    spikes_AMPA = Receptor(u.nS, port=1)
    spikes_GABA = Receptor(u.nS, port=2)
    spikes_NMDA = Receptor(
        u.nS,
        port=3,
        refused="every NMDA synapse has a gate that moves at every step, and synapses change at spikes alone. Use iaf_bw_2001, "
        "whose gates open by jumps.",
    )
    law = Adaptive(tolerance="gsl_error_tol")

    propagators = staticmethod(brunel_wang.propagators)
    derivatives = staticmethod(brunel_wang.derivatives)
    step = staticmethod(brunel_wang.step)
