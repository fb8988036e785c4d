from __future__ import annotations

from typing import Any, ClassVar, final

import brainunit as u

from dist_sim.models.exp_euler import exp_euler_step
from dist_sim.models.init import Constant
from dist_sim.models.neurons.continuous import ContinuousNeuron
from dist_sim.models.neurons.neuron import InitialValue, SpikeFunction
from dist_sim.models.parameter import Parameter
from dist_sim.models.rounded import rounded
from dist_sim.models.surrogate import ReluGrad


@final
class HindmarshRose(ContinuousNeuron):
    r"""Hindmarsh-Rose neuron, which bursts; of first order in dt. V, y, z and I are numbers.

    .. math:: \tau \dot V = y - a V^3 + b V^2 - z + I, \qquad \tau \dot y = c - d V^2 - y,
              \qquad \tau \dot z = r (s (V - V_r) - z)

    A step moves each under the others as they were before.

    Args: (each but in_size one value, or one per neuron; a State to change or train it later)
        a, b, c, d, r, s, V_r, V_th [numbers], tau [time] > 0.
        V_initializer, y_initializer, z_initializer: where the States start, numbers or callables of the shape.
        spk_fun: see :class:`Neuron`; the distance to threshold is scaled by abs(V_th). spk_reset changes nothing.
    States: V, V_before, y, z [numbers], each (*in_size) or (batch, *in_size).
    Raises: UnitError, ParameterError: a wrong unit, or a bound above broken.
    Source: Hindmarsh & Rose (1984), doi:10.1098/rspb.1984.0024. Names and defaults are those of brainpy.state 0.1.
    """

    input_unit: ClassVar[Any] = u.UNITLESS
    delta_unit: ClassVar[Any] = u.UNITLESS

    a = Parameter(u.UNITLESS)
    b = Parameter(u.UNITLESS)
    c = Parameter(u.UNITLESS)
    d = Parameter(u.UNITLESS)
    r = Parameter(u.UNITLESS)
    s = Parameter(u.UNITLESS)
    V_r = Parameter(u.UNITLESS)
    tau = Parameter(u.ms, positive=True)
    V_th = Parameter(u.UNITLESS)

    def __init__(
        self,
        in_size: int | tuple[int, ...],
        a: Any = 1.0,
        b: Any = 3.0,
        c: Any = 1.0,
        d: Any = 5.0,
        r: Any = 0.006,
        s: Any = 4.0,
        V_r: Any = -1.6,
        tau: Any = 1.0 * u.ms,
        V_th: Any = 1.0,
        V_initializer: InitialValue = Constant(-1.6),
        y_initializer: InitialValue = Constant(-10.0),
        z_initializer: InitialValue = Constant(0.0),
        spk_fun: SpikeFunction = ReluGrad(),
        spk_reset: str = "soft",
        name: str | None = None,
    ) -> None:
        super().__init__(in_size, u.UNITLESS, V_initializer, spk_fun, spk_reset, name)
        self.a, self.b, self.c, self.d, self.r, self.s = a, b, c, d, r, s
        self.V_r, self.tau, self.V_th = V_r, tau, V_th
        self.y_initializer = self.initializer("y_initializer", y_initializer, u.UNITLESS)
        self.z_initializer = self.initializer("z_initializer", z_initializer, u.UNITLESS)

    def init_state(self, batch_size: int | None = None) -> None:
        super().init_state(batch_size)
        self.y = self.initial(self.y_initializer, u.UNITLESS, batch_size)
        self.z = self.initial(self.z_initializer, u.UNITLESS, batch_size)

    def step(self, x: Any) -> None:
        V, y, z, rate = self.V.value, self.y.value, self.z.value, 1.0 / self.tau

        def slope(V: Any) -> Any:
            return (y - rounded(self.a * V**3) + rounded(self.b * V**2) - z + self.sum_current_inputs(x, V)) * rate

        self.V.value = self.sum_delta_inputs(exp_euler_step(slope, V))
        self.y.value = exp_euler_step(lambda y: (self.c - self.d * V**2 - y) * rate, y)
        self.z.value = exp_euler_step(lambda z: self.r * (self.s * (V - self.V_r) - z) * rate, z)
