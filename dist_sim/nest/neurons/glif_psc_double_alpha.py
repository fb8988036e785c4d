from __future__ import annotations

from typing import final

import brainunit as u
import jax.numpy as jnp

from dist_sim.nest.declared import Counter, Parameter, Receptor, State, recordable
from dist_sim.nest.laws import Linear
from dist_sim.nest.neurons.glif import MECHANISMS, check_mechanisms, glif_propagators, glif_step
from dist_sim.nest.neurons.linear import alpha_propagators, alpha_step
from dist_sim.nest.neurons.neuron import NESTNeuron


@final
class glif_psc_double_alpha(NESTNeuron):
    r"""Generalized leaky integrate-and-fire neuron (GLIF models 1 to 5) with two alpha-shaped currents per receptor.

    .. math:: C_m \dot V = -g (V - E_L) + I_{syn} + I + \sum_j I_j, \quad \dot I_j = -k_j I_j, \quad
        \dot \theta_s = -b_s \theta_s, \quad \dot \theta_v = a_v (V - E_L) - b_v \theta_v

    A spike where V > V_th + theta_s + theta_v at the end of a step; then V is held for t_ref. Model 1 resets V to V_reset; with
    `after_spike_currents` (models 3, 4, 5) a spike sets I_j to asc_amps + asc_r I_j; with `spike_dependent_threshold` (models 2,
    4, 5) it resets V to E_L + voltage_reset_fraction (V - E_L) + voltage_reset_add and adds th_spike_add to theta_s; with
    `adapting_threshold` (model 5) theta_v moves. Receptor k = 1, 2, ... has the time constants tau_syn_fast[k - 1] and
    tau_syn_slow[k - 1]; weights [pA] of both signs are the amplitudes of the fast currents, and amp_slow times them of the slow
    ones.

    Source: Teeter et al. (2018), doi:10.1038/s41467-017-02717-4. Checked against NEST 3.10 spike for spike; `asc_init`, which
    NEST keeps and does not use, has its documented meaning here.
    """

    E_L = Parameter(u.mV, -78.85)
    C_m = Parameter(u.pF, 58.72, above=0.0)
    g = Parameter(u.nS, 9.43, above=0.0)
    t_ref = Parameter(u.ms, 3.75, above=0.0, steps=True)
    V_th = Parameter(u.mV, -51.68, relative_to="E_L")
    V_reset = Parameter(u.mV, -78.85, relative_to="E_L")
    tau_syn_fast = Parameter(u.ms, (2.0,), axis="receptor", above=0.0)
    tau_syn_slow = Parameter(u.ms, (6.0,), axis="receptor", above=0.0)
    amp_slow = Parameter(u.UNITLESS, (0.3,), axis="receptor", above=0.0)
    spike_dependent_threshold = Parameter(u.UNITLESS, False)
    after_spike_currents = Parameter(u.UNITLESS, False)
    adapting_threshold = Parameter(u.UNITLESS, False)
    th_spike_add = Parameter(u.mV, 0.37)
    th_spike_decay = Parameter(u.ms**-1, 0.009, above=0.0)
    voltage_reset_fraction = Parameter(u.UNITLESS, 0.2, at_least=0.0, at_most=1.0)
    voltage_reset_add = Parameter(u.mV, 18.51)
    th_voltage_index = Parameter(u.ms**-1, 0.005)
    th_voltage_decay = Parameter(u.ms**-1, 0.09, above=0.0)
    asc_init = Parameter(u.pA, (0.0, 0.0), axis="after_spike")
    asc_decay = Parameter(u.ms**-1, (0.003, 0.1), axis="after_spike", above=0.0, fill=1.0)
    asc_amps = Parameter(u.pA, (-9.18, -198.94), axis="after_spike")
    asc_r = Parameter(u.UNITLESS, (1.0, 1.0), axis="after_spike", at_least=0.0, at_most=1.0)

    V_m = State(u.mV, -78.85, relative_to="E_L")
    threshold_spike = State(u.mV)
    threshold_voltage = State(u.mV)
    ASCurrents = State(u.pA, "asc_init", axis="after_spike")
    ASCurrents_sum = State(u.pA, settable=False)
    I = State(u.pA, settable=False)
    I_syn = State(u.pA, settable=False)
    I_fast = State(u.pA, axis="receptor", settable=False)
    dI_fast = State(u.pA / u.ms, axis="receptor", settable=False)
    I_slow = State(u.pA, axis="receptor", settable=False)
    dI_slow = State(u.pA / u.ms, axis="receptor", settable=False)
    refractory = Counter()

    spikes = Receptor(u.pA, port=1, axis="receptor")
    records = ("ASCurrents_sum", "I", "I_syn", "V_m", "threshold", "threshold_spike", "threshold_voltage")
    features = MECHANISMS
    law = Linear()

    @recordable(u.mV)
    def threshold(y, p):
        return y.threshold_spike + y.threshold_voltage + p.V_th + p.E_L

    @classmethod
    def check(cls, p):
        super().check(p)
        check_mechanisms(cls.__name__, p)

    @staticmethod
    def propagators(p, dt):
        tau_m = p.C_m / p.g
        fast = alpha_propagators(p.tau_syn_fast, tau_m, p.C_m, dt, "_fast")
        slow = alpha_propagators(p.tau_syn_slow, tau_m, p.C_m, dt, "_slow")
        return {**glif_propagators(p, dt), **fast, **slow}

    @staticmethod
    def step(y, p, x):
        fast, dI_fast, I_fast = alpha_step(y.dI_fast, y.I_fast, x.spikes, p, "_fast")
        arrived = [weight * amplitude for weight, amplitude in zip(x.spikes, p.amp_slow, strict=True)]
        slow, dI_slow, I_slow = alpha_step(y.dI_slow, y.I_slow, arrived, p, "_slow")
        changed, spike = glif_step(y, p, x, fast + slow)
        currents = {
            "I_fast": I_fast,
            "dI_fast": dI_fast,
            "I_slow": I_slow,
            "dI_slow": dI_slow,
            "I": x.current,
            "I_syn": jnp.where(
                y.refractory == 0, sum(fast + slow for fast, slow in zip(y.I_fast, y.I_slow, strict=True)), y.I_syn
            ),
        }
        return {**changed, **currents}, spike
