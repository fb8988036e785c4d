"""What the generalized integrate-and-fire neurons of the Gerstner lab share: adaptation, and spikes at random.

Source: Mensi et al. (2012), doi:10.1152/jn.00408.2011; Pozzorini et al. (2015), doi:10.1371/journal.pcbi.1004275.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np

from dist_sim.nest.neurons.linear import constant_to_membrane

# Where no spike can come the random numbers are not drawn.
FEATURES = {"escape_noise": lambda p: p["lambda_0"] > 0}


def gif_propagators(p: Any, dt: float) -> dict[str, Any]:
    tau_m = p.C_m / p.g_L
    return {
        "P33": np.expm1(-dt / tau_m),
        "P30": constant_to_membrane(tau_m, p.C_m, dt),
        "decay_stc": [np.exp(-dt / tau) for tau in p.tau_stc],
        "decay_sfa": [np.exp(-dt / tau) for tau in p.tau_sfa],
        "expected": p.lambda_0 * dt * 1e-3,
        "slope": 1.0 / p.Delta_V,
    }


def gif_step(y: Any, p: Any, x: Any, change: Any) -> tuple[dict[str, Any], Any]:
    """One step but for the synaptic currents, which add `change` to the potential; and whether it spikes.

    The potential is moved by the spike-triggered currents of before the step, and a spike drawn with the threshold of before it.
    """
    I_stc, E_sfa = sum(y.stc, 0.0), sum(y.sfa, 0.0)
    V = y.V_m + (y.V_m * p.P33 + (p.I_e + x.current - I_stc) * p.P30 + change)
    free = y.refractory == 0
    spike = free & (V != V)
    if "escape_noise" in x.features:
        expected = p.expected * jnp.exp((V - p.V_T_star - E_sfa) * p.slope)
        spike = free & (x.uniforms[0] < -jnp.expm1(-expected))
    stc = [current * decay for current, decay in zip(y.stc, p.decay_stc, strict=True)] if y.stc else []
    sfa = [shift * decay for shift, decay in zip(y.sfa, p.decay_sfa, strict=True)] if y.sfa else []
    return {
        # The reset shows in the first step after the spike.
        "V_m": jnp.where(free, V, p.V_reset),
        "I_stc": I_stc,
        "E_sfa": p.V_T_star + E_sfa,
        "stc": [jnp.where(spike, current + q, current) for current, q in zip(stc, p.q_stc, strict=True)],
        "sfa": [jnp.where(spike, shift + q, shift) for shift, q in zip(sfa, p.q_sfa, strict=True)],
        "refractory": jnp.where(spike, p.t_ref, jnp.where(free, 0, y.refractory - 1)),
    }, spike
