"""What the models of Brunel & Wang (2001) share: the currents and the rule of the threshold."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp

from dist_sim.nest.neurons.neuron import crossed


def propagators(p: Any, dt: float) -> dict[str, Any]:
    return {"rate_AMPA": 1 / p.tau_AMPA, "rate_GABA": 1 / p.tau_GABA, "rate_NMDA": 1 / p.tau_decay_NMDA, "per_C_m": 1 / p.C_m}


def currents(y: Any, p: Any, s_NMDA: Any) -> tuple[Any, Any, Any]:
    """I_AMPA, I_GABA, I_NMDA [pA]; magnesium blocks the last one."""
    block = 1.0 + p.conc_Mg2 * jnp.exp(-0.062 * y.V_m) / 3.57
    return (y.V_m - p.E_ex) * y.s_AMPA, (y.V_m - p.E_in) * y.s_GABA, (y.V_m - p.E_ex) / block * s_NMDA


def derivatives(y: Any, p: Any, x: Any, s_NMDA: Any) -> dict[str, Any]:
    """Of all states but those of NMDA, which together open it by s_NMDA [nS]."""
    I_AMPA, I_GABA, I_NMDA = currents(y, p, s_NMDA)
    dV = (-(p.g_L * (y.V_m - p.E_L)) - (I_AMPA + I_GABA + I_NMDA) + x.current) * p.per_C_m
    return {"V_m": dV, "s_AMPA": -y.s_AMPA * p.rate_AMPA, "s_GABA": -y.s_GABA * p.rate_GABA}


def step(y: Any, p: Any, x: Any, s_NMDA: Any) -> tuple[dict[str, Any], Any]:
    """All states but those of NMDA, and whether the neuron spikes."""
    is_refractory = y.refractory > 0
    spike = ~is_refractory & crossed(y.V_m, p.V_th)
    I_AMPA, I_GABA, I_NMDA = currents(y, p, s_NMDA)
    return {
        "V_m": jnp.where(is_refractory | spike, p.V_reset, y.V_m),
        "s_AMPA": y.s_AMPA + x.spikes_AMPA,
        "s_GABA": y.s_GABA + x.spikes_GABA,
        "I_AMPA": I_AMPA,
        "I_GABA": I_GABA,
        "I_NMDA": I_NMDA,
        "refractory": jnp.where(spike, p.t_ref, jnp.where(is_refractory, y.refractory - 1, 0)),
    }, spike
