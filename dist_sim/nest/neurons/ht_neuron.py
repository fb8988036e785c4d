from __future__ import annotations

import math
from typing import final

import brainunit as u
import jax.numpy as jnp
import numpy as np

from dist_sim.nest.declared import Counter, Parameter, Receptor, State, recordable
from dist_sim.nest.laws import Adaptive
from dist_sim.nest.neurons.neuron import NESTNeuron

_START = -70.0  # mV; gates start at their equilibria there


@final
class ht_neuron(NESTNeuron):
    r"""Neuron of the thalamocortical model of Hill & Tononi: four synaptic and four intrinsic currents, and a moving threshold.

    .. math:: \tau_m \dot V = -g_{NaL} (V - E_{Na}) - g_{KL} (V - E_K) + I_{syn} + I_{NaP} + I_{KNa} + I_T + I_h + I
        - \tau_m \frac{V - E_K}{\tau_{spike}} [r > 0], \qquad \dot\theta = -(\theta - \theta_{eq}) / \tau_\theta

    Conductances are relative to the leak, so currents are in mV; an injected current of 1 pA counts 1 mV. A spike where V >=
    theta at the end of a step: V and theta become E_Na, and for t_ref a potassium current pulls V back. Receptor types: 1 AMPA, 2
    NMDA, 3 GABA_A, 4 GABA_B, each with the difference of two exponentials whose peak is g_peak times the weight. NMDA channels
    block at once and unblock with a fast and a slow time constant, or at once with `instant_unblock_NMDA`. With `voltage_clamp` V
    stays where it starts.

    Source: Hill & Tononi (2005), doi:10.1152/jn.00915.2004; Vargas-Caballero & Robinson (2003), doi:10.1152/jn.01038.2002.
    Checked against NEST 3.10 spike for spike.
    """

    E_Na = Parameter(u.mV, 30.0)
    E_K = Parameter(u.mV, -90.0)
    g_NaL = Parameter(u.UNITLESS, 0.2, at_least=0.0)
    g_KL = Parameter(u.UNITLESS, 1.0, at_least=0.0)
    tau_m = Parameter(u.ms, 16.0, above=0.0)
    theta_eq = Parameter(u.mV, -51.0)
    tau_theta = Parameter(u.ms, 2.0, above=0.0)
    tau_spike = Parameter(u.ms, 1.75, above=0.0)
    t_ref = Parameter(u.ms, 2.0, at_least=0.0, steps=True)
    g_peak_AMPA = Parameter(u.UNITLESS, 0.1, at_least=0.0)
    tau_rise_AMPA = Parameter(u.ms, 0.5, above=0.0)
    tau_decay_AMPA = Parameter(u.ms, 2.4, above=0.0)
    E_rev_AMPA = Parameter(u.mV, 0.0)
    g_peak_NMDA = Parameter(u.UNITLESS, 0.075, at_least=0.0)
    tau_rise_NMDA = Parameter(u.ms, 4.0, above=0.0)
    tau_decay_NMDA = Parameter(u.ms, 40.0, above=0.0)
    E_rev_NMDA = Parameter(u.mV, 0.0)
    V_act_NMDA = Parameter(u.mV, -25.57)
    S_act_NMDA = Parameter(u.mV**-1, 0.081, at_least=0.0)
    tau_Mg_fast_NMDA = Parameter(u.ms, 0.68, above=0.0)
    tau_Mg_slow_NMDA = Parameter(u.ms, 22.7, above=0.0)
    instant_unblock_NMDA = Parameter(u.UNITLESS, False)
    g_peak_GABA_A = Parameter(u.UNITLESS, 0.33, at_least=0.0)
    tau_rise_GABA_A = Parameter(u.ms, 1.0, above=0.0)
    tau_decay_GABA_A = Parameter(u.ms, 7.0, above=0.0)
    E_rev_GABA_A = Parameter(u.mV, -70.0)
    g_peak_GABA_B = Parameter(u.UNITLESS, 0.0132, at_least=0.0)
    tau_rise_GABA_B = Parameter(u.ms, 60.0, above=0.0)
    tau_decay_GABA_B = Parameter(u.ms, 200.0, above=0.0)
    E_rev_GABA_B = Parameter(u.mV, -90.0)
    g_peak_NaP = Parameter(u.UNITLESS, 1.0, at_least=0.0)
    E_rev_NaP = Parameter(u.mV, 30.0)
    N_NaP = Parameter(u.UNITLESS, 3.0)
    g_peak_KNa = Parameter(u.UNITLESS, 1.0, at_least=0.0)
    E_rev_KNa = Parameter(u.mV, -90.0)
    tau_D_KNa = Parameter(u.ms, 1250.0, above=0.0)
    g_peak_T = Parameter(u.UNITLESS, 1.0, at_least=0.0)
    E_rev_T = Parameter(u.mV, 0.0)
    N_T = Parameter(u.UNITLESS, 2.0)
    g_peak_h = Parameter(u.UNITLESS, 1.0, at_least=0.0)
    E_rev_h = Parameter(u.mV, -40.0)
    voltage_clamp = Parameter(u.UNITLESS, False)

    V_m = State(u.mV, _START)
    theta = State(u.mV, -51.0)
    dg_AMPA = State(u.ms**-1, settable=False)
    g_AMPA = State(u.UNITLESS, settable=False)
    dg_NMDA = State(u.ms**-1, settable=False)
    opened_NMDA = State(u.UNITLESS, settable=False)
    dg_GABA_A = State(u.ms**-1, settable=False)
    g_GABA_A = State(u.UNITLESS, settable=False)
    dg_GABA_B = State(u.ms**-1, settable=False)
    g_GABA_B = State(u.UNITLESS, settable=False)
    m_fast_NMDA = State(u.UNITLESS, 1 / (1 + math.exp(-0.081 * (_START + 25.57))), settable=False)
    m_slow_NMDA = State(u.UNITLESS, 1 / (1 + math.exp(-0.081 * (_START + 25.57))), settable=False)
    m_h = State(u.UNITLESS, 1 / (1 + math.exp((_START + 75) / 5.5)), settable=False)
    D_KNa = State(u.UNITLESS, 1250 * 0.025 / (1 + math.exp(-(_START + 10) / 5)) + 0.001, settable=False)
    m_T = State(u.UNITLESS, 1 / (1 + math.exp(-(_START + 59) / 6.2)), settable=False)
    h_T = State(u.UNITLESS, 1 / (1 + math.exp((_START + 83) / 4)), settable=False)
    V_clamp = State(u.mV, "V_m", settable=False)
    I_NaP = State(u.mV, settable=False)
    I_KNa = State(u.mV, settable=False)
    I_T = State(u.mV, settable=False)
    I_h = State(u.mV, settable=False)
    refractory = Counter()

    AMPA = Receptor(u.UNITLESS, port=1)
    NMDA = Receptor(u.UNITLESS, port=2)
    GABA_A = Receptor(u.UNITLESS, port=3)
    GABA_B = Receptor(u.UNITLESS, port=4)
    records = ("V_m", "theta", "g_AMPA", "g_NMDA", "g_GABA_A", "g_GABA_B", "I_NaP", "I_KNa", "I_T", "I_h")
    features = {"other_powers": lambda p: (p["N_NaP"] != 3.0) | (p["N_T"] != 2.0)}
    law = Adaptive(tolerance=1e-3)

    @classmethod
    def check(cls, p):
        for name in ("AMPA", "NMDA", "GABA_A", "GABA_B"):
            rise, decay = f"tau_rise_{name}", f"tau_decay_{name}"
            cls.refuse_where(
                p[rise] >= p[decay], p, rise, decay, "must be below", "The conductance would not rise and then decay."
            )
        cls.refuse_where(
            p["tau_Mg_fast_NMDA"] >= p["tau_Mg_slow_NMDA"], p, "tau_Mg_fast_NMDA", "tau_Mg_slow_NMDA", "must be below",
            "Exchange them: the fast one is the shorter.",
        )  # fmt: skip

    @staticmethod
    def propagators(p, dt):
        found = {
            "per_tau_m": 1 / p.tau_m,
            "rate_theta": 1 / p.tau_theta,
            "rate_spike": 1 / p.tau_spike,
            "rate_KNa": 1 / p.tau_D_KNa,
        }
        found |= {"rate_fast": 1 / p.tau_Mg_fast_NMDA, "rate_slow": 1 / p.tau_Mg_slow_NMDA}
        for name in ("AMPA", "NMDA", "GABA_A", "GABA_B"):
            rise, decay, peak = (getattr(p, f"{what}_{name}") for what in ("tau_rise", "tau_decay", "g_peak"))
            t_peak = rise * decay / (decay - rise) * np.log(decay / rise)
            height = np.exp(-t_peak / decay) - np.exp(-t_peak / rise)
            found |= {
                f"rise_{name}": 1 / rise,
                f"decay_{name}": 1 / decay,
                f"jump_{name}": peak * (1 / rise - 1 / decay) / height,
            }
        return found

    @staticmethod
    def derivatives(y, p, x):
        V = jnp.where(p.voltage_clamp, y.V_clamp, y.V_m)
        m_eq = _equilibrium(V, p)
        m_fast, m_slow = jnp.minimum(m_eq, y.m_fast_NMDA), jnp.minimum(m_eq, y.m_slow_NMDA)
        m_NMDA = _unblocked(V, m_eq, m_fast, m_slow, p)
        I_syn = -y.g_AMPA * (V - p.E_rev_AMPA)
        I_syn = I_syn - y.opened_NMDA * m_NMDA * (V - p.E_rev_NMDA)
        I_syn = I_syn - y.g_GABA_A * (V - p.E_rev_GABA_A) - y.g_GABA_B * (V - p.E_rev_GABA_B)
        I_NaP, I_KNa, I_T, I_h = _intrinsic(V, y, p, x)
        I_leak = -p.g_NaL * (V - p.E_Na) - p.g_KL * (V - p.E_K)
        pull = jnp.where(y.refractory > 0, -(V - p.E_K) * p.rate_spike, 0.0)
        dV = (I_leak + I_syn + I_NaP + I_KNa + I_T + I_h + x.current) * p.per_tau_m + pull
        influx = 0.025 / (1.0 + jnp.exp(-(V + 10.0) / 5.0))
        # Of the T current: 1 / tau_m and 1 / tau_h, without a division in a division.
        up = jnp.exp(-(V + 132.0) / 16.7) + jnp.exp((V + 16.8) / 18.2)
        closed = 1.0 + jnp.exp((V + 86.0) / 3.2)
        rate_m_T = up / (0.22 + 0.13 * up)
        rate_h_T = closed / (8.2 * closed + (56.6 + 0.27 * jnp.exp((V + 115.2) / 5.0)))
        rate_h = jnp.exp(-14.59 - 0.086 * V) + jnp.exp(-1.87 + 0.0701 * V)
        return {
            "V_m": jnp.where(p.voltage_clamp, 0.0, dV),
            "theta": -(y.theta - p.theta_eq) * p.rate_theta,
            "dg_AMPA": -y.dg_AMPA * p.rise_AMPA,
            "g_AMPA": y.dg_AMPA - y.g_AMPA * p.decay_AMPA,
            "dg_NMDA": -y.dg_NMDA * p.rise_NMDA,
            "opened_NMDA": y.dg_NMDA - y.opened_NMDA * p.decay_NMDA,
            "dg_GABA_A": -y.dg_GABA_A * p.rise_GABA_A,
            "g_GABA_A": y.dg_GABA_A - y.g_GABA_A * p.decay_GABA_A,
            "dg_GABA_B": -y.dg_GABA_B * p.rise_GABA_B,
            "g_GABA_B": y.dg_GABA_B - y.g_GABA_B * p.decay_GABA_B,
            "m_fast_NMDA": (m_eq - m_fast) * p.rate_fast,
            "m_slow_NMDA": (m_eq - m_slow) * p.rate_slow,
            "m_h": (1.0 / (1.0 + jnp.exp((V + 75.0) / 5.5)) - y.m_h) * rate_h,
            "D_KNa": influx - (y.D_KNa - 0.001) * p.rate_KNa,
            "m_T": (1.0 / (1.0 + jnp.exp(-(V + 59.0) / 6.2)) - y.m_T) * rate_m_T,
            "h_T": (1.0 / (1.0 + jnp.exp((V + 83.0) / 4.0)) - y.h_T) * rate_h_T,
        }

    @staticmethod
    def step(y, p, x):
        V = jnp.where(p.voltage_clamp, y.V_clamp, y.V_m)
        m_eq = _equilibrium(V, p)
        I_NaP, I_KNa, I_T, I_h = _intrinsic(V, y, p, x)
        is_refractory = y.refractory > 0
        spike = ~is_refractory & (V >= y.theta)
        return {
            "V_m": jnp.where(spike, p.E_Na, V),
            "theta": jnp.where(spike, p.E_Na, y.theta),
            "m_fast_NMDA": jnp.minimum(m_eq, y.m_fast_NMDA),
            "m_slow_NMDA": jnp.minimum(m_eq, y.m_slow_NMDA),
            "dg_AMPA": y.dg_AMPA + p.jump_AMPA * x.AMPA,
            "dg_NMDA": y.dg_NMDA + p.jump_NMDA * x.NMDA,
            "dg_GABA_A": y.dg_GABA_A + p.jump_GABA_A * x.GABA_A,
            "dg_GABA_B": y.dg_GABA_B + p.jump_GABA_B * x.GABA_B,
            "I_NaP": I_NaP,
            "I_KNa": I_KNa,
            "I_T": I_T,
            "I_h": I_h,
            "refractory": jnp.where(spike, p.t_ref, jnp.where(is_refractory, y.refractory - 1, 0)),
        }, spike

    @recordable(u.UNITLESS)
    def g_NMDA(y, p):
        return y.opened_NMDA * _unblocked(y.V_m, _equilibrium(y.V_m, p), y.m_fast_NMDA, y.m_slow_NMDA, p)


