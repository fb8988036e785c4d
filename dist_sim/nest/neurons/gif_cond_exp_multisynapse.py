from __future__ import annotations

from typing import final

import brainunit as u
import jax.numpy as jnp

from dist_sim.nest.declared import Counter, Parameter, Receptor, State
from dist_sim.nest.laws import Adaptive
from dist_sim.nest.neurons.escape import adapted, decays, escapes, total
from dist_sim.nest.neurons.neuron import NESTNeuron


@final
class gif_cond_exp_multisynapse(NESTNeuron):
    r"""Generalised integrate-and-fire neuron with any number of exponential conductances.

    .. math:: C_m \dot V = -g_L (V - E_L) - I_{stc} - \sum_k g_k (V - E_{rev,k}) + I_e + I, \quad \dot g_k = -g_k / \tau_{syn,k}

    A spike at random with the rate lambda_0 exp((V - E_sfa) / Delta_V); then V = V_reset for t_ref. Every spike moves the
    elements of the current I_stc by q_stc and those of the threshold E_sfa = V_T_star + ... by q_sfa; they decay with tau_stc and
    tau_sfa. Receptor type k, from 1 on, acts on g_k; weights are in nS, none is negative.

    Source: Mensi et al. (2012), doi:10.1152/jn.00408.2011; Pozzorini et al. (2015), doi:10.1371/journal.pcbi.1004275. Checked
    against NEST 3.10: spike for spike where chance decides nothing, else by rates and intervals.
    """

    C_m = Parameter(u.pF, 80.0, above=0.0)
    g_L = Parameter(u.nS, 4.0, above=0.0)
    E_L = Parameter(u.mV, -70.0)
    t_ref = Parameter(u.ms, 4.0, at_least=0.0, steps=True)
    V_reset = Parameter(u.mV, -55.0)
    I_e = Parameter(u.pA, 0.0)
    E_rev = Parameter(u.mV, (0.0,), axis="receptor")
    tau_syn = Parameter(u.ms, (2.0,), axis="receptor", fill=1.0, above=0.0)
    Delta_V = Parameter(u.mV, 0.5, above=0.0)
    V_T_star = Parameter(u.mV, -35.0)
    lambda_0 = Parameter(u.second**-1, 1.0, at_least=0.0)
    tau_stc = Parameter(u.ms, (), axis="stc", fill=1.0, above=0.0)
    q_stc = Parameter(u.pA, (), axis="stc")
    tau_sfa = Parameter(u.ms, (), axis="sfa", fill=1.0, above=0.0)
    q_sfa = Parameter(u.mV, (), axis="sfa")
    gsl_error_tol = Parameter(u.UNITLESS, 1e-3, above=0.0)

    V_m = State(u.mV, -70.0)
    g = State(u.nS, axis="receptor", settable=False)
    E_sfa = State(u.mV, "V_T_star", settable=False)
    I_stc = State(u.pA, settable=False)
    stc = State(u.pA, axis="stc", settable=False)
    sfa = State(u.mV, axis="sfa", settable=False)
    refractory = Counter()

    spikes = Receptor(u.nS, port=1, axis="receptor", at_least=0.0)
    records = ("V_m", "E_sfa", "I_stc")
    law = Adaptive(tolerance="gsl_error_tol", uniforms=1)

    @staticmethod
    def propagators(p, dt):
        return {"rates": [1 / tau for tau in p.tau_syn], "per_C_m": 1 / p.C_m, **decays(p, dt)}

    @staticmethod
    def derivatives(y, p, x):
        I_syn = total(tuple(g * (y.V_m - E) for g, E in zip(y.g, p.E_rev, strict=True)))
        dV = (-(p.g_L * (y.V_m - p.E_L)) + x.current + p.I_e - I_syn - total(y.stc)) * p.per_C_m
        return {
            "V_m": jnp.where(y.refractory > 0, 0.0, dV),
            "g": [-g * rate for g, rate in zip(y.g, p.rates, strict=True)],
        }

    @staticmethod
    def step(y, p, x):
        is_refractory = y.refractory > 0
        E_sfa = p.V_T_star + total(y.sfa)
        spike = ~is_refractory & escapes(y.V_m, E_sfa, p, x.uniforms[0])
        return {
            "V_m": jnp.where(is_refractory, p.V_reset, y.V_m),
            "g": [g + arriving for g, arriving in zip(y.g, x.spikes, strict=True)],
            "E_sfa": E_sfa,
            "I_stc": total(y.stc),
            "stc": adapted(y, p, "stc", spike),
            "sfa": adapted(y, p, "sfa", spike),
            "refractory": jnp.where(spike, p.t_ref, jnp.where(is_refractory, y.refractory - 1, 0)),
        }, spike
