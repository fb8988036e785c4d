"""What the generalized integrate-and-fire neurons of the Allen Institute share: reset, adapting threshold, after-spike currents.

Source: Teeter et al. (2018), doi:10.1038/s41467-017-02717-4.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np

from dist_sim.errors import ParameterError
from dist_sim.nest.neurons.linear import constant_to_membrane, gain
from dist_sim.nest.neurons.neuron import crossed

MECHANISMS: Mapping[str, Callable[[Mapping[str, np.ndarray]], Any]] = {
    "own_reset": lambda p: p["spike_dependent_threshold"] != 0,
    "after_spike_currents": lambda p: p["after_spike_currents"] != 0,
    "adapting_threshold": lambda p: p["adapting_threshold"] != 0,
}


def check_mechanisms(model: str, p: Mapping[str, np.ndarray]) -> None:
    """Raises ParameterError where the mechanisms are those of none of the five models."""
    spike, after, adapting = (p[n] != 0 for n in ("spike_dependent_threshold", "after_spike_currents", "adapting_threshold"))
    if np.any(adapting & ~(spike & after)):
        raise ParameterError(
            f"{model}(adapting_threshold=True): needs spike_dependent_threshold=True and after_spike_currents=True: GLIF model 5."
        )


def glif_propagators(p: Any, dt: float) -> dict[str, Any]:
    """Of the membrane, the threshold and the after-spike currents."""
    rate = p.g / p.C_m
    return {
        "P33": np.exp(-dt * rate),
        "P30": constant_to_membrane(p.C_m / p.g, p.C_m, dt),
        "resistance": 1.0 / p.g,
        "decay_spike": np.exp(-p.th_spike_decay * dt),
        "decay_spike_held": np.exp(-p.th_spike_decay * p.t_ref),
        "decay_voltage": np.exp(-p.th_voltage_decay * dt),
        # What a potential that decays, and one that stays, add to the threshold.
        "T_V": p.th_voltage_index * dt * np.exp(-p.th_voltage_decay * dt) * gain(dt * (p.th_voltage_decay - rate), 1),
        "T_0": p.th_voltage_index * dt * gain(-p.th_voltage_decay * dt, 1),
        # After-spike currents by their mean over a step.
        "asc_mean": [gain(-k * dt, 1) for k in p.asc_decay],
        "asc_decayed": [np.exp(-k * dt) for k in p.asc_decay],
        "asc_kept": [r * np.exp(-k * p.t_ref) for k, r in zip(p.asc_decay, p.asc_r, strict=True)],
    }


def glif_step(y: Any, p: Any, x: Any, change: Any) -> tuple[dict[str, Any], Any]:
    """One step but for the synaptic currents, which add `change` to the potential; and whether it spikes.

    Nothing moves while the neuron is refractory; what decays does so all at once when it spikes.
    """
    free = y.refractory == 0
    after, total = [], 0.0
    if "after_spike_currents" in x.features:
        for current, mean in zip(y.ASCurrents, p.asc_mean, strict=True):
            total = total + mean * current
        total = jnp.where(p.after_spike_currents, total, 0.0)
        after = [current * decayed for current, decayed in zip(y.ASCurrents, p.asc_decayed, strict=True)]
    V = y.V_m * p.P33 + (x.current + total) * p.P30 + change
    theta_spike, theta_voltage = y.threshold_spike, y.threshold_voltage
    if "own_reset" in x.features:
        theta_spike = jnp.where(p.spike_dependent_threshold, theta_spike * p.decay_spike, theta_spike)
    if "adapting_threshold" in x.features:
        steady = (x.current + total) * p.resistance
        adapted = p.decay_voltage * theta_voltage + (y.V_m - steady) * p.T_V + steady * p.T_0
        theta_voltage = jnp.where(p.adapting_threshold, adapted, theta_voltage)
    spike = free & (V > theta_spike + theta_voltage + p.V_th) & crossed(V, V)
    reset, lifted = p.V_reset, theta_spike
    if "own_reset" in x.features:
        reset = jnp.where(p.spike_dependent_threshold, p.voltage_reset_fraction * y.V_m + p.voltage_reset_add, reset)
        lifted = jnp.where(p.spike_dependent_threshold, theta_spike * p.decay_spike_held + p.th_spike_add, lifted)
    changed: dict[str, Any] = {
        "V_m": jnp.where(free, jnp.where(spike, reset, V), y.V_m),
        "threshold_spike": jnp.where(free, jnp.where(spike, lifted, theta_spike), y.threshold_spike),
        "threshold_voltage": jnp.where(free, theta_voltage, y.threshold_voltage),
        "ASCurrents_sum": jnp.where(free, total, y.ASCurrents_sum),
        "refractory": jnp.where(spike, p.t_ref, jnp.where(free, 0, y.refractory - 1)),
    }
    if after:
        jumped = [amp + current * kept for amp, current, kept in zip(p.asc_amps, after, p.asc_kept, strict=True)]
        changed["ASCurrents"] = [
            jnp.where(free & p.after_spike_currents, jnp.where(spike, jump, current), old)
            for jump, current, old in zip(jumped, after, y.ASCurrents, strict=True)
        ]
    return changed, spike
