from __future__ import annotations

from typing import final

import brainunit as u
import jax.numpy as jnp
import numpy as np

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
class aeif_psc_delta(AdaptiveExponential):
    r"""Adaptive exponential integrate-and-fire neuron whose potential jumps by the weight of every incoming spike.

    .. math:: C_m \dot V = -g_L (V - E_L) + g_L \Delta_T e^{(V - V_{th})/\Delta_T} - w + I + C_m \sum_k J_k \delta(t - t_k), \quad
        \tau_w \dot w = a (V - E_L) - w

    A spike where V >= V_peak (V_th where Delta_T = 0) after an internal step of the solver: V = V_reset for t_ref, w += b. Jumps
    come after the first internal step of the step at whose end a spike arrives, as they do in NEST 3.10. What arrives while
    refractory is lost, or, with `refractory_input`, waits, decaying with C_m / g_L, and is added at the end. Weights are in mV.

    Source: Brette & Gerstner (2005), doi:10.1152/jn.00686.2005. Checked against NEST 3.10 spike for spike.
    """

    refractory_input = Parameter(u.UNITLESS, False)

    waiting = State(u.mV, settable=False)

    spikes = Receptor(u.mV)
    records = ("V_m", "w")

    @staticmethod
    def propagators(p, dt):
        return {**membrane_propagators(p), "decay": np.exp(-dt * p.g_L / p.C_m)}

    @staticmethod
    def derivatives(y, p, x):
        return membrane(y, p, x, seen(y, p), 0.0)

    @staticmethod
    def accepted(y, p, x):
        free = y.refractory == 0
        arrived = y.waiting + x.spikes
        # Kept as it will be at the end of refractoriness: what is there already decays while it waits.
        kept = jnp.where(free | ~p.refractory_input, 0.0, arrived * p.decay)
        changed, spike = reset_at_peak(y, p, jnp.where(x.first, y.V_m + arrived, y.V_m))
        return {**changed, "waiting": jnp.where(x.first, kept, y.waiting)}, spike

    @staticmethod
    def step(y, p, x):
        return {"refractory": counted_down(y)}, False
