"""Absolute refractoriness, for any model that a spike resets."""

from __future__ import annotations

from typing import Any

import brainunit as u
import jax
import jax.numpy as jnp

from dist_sim import units
from dist_sim.core import ShortTermState, environ
from dist_sim.models.neurons.resetting import ResettingNeuron
from dist_sim.models.parameter import Parameter


class Refractory(ResettingNeuron):
    """What a refractory form has before the model that it is a form of: `class LIFRef(Refractory, LIF)`.

    For tau_ref after a spike V stays where the spike left it, and with it what the model passes through `held`. Counted in
    steps: the next spike is possible ceil(tau_ref / dt) steps after a spike, at any length of the run and whatever the input.
    (brainpy.state compares times of floats, which may hold a step more, and its soft reset may leave V above V_th.)

    States: refractory, the steps left (int32), of the shape of V.
    """

    tau_ref = Parameter(u.ms, at_least=0.0)
    refractory: ShortTermState

    def init_state(self, batch_size: int | None = None) -> None:
        super().init_state(batch_size)
        self.refractory = ShortTermState(jnp.zeros(self.V.value.shape, jnp.int32))

    def held(self, before: Any, after: Any) -> Any:
        return u.math.where(self.refractory.value > 0, before, after)

    def after_spike(self, V: u.Quantity, spike: jax.Array, V_th: u.Quantity, V_reset: u.Quantity) -> u.Quantity:
        V = super().after_spike(V, spike, V_th, V_reset)
        # A soft reset may leave it above V_th, where it would go on to spike.
        return u.math.where((V >= V_th) & (V_reset < V_th), V_reset, V)

    def note(self, spikes: jax.Array) -> None:
        # A whole number of steps is one, though dt be 0.1 in binary.
        ratio = jnp.asarray(u.get_mantissa(self.tau_ref / environ.get_dt()))
        steps = jnp.ceil(ratio - 1e-4 - units.rounding(ratio, ratio.dtype)).astype(jnp.int32) - 1
        left = jnp.maximum(self.refractory.value - 1, 0)
        self.refractory.value = jnp.where(spikes >= 0.5, jnp.maximum(steps, 0), left)
