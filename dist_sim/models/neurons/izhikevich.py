from __future__ import annotations

from typing import Any, ClassVar

import brainunit as u
import jax

from dist_sim.models.exp_euler import exp_euler_step
from dist_sim.models.init import Constant
from dist_sim.models.neurons.neuron import InitialValue, SpikeFunction
from dist_sim.models.neurons.resetting import ResettingNeuron
from dist_sim.models.parameter import Parameter
from dist_sim.models.surrogate import ReluGrad


class Izhikevich(ResettingNeuron):
    r"""Izhikevich neuron, of first order in dt.

    .. math:: \dot V = 0.04 V^2 + 5 V + 140 - u + I, \qquad \dot u = a (b V - u),
              \qquad V \ge V_{th} \Rightarrow \text{spike, } V := c, u := u + d

    with V in mV, u and I in mV/ms, time in ms. V_th is where the upstroke is cut off. How far a step gets above it says nothing:
    a spike leaves V at c by either reset. A step moves V under the u before it, then u under the V after it.

    Args: (each but in_size one value, or one per neuron; a State to change or train it later)
        a, b [1 / time], c [voltage], d [voltage / time], V_th [voltage] above c.
        V_initializer, u_initializer: where V and u start, quantities or callables of the shape.
        spk_fun, spk_reset: see :class:`Neuron`; the gradient of the hard reset passes V through, that of the soft one does not.
            The distance to threshold is scaled by abs(V_th).
    States: V [mV], u [mV/ms], each (*in_size) or (batch, *in_size).
    Raises: UnitError, ParameterError: a wrong unit, or a bound above broken.
    Source: Izhikevich (2003), doi:10.1109/TNN.2003.820440. Names and defaults are those of brainpy.state 0.1, which turns a
    V_th below 0 mV around, and whose gradient is 0 through the reset of V.
    """

    upstroke: ClassVar[bool] = True
    input_unit: ClassVar[Any] = u.mV / u.ms

    a = Parameter(u.ms**-1)
    b = Parameter(u.ms**-1)
    c = Parameter(u.mV)
    d = Parameter(u.mV / u.ms)
    V_th = Parameter(u.mV)

    def __init__(
        self,
        in_size: int | tuple[int, ...],
        a: Any = 0.02 / u.ms,
        b: Any = 0.2 / u.ms,
        c: Any = -65.0 * u.mV,
        d: Any = 8.0 * u.mV / u.ms,
        V_th: Any = 30.0 * u.mV,
        V_initializer: InitialValue = Constant(-65.0 * u.mV),
        u_initializer: InitialValue = Constant(0.0 * u.mV / u.ms),
        spk_fun: SpikeFunction = ReluGrad(),
        spk_reset: str = "hard",
        name: str | None = None,
    ) -> None:
        super().__init__(in_size, spk_fun=spk_fun, spk_reset=spk_reset, name=name)
        self.a, self.b, self.c, self.d, self.V_th = a, b, c, d, V_th
        self.check_reset(self.V_th, self.c, ("V_th", "c"))
        self.V_initializer = self.initializer("V_initializer", V_initializer, u.mV)
        self.u_initializer = self.initializer("u_initializer", u_initializer, u.mV / u.ms)

    def init_state(self, batch_size: int | None = None) -> None:
        self.V = self.initial(self.V_initializer, u.mV, batch_size)
        self.u = self.initial(self.u_initializer, u.mV / u.ms, batch_size)

    def get_spike(self, V: Any = None) -> jax.Array:
        return self.spikes_above(self.V.value if V is None else V, self.V_th)

    def step(self, x: Any) -> None:
        spike = self.get_spike()
        start = self.after_spike(self.V.value, spike, self.V_th, self.c)
        recovery = self.u.value + self.d * spike

        def slope(V: u.Quantity) -> u.Quantity:
            own = V * ((0.04 / (u.ms * u.mV)) * V + 5.0 / u.ms) + 140.0 * u.mV / u.ms
            return own - recovery + self.sum_current_inputs(x, V)

        V = self.bounded(self.sum_delta_inputs(exp_euler_step(slope, start)), self.V_th, self.c)
        self.u.value = self.held(recovery, exp_euler_step(lambda r: self.a * (self.b * V - r), recovery))
        self.V.value = self.held(start, V)
