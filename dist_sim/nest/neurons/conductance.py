"""What the integrate-and-fire neurons with conductances share: what their currents see, their threshold, the size of a jump."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np

from dist_sim.nest.neurons.neuron import crossed


def seen(y: Any, p: Any) -> Any:
    """The potential that currents see: V_reset while refractory, at most V_th else."""
    return jnp.where(y.refractory > 0, p.V_reset, jnp.where(y.V_m > p.V_th, p.V_th, y.V_m))


def unless_refractory(y: Any, rate: Any) -> Any:
    """A rate of the potential, which is held while refractory."""
    return jnp.where(y.refractory > 0, 0.0, rate)


def fire(y: Any, p: Any) -> tuple[dict[str, Any], Any]:
    """The threshold at the end of a step: V_m and refractory as they become, and whether there is a spike."""
    waits = y.refractory > 0
    spike = ~waits & crossed(y.V_m, p.V_th)
    return {
        "V_m": jnp.where(waits | spike, p.V_reset, y.V_m),
        "refractory": jnp.where(spike, p.t_ref, jnp.where(waits, y.refractory - 1, 0)),
    }, spike


def jump(tau_rise: np.ndarray, tau_decay: np.ndarray) -> np.ndarray:
    """What a spike of weight 1 adds to dg, the first of two stages, so that g, the second, has the peak 1.

    The peak of a difference of exponentials in a form that is exact where the times meet: an alpha function, e / tau.
    """
    excess = (np.asarray(tau_decay, np.float64) - tau_rise) / tau_rise
    ratio = np.where(excess == 0, 1.0, np.log1p(excess) / np.where(excess == 0, 1.0, excess))
    return np.exp(ratio) / tau_rise
