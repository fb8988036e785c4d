from __future__ import annotations

from typing import Any, final

import brainunit as u
import jax

from dist_sim.models.exp_euler import exp_euler_step
from dist_sim.models.init import Constant
from dist_sim.models.neurons.integrate_and_fire import IntegrateAndFire
from dist_sim.models.neurons.neuron import InitialValue, SpikeFunction
from dist_sim.models.parameter import Parameter
from dist_sim.models.surrogate import ReluGrad


@final
class ALIF(IntegrateAndFire):
    r"""Leaky integrate-and-fire neuron whose spikes raise its threshold, exact for an input constant over each step.

    .. math:: \tau \dot V = -(V - V_{rest}) + R I, \qquad \tau_a \dot a = -a,
              \qquad V \ge V_{th} + \beta a \Rightarrow \text{spike, reset, } a := a + 1

    The soft reset takes V_th - V_reset off, not the height of the raised threshold.

    Args: as :class:`LIF`, and
        tau_a [time] > 0, beta [voltage]: what one spike adds to the threshold.
        a_initializer: where a starts, a number or a callable of the shape.
    States: V [mV], a [number], each (*in_size) or (batch, *in_size).
    Raises: UnitError, ParameterError: a wrong unit, or a bound broken.
    Source: Bellec et al. (2020), doi:10.1038/s41467-020-17236-y. Names and defaults are those of brainpy.state 0.1.
    """

    tau_a = Parameter(u.ms, positive=True)
    beta = Parameter(u.mV)

    def __init__(
        self,
        in_size: int | tuple[int, ...],
        R: Any = 1.0 * u.ohm,
        tau: Any = 5.0 * u.ms,
        tau_a: Any = 100.0 * u.ms,
        V_th: Any = 1.0 * u.mV,
        V_reset: Any = 0.0 * u.mV,
        V_rest: Any = 0.0 * u.mV,
        beta: Any = 0.1 * u.mV,
        spk_fun: SpikeFunction = ReluGrad(),
        spk_reset: str = "soft",
        V_initializer: InitialValue = Constant(0.0 * u.mV),
        a_initializer: InitialValue = Constant(0.0),
        name: str | None = None,
    ) -> None:
        super().__init__(in_size, R, tau, V_th, V_reset, V_rest, V_initializer, spk_fun, spk_reset, name)
        self.tau_a, self.beta = tau_a, beta
        self.a_initializer = self.initializer("a_initializer", a_initializer, u.UNITLESS)

    def init_state(self, batch_size: int | None = None) -> None:
        super().init_state(batch_size)
        self.a = self.initial(self.a_initializer, u.UNITLESS, batch_size)

    def get_spike(self, V: Any = None, a: Any = None) -> jax.Array:
        """Spikes 0. or 1. at the potential V and adaptation a, by default the present ones; of their shape."""
        a = self.a.value if a is None else a
        return super().get_spike((self.V.value if V is None else V) - self.beta * a)

    def drift(self, V: u.Quantity) -> u.Quantity:
        return self.V_rest - V

    def step(self, x: Any) -> None:
        spike = self.get_spike()
        self.a.value = exp_euler_step(lambda a: -a * (1.0 / self.tau_a), self.a.value + spike)
        self.V.value = self.moved(spike, lambda V: self.sum_current_inputs(x, V))
