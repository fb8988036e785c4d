from __future__ import annotations

from typing import final

import brainunit as u
import numpy as np

from dist_sim.nest.declared import Counter, Parameter, Receptor, State
from dist_sim.nest.laws import Linear
from dist_sim.nest.neurons.gif import FEATURES, gif_propagators, gif_step
from dist_sim.nest.neurons.linear import exponential_to_membrane
from dist_sim.nest.neurons.neuron import NESTNeuron


@final
class gif_psc_exp(NESTNeuron):
    r"""Generalized integrate-and-fire neuron with exponential currents, adaptation, and spikes at random.

    .. math:: C_m \dot V = -g_L (V - E_L) - \sum_j \eta_j + I_{syn} + I_e, \quad \dot \eta_j = -\eta_j/\tau_{stc,j}, \quad
        V_T = V_T^* + \sum_j \gamma_j, \quad \dot \gamma_j = -\gamma_j/\tau_{sfa,j}

    A spike comes with the rate lambda_0 exp((V - V_T) / Delta_V); it adds q_stc to the currents eta and q_sfa to the thresholds
    gamma, and V is V_reset for t_ref from the next step on. Weights are in pA; positive ones act on I_syn_ex, negative ones on
    I_syn_in.

    Source: Mensi et al. (2012), doi:10.1152/jn.00408.2011; Pozzorini et al. (2015), doi:10.1371/journal.pcbi.1004275. Checked
    against NEST 3.10: spike for spike where chance decides nothing, else by rates and intervals.
    """

    E_L = Parameter(u.mV, -70.0)
    C_m = Parameter(u.pF, 80.0, above=0.0)
    g_L = Parameter(u.nS, 4.0, above=0.0)
    tau_syn_ex = Parameter(u.ms, 2.0, above=0.0)
    tau_syn_in = Parameter(u.ms, 2.0, above=0.0)
    t_ref = Parameter(u.ms, 4.0, at_least=0.0, steps=True)
    V_reset = Parameter(u.mV, -55.0, relative_to="E_L")
    V_T_star = Parameter(u.mV, -35.0, relative_to="E_L")
    Delta_V = Parameter(u.mV, 0.5, above=0.0)
    lambda_0 = Parameter(u.Hz, 1.0, at_least=0.0)
    q_stc = Parameter(u.pA, (), axis="stc")
    tau_stc = Parameter(u.ms, (), axis="stc", above=0.0, fill=1.0)
    q_sfa = Parameter(u.mV, (), axis="sfa")
    tau_sfa = Parameter(u.ms, (), axis="sfa", above=0.0, fill=1.0)
    I_e = Parameter(u.pA, 0.0)

    V_m = State(u.mV, -70.0, relative_to="E_L")
    E_sfa = State(u.mV, "V_T_star", relative_to="E_L", settable=False)
    I_stc = State(u.pA, settable=False)
    stc = State(u.pA, axis="stc", settable=False)
    sfa = State(u.mV, axis="sfa", settable=False)
    I_syn_ex = State(u.pA, settable=False)
    I_syn_in = State(u.pA, settable=False)
    refractory = Counter()

    spikes_ex = Receptor(u.pA, sign=+1)
    spikes_in = Receptor(u.pA, sign=-1)
    same_dynamics = (("tau_syn_ex", "tau_syn_in"),)
    records = ("E_sfa", "I_stc", "I_syn_ex", "I_syn_in", "V_m")
    features = FEATURES
    law = Linear(uniforms=1, with_feature="escape_noise")

    @staticmethod
    def propagators(p, dt):
        tau_m = p.C_m / p.g_L
        return {
            **gif_propagators(p, dt),
            "P21_ex": exponential_to_membrane(p.tau_syn_ex, tau_m, p.C_m, dt),
            "P21_in": exponential_to_membrane(p.tau_syn_in, tau_m, p.C_m, dt),
            "P11_ex": np.exp(-dt / p.tau_syn_ex),
            "P11_in": np.exp(-dt / p.tau_syn_in),
        }

    @staticmethod
    def step(y, p, x):
        # As in NEST, what arrives at the end of a step moves the potential in it (in gif_psc_exp_multisynapse in the next one).
        I_ex, I_in = y.I_syn_ex * p.P11_ex + x.spikes_ex, y.I_syn_in * p.P11_in + x.spikes_in
        changed, spike = gif_step(y, p, x, I_ex * p.P21_ex + I_in * p.P21_in)
        return {**changed, "I_syn_ex": I_ex, "I_syn_in": I_in}, spike
