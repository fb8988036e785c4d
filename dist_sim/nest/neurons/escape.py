"""What the generalised integrate-and-fire models share: adaptation by sums of exponentials and a threshold at random."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np


def decays(p: Any, dt: float) -> dict[str, Any]:
    """Propagators of the elements of adaptation, and the number of spikes that a step expects where V is at the threshold."""
    return {
        "P_stc": [np.exp(-dt / tau) for tau in p.tau_stc],
        "P_sfa": [np.exp(-dt / tau) for tau in p.tau_sfa],
        "expected": p.lambda_0 * dt * 1e-3,
    }


def total(elements: tuple[Any, ...]) -> Any:
    """Their sum, from the first on."""
    return sum(elements, start=0.0)


def escapes(V: Any, E_sfa: Any, p: Any, uniform: Any) -> Any:
    """Whether a neuron at V spikes in a step: its rate is lambda_0 exp((V - E_sfa) / Delta_V)."""
    return uniform < -jnp.expm1(-(p.expected * jnp.exp((V - E_sfa) / p.Delta_V)))


def adapted(y: Any, p: Any, name: str, spike: Any) -> list[Any]:
    """The elements of `stc` or `sfa` at the end of a step: decayed, and moved by a spike."""
    elements = getattr(y, name)
    if not elements:
        return []
    each = zip(elements, getattr(p, f"P_{name}"), getattr(p, f"q_{name}"), strict=True)
    return [element * decay + jnp.where(spike, jump, 0.0) for element, decay, jump in each]
