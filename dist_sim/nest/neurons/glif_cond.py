from __future__ import annotations

from typing import final

import brainunit as u
import jax.numpy as jnp
import numpy as np

from dist_sim.errors import ParameterError
from dist_sim.nest.declared import Counter, Parameter, Receptor, State
from dist_sim.nest.laws import Adaptive
from dist_sim.nest.neurons.escape import total
from dist_sim.nest.neurons.linear import gain
from dist_sim.nest.neurons.neuron import NESTNeuron

_LEVELS = "0, 0, 0 (1); 1, 0, 0 (2); 0, 1, 0 (3); 1, 1, 0 (4); 1, 1, 1 (5)"


@final
class glif_cond(NESTNeuron):
    r"""Generalised leaky integrate-and-fire neuron (GLIF models 1 to 5) with alpha-shaped conductances.

    .. math:: C_m \dot V = -g_m (V - E_L) - \sum_k g_k (V - E_{rev,k}) + \sum_a ASC_a + I, \quad
        \ddot g_k = -2 \dot g_k / \tau_{syn,k} - g_k / \tau_{syn,k}^2

    A spike where V is above the threshold V_th + threshold_spike + threshold_voltage at the end of a step; for t_ref everything
    but the conductances stands still. `spike_dependent_threshold`: a spike adds th_spike_add to threshold_spike, which decays
    with the rate th_spike_decay, and V goes on from voltage_reset_fraction of its distance from E_L before the spike, plus
    voltage_reset_add, instead of from V_reset. `after_spike_currents`: a spike adds asc_amps to currents that decay with the
    rates asc_decay. `adapting_threshold`: threshold_voltage follows V with the rates th_voltage_index and th_voltage_decay.
    Receptor type k, from 1 on, acts on g_k; weights are in nS, the peak of the conductance.

    Source: Teeter et al. (2018), doi:10.1038/s41467-017-02717-4. Checked against NEST 3.10 spike for spike.
    """

    E_L = Parameter(u.mV, -78.85)
    V_th = Parameter(u.mV, -51.68, relative_to="E_L")
    V_reset = Parameter(u.mV, -78.85, relative_to="E_L")
    g_m = Parameter(u.nS, 9.43, above=0.0)
    C_m = Parameter(u.pF, 58.72, above=0.0)
    t_ref = Parameter(u.ms, 3.75, above=0.0, steps=True)
    spike_dependent_threshold = Parameter(u.UNITLESS, False)
    th_spike_add = Parameter(u.mV, 0.37)
    th_spike_decay = Parameter(u.ms**-1, 0.009, above=0.0)
    voltage_reset_fraction = Parameter(u.UNITLESS, 0.2, at_least=0.0, at_most=1.0)
    voltage_reset_add = Parameter(u.mV, 18.51)
    after_spike_currents = Parameter(u.UNITLESS, False)
    asc_init = Parameter(u.pA, (0.0, 0.0), axis="asc")
    asc_decay = Parameter(u.ms**-1, (0.003, 0.1), axis="asc", fill=1.0, above=0.0)
    asc_amps = Parameter(u.pA, (-9.18, -198.94), axis="asc")
    asc_r = Parameter(u.UNITLESS, (1.0, 1.0), axis="asc", at_least=0.0, at_most=1.0)
    adapting_threshold = Parameter(u.UNITLESS, False)
    th_voltage_index = Parameter(u.ms**-1, 0.005)
    th_voltage_decay = Parameter(u.ms**-1, 0.09, above=0.0)
    tau_syn = Parameter(u.ms, (0.2, 2.0), axis="receptor", fill=1.0, above=0.0)
    E_rev = Parameter(u.mV, (0.0, -85.0), axis="receptor")

    V_m = State(u.mV, -78.85, relative_to="E_L")
    dg = State(u.nS / u.ms, axis="receptor", settable=False)
    g = State(u.nS, axis="receptor", settable=False)
    ASCurrents = State(u.pA, "asc_init", axis="asc", settable=False)
    ASCurrents_sum = State(u.pA, settable=False)
    threshold = State(u.mV, "V_th", relative_to="E_L", settable=False)
    threshold_spike = State(u.mV, settable=False)
    threshold_voltage = State(u.mV, settable=False)
    I = State(u.pA, settable=False)  # noqa: E741
    refractory = Counter()

    spikes = Receptor(u.nS, port=1, axis="receptor")
    records = ("V_m", "g", "ASCurrents_sum", "I", "threshold", "threshold_spike", "threshold_voltage")
    law = Adaptive(tolerance=1e-3)

    @classmethod
    def check(cls, p):
        super().check(p)
        spike, currents, adapting = (
            np.asarray(p[n]) > 0 for n in ("spike_dependent_threshold", "after_spike_currents", "adapting_threshold")
        )
        wrong = adapting & ~(spike & currents)
        if wrong.any():
            raise ParameterError(
                "glif_cond(adapting_threshold=True): needs spike_dependent_threshold and after_spike_currents, too. "
                f"Levels of the model, by these three switches: {_LEVELS}."
            )

    @staticmethod
    def propagators(p, dt):
        decay_membrane, t_ref = p.g_m / p.C_m, p.t_ref
        a, b = p.th_voltage_index, p.th_voltage_decay
        return {
            "per_C_m": 1 / p.C_m,
            "per_g_m": 1 / p.g_m,
            "rates": [1 / tau for tau in p.tau_syn],
            "jumps": [np.e / tau for tau in p.tau_syn],
            "P_spike": np.exp(-p.th_spike_decay * dt),
            "P_spike_refractory": np.exp(-p.th_spike_decay * t_ref),
            "P_asc": [np.exp(-k * dt) for k in p.asc_decay],
            "P_asc_refractory": [r * np.exp(-k * t_ref) for r, k in zip(p.asc_r, p.asc_decay, strict=True)],
            "mean_asc": [-np.expm1(-k * dt) / (k * dt) for k in p.asc_decay],
            "P_voltage": np.exp(-b * dt),
            # What a distance of V from its resting point adds to threshold_voltage in a step, exact where b is g_m / C_m.
            "following": a * dt * np.exp(-b * dt) * gain(dt * (b - decay_membrane), 1),
            "index_to_decay": a / b,
        }

    @staticmethod
    def derivatives(y, p, x):
        V = y.V_m
        I_syn = total(tuple(g * (V + p.E_L - E) for g, E in zip(y.g, p.E_rev, strict=True)))
        dV = (-p.g_m * V - I_syn + x.current + y.ASCurrents_sum) * p.per_C_m
        return {
            "V_m": dV,
            "dg": [-dg * rate for dg, rate in zip(y.dg, p.rates, strict=True)],
            "g": [dg - g * rate for dg, g, rate in zip(y.dg, y.g, p.rates, strict=True)],
        }

    @staticmethod
    def step(y, p, x):
        is_refractory, before = y.refractory > 0, x.before.V_m
        threshold_spike = jnp.where(p.spike_dependent_threshold, y.threshold_spike * p.P_spike, 0.0)
        currents = [jnp.where(p.after_spike_currents, a, 0.0) for a in y.ASCurrents]
        asc_sum = total(tuple(a * mean for a, mean in zip(currents, p.mean_asc, strict=True)))
        decayed = [a * decay for a, decay in zip(currents, p.P_asc, strict=True)]
        rest = (x.current + asc_sum) * p.per_g_m
        follows = (before - rest) * p.following + p.P_voltage * (y.threshold_voltage - p.index_to_decay * rest)
        threshold_voltage = jnp.where(p.adapting_threshold, follows + p.index_to_decay * rest, 0.0)
        spike = ~is_refractory & (y.V_m > threshold_spike + threshold_voltage + p.V_th)
        raised = jnp.where(
            p.spike_dependent_threshold & spike, threshold_spike * p.P_spike_refractory + p.th_spike_add, threshold_spike
        )
        reset = jnp.where(p.spike_dependent_threshold, p.voltage_reset_fraction * before + p.voltage_reset_add, p.V_reset)
        after = [d * r + amp for d, r, amp in zip(decayed, p.P_asc_refractory, p.asc_amps, strict=True)]

        def unless_held(new, old):
            return jnp.where(is_refractory, old, new)

        return {
            "V_m": unless_held(jnp.where(spike, reset, y.V_m), before),
            "dg": [dg + jump * arriving for dg, jump, arriving in zip(y.dg, p.jumps, x.spikes, strict=True)],
            "ASCurrents": [
                unless_held(jnp.where(spike, new, d), old) for new, d, old in zip(after, decayed, y.ASCurrents, strict=True)
            ],
            "ASCurrents_sum": unless_held(asc_sum, y.ASCurrents_sum),
            "threshold_spike": unless_held(raised, y.threshold_spike),
            "threshold_voltage": unless_held(threshold_voltage, y.threshold_voltage),
            "threshold": unless_held(raised + threshold_voltage + p.V_th, y.threshold),
            "I": x.current,
            "refractory": jnp.where(spike, p.t_ref, jnp.where(is_refractory, y.refractory - 1, 0)),
        }, spike
