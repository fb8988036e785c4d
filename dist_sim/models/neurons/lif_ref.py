from __future__ import annotations

from collections.abc import Callable
from typing import Any, final

import brainunit as u
import jax
import jax.numpy as jnp

from dist_sim.core import ShortTermState, environ
from dist_sim.models.init import Constant
from dist_sim.models.neurons.lif import LIF
from dist_sim.models.parameter import Parameter
from dist_sim.models.surrogate import ReluGrad


@final
class LIFRef(LIF):
    r"""Leaky integrate-and-fire neuron that holds V for the time tau_ref after a spike.

    As :class:`LIF`. Refractoriness is counted in steps: the next spike is possible ceil(tau_ref / dt) steps after a spike, at
    any length of the run.

    Args: as :class:`LIF`, and
        tau_ref [time] >= 0.
    States: V [mV] and refractory, the steps left (int32), each (*in_size) or (batch, *in_size).
    Source: as :class:`LIF`. Checked against brainpy.state 0.1, whose clock of floats may hold V for one step more.
    """

    tau_ref = Parameter(u.ms, at_least=0.0)

    def __init__(
        self,
        in_size: int | tuple[int, ...],
        R: Any = 1.0 * u.ohm,
        tau: Any = 5.0 * u.ms,
        tau_ref: Any = 5.0 * u.ms,
        V_th: Any = 1.0 * u.mV,
        V_reset: Any = 0.0 * u.mV,
        V_rest: Any = 0.0 * u.mV,
        V_initializer: Callable[[tuple[int, ...]], Any] | u.Quantity = Constant(0.0 * u.mV),
        spk_fun: Callable[[jax.Array], jax.Array] = ReluGrad(),
        spk_reset: str = "soft",
        name: str | None = None,
    ) -> None:
        super().__init__(in_size, R, tau, V_th, V_reset, V_rest, V_initializer, spk_fun, spk_reset, name)
        self.tau_ref = tau_ref

    def init_state(self, batch_size: int | None = None) -> None:
        super().init_state(batch_size)
        self.refractory = ShortTermState(jnp.zeros(self.V.value.shape, jnp.int32))

    def update(self, x: Any = 0.0 * u.mA) -> jax.Array:
        """One step under the current x, a scalar or of the shape of V. Returns spikes 0. or 1. of the shape of V."""
        start, V = self.integrated(x)
        left = self.refractory.value
        self.V.value = u.math.where(left > 0, start, V)
        # A whole number of steps is one, though dt be 0.1 in binary.
        held = jnp.ceil(jnp.asarray(u.get_mantissa(self.tau_ref / environ.get_dt())) - 1e-4).astype(jnp.int32) - 1
        self.refractory.value = jnp.where(self.V.value >= self.V_th, jnp.maximum(held, 0), jnp.maximum(left - 1, 0))
        return self.get_spike()