def _equilibrium(V, p):
    """Part of the NMDA channels that magnesium does not block in the long run."""
    return 1.0 / (1.0 + jnp.exp(-p.S_act_NMDA * (V - p.V_act_NMDA)))


def _unblocked(V, m_eq, m_fast, m_slow, p):
    """Part of them that is not blocked now."""
    fast = 0.51 - 0.0028 * V
    return jnp.where(p.instant_unblock_NMDA, m_eq, fast * m_fast + (1.0 - fast) * m_slow)


def _intrinsic(V, y, p, x):
    """I_NaP, I_KNa, I_T, I_h [mV]."""
    m_NaP = 1.0 / (1.0 + jnp.exp(-(V + 55.7) / 7.7))
    NaP, T = m_NaP * m_NaP * m_NaP, y.m_T * y.m_T
    if "other_powers" in x.features:
        NaP = jnp.where(p.N_NaP == 3.0, NaP, jnp.power(m_NaP, p.N_NaP))
        T = jnp.where(p.N_T == 2.0, T, jnp.power(y.m_T, p.N_T))
    ratio = 0.25 / y.D_KNa
    KNa = 1.0 / (1.0 + ratio * ratio * ratio * jnp.sqrt(ratio))
    return (
        -p.g_peak_NaP * NaP * (V - p.E_rev_NaP),
        -p.g_peak_KNa * KNa * (V - p.E_rev_KNa),
        -p.g_peak_T * T * y.h_T * (V - p.E_rev_T),
        -p.g_peak_h * y.m_h * (V - p.E_rev_h),
    )
