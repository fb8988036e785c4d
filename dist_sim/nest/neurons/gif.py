"""What the generalized integrate-and-fire neurons with currents share: the membrane, moved exactly, under adaptation.

Source: Mensi et al. (2012), doi:10.1152/jn.00408.2011; Pozzorini et al. (2015), doi:10.1371/journal.pcbi.1004275.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np

from dist_sim.nest.neurons.escape import adapted, decays, escapes, total
from dist_sim.nest.neurons.linear import constant_to_membrane

# Where no spike can come the random numbers are not drawn.
FEATURES = {"escape_noise": lambda p: p["lambda_0"] > 0}


def gif_propagators(p: Any, dt: float) -> dict[str, Any]:
    tau_m = p.C_m / p.g_L
    return {"P33": np.expm1(-dt / tau_m), "P30": constant_to_membrane(tau_m, p.C_m, dt), **decays(p, dt)}


def gif_step(y: Any, p: Any, x: Any, change: Any) -> tuple[dict[str, Any], Any]:
    """One step but for the synaptic currents, which add `change` to the potential; and whether it spikes.

    The potential is moved by the spike-triggered currents of before the step, and a spike drawn with the threshold of before it.
    """
    I_stc, E_sfa = total(y.stc), p.V_T_star + total(y.sfa)
    V = y.V_m + (y.V_m * p.P33 + (p.I_e + x.current - I_stc) * p.P30 + change)
    free = y.refractory == 0
    spike = free & escapes(V, E_sfa, p, x.uniforms[0]) if "escape_noise" in x.features else free & (V != V)
    return {
        # The reset shows in the first step after the spike.
        "V_m": jnp.where(free, V, p.V_reset),
        "I_stc": I_stc,
        "E_sfa": E_sfa,
        "stc": adapted(y, p, "stc", spike),
        "sfa": adapted(y, p, "sfa", spike),
        "refractory": jnp.where(spike, p.t_ref, jnp.where(free, 0, y.refractory - 1)),
    }, spike
