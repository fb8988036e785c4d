"""What integrate-and-fire models with a constant threshold have in common."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import Any

import brainunit as u
import jax

from dist_sim.models.exp_euler import exp_euler_step
from dist_sim.models.neurons.neuron import InitialValue, SpikeFunction
from dist_sim.models.neurons.resetting import ResettingNeuron
from dist_sim.models.parameter import Parameter


class IntegrateAndFire(ResettingNeuron):
    r"""A membrane with a capacitance, and a threshold.

    .. math:: \tau \dot V = f(V) + R I, \qquad V \ge V_{th} \Rightarrow \text{spike and reset}

    A model writes `drift`, which is f, and `step`.

    Args:
        R [resistance], tau [time] > 0, V_th, V_reset, V_rest [voltage].
        V_initializer: where V starts.
    States: V (*in_size) or (batch, *in_size) [mV].
    Raises: UnitError, ParameterError: a wrong unit, a bound broken, V_reset equal to V_th.
    """

    R = Parameter(u.ohm)
    tau = Parameter(u.ms, positive=True)
    V_th = Parameter(u.mV)
    V_reset = Parameter(u.mV)
    V_rest = Parameter(u.mV)

    def __init__(
        self,
        in_size: int | tuple[int, ...],
        R: Any,
        tau: Any,
        V_th: Any,
        V_reset: Any,
        V_rest: Any,
        V_initializer: InitialValue,
        spk_fun: SpikeFunction,
        spk_reset: str,
        name: str | None,
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

    @abstractmethod
    def drift(self, V: u.Quantity) -> u.Quantity:
        r""":math:`\tau \dot V` without any current."""

    def moved(self, spike: jax.Array, current: Callable[[u.Quantity], u.Quantity]) -> u.Quantity:
        """V after the reset of what spiked, one step on under a current that may depend on V, and all delta inputs."""
        start = self.after_spike(self.V.value, spike, self.V_th, self.V_reset)

        def slope(V: u.Quantity) -> u.Quantity:
            return (self.drift(V) + self.R * current(V)) * (1.0 / self.tau)

        V = self.sum_delta_inputs(exp_euler_step(slope, start))
        return self.held(start, self.bounded(V, self.V_th, self.V_reset))
