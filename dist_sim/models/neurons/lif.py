from __future__ import annotations

from collections.abc import Callable
from typing import Any

import brainunit as u
import jax

from dist_sim import units
from dist_sim.models.exp_euler import exp_euler_step
from dist_sim.models.init import Constant
from dist_sim.models.neurons.neuron import Neuron
from dist_sim.models.parameter import Parameter
from dist_sim.models.surrogate import ReluGrad


class LIF(Neuron):
    r"""Leaky integrate-and-fire neuron, exact for an input constant over each step.

    .. math:: \tau \dot V = -(V - V_{rest}) + R I, \qquad V \ge V_{th} \Rightarrow \text{spike and reset}

    A step first resets what the step before left at or above V_th, then integrates, then reports spikes: V as recorded is
    what spiked, before its reset.

    Args: (each but in_size one value, or one per neuron; a State to change or train it later)
        R [resistance], tau [time] > 0, V_th, V_reset, V_rest [voltage]. V_reset below V_th: equal is
            refused, above warned of.
        V_initializer: where V starts, a quantity or a callable of the shape; not at V_rest unless it says so.
        spk_fun, spk_reset: see :class:`Neuron`.
    States: V (*in_size) or (batch, *in_size) [mV].
    Raises: UnitError, ParameterError: a wrong unit, or a bound above broken.
    Source: Lapicque (1907); surrogate gradients: Neftci, Mostafa & Zenke (2019), doi:10.1109/MSP.2019.2931595. Names and
    defaults are those of brainpy.state 0.1, against which values and gradients were checked.
    """

    R = Parameter(u.ohm)
    tau = Parameter(u.ms, positive=True)
    V_th = Parameter(u.mV)
    V_reset = Parameter(u.mV)
    V_rest = Parameter(u.mV)

    def __init__(
        self,
        in_size: int | tuple[int, ...],
        R: Any = 1.0 * u.ohm,
        tau: Any = 5.0 * u.ms,
        V_th: Any = 1.0 * u.mV,
        V_reset: Any = 0.0 * u.mV,
        V_rest: Any = 0.0 * u.mV,
        V_initializer: Callable[[tuple[int, ...]], Any] | u.Quantity = Constant(0.0 * u.mV),
        spk_fun: Callable[[jax.Array], jax.Array] = ReluGrad(),
        spk_reset: str = "soft",
        name: str | None = None,
    ) -> None:
        super().__init__(in_size, spk_fun=spk_fun, spk_reset=spk_reset, name=name)
        self.R, self.tau, self.V_th, self.V_reset, self.V_rest = R, tau, V_th, V_reset, V_rest
        self.check_reset(self.V_th, self.V_reset)
        self.V_initializer = self.initializer("V_initializer", V_initializer, u.mV)

    def init_state(self, batch_size: int | None = None) -> None:
        self.V = self.initial(self.V_initializer, u.mV, batch_size)

    def get_spike(self, V: Any = None) -> jax.Array:
        V = self.V.value if V is None else V
        return self.spk_fun((V - self.V_th) * (1.0 / (self.V_th - self.V_reset)))

    def update(self, x: Any = 0.0 * u.mA) -> jax.Array:
        """One step under the current x, a scalar or of the shape of V. Returns spikes 0. or 1. of the shape of V."""
        self.V.value = self.integrated(x)[1]
        return self.get_spike()

    def integrated(self, x: Any) -> tuple[u.Quantity, u.Quantity]:
        """V after the reset of what spiked, and from there one step on, under the current x and all inputs."""
        units.checked(x, u.mA, f"{type(self).__name__}.update(x=...)")
        start = self.after_spike(self.V.value, self.get_spike(), self.V_th, self.V_reset)

        def slope(V: u.Quantity) -> u.Quantity:
            return (self.V_rest - V + self.R * self.sum_current_inputs(x, V)) * (1.0 / self.tau)

        return start, self.sum_delta_inputs(exp_euler_step(slope, start))
