from __future__ import annotations

from typing import Any, ClassVar, final

import brainunit as u

from dist_sim.models.exp_euler import exp_euler_step
from dist_sim.models.init import Constant
from dist_sim.models.neurons.continuous import ContinuousNeuron
from dist_sim.models.neurons.neuron import InitialValue, SpikeFunction
from dist_sim.models.parameter import Parameter
from dist_sim.models.surrogate import ReluGrad


@final
class FitzHughNagumo(ContinuousNeuron):
    r"""FitzHugh-Nagumo neuron, of first order in dt. V, w and I are numbers.

    .. math:: \tau \dot V = V - \frac{V^3}{3} - w + I, \qquad \tau_w \dot w = V + a - b w

    A step moves each under the other as it was before.

    Args: (each but in_size one value, or one per neuron; a State to change or train it later)
        a, b, V_th [numbers], tau, tau_w [time] > 0.
        V_initializer, w_initializer: where V and w start, numbers or callables of the shape.
        spk_fun: see :class:`Neuron`; the distance to threshold is scaled by abs(V_th). spk_reset changes nothing.
    States: V, V_before, w [numbers], each (*in_size) or (batch, *in_size).
    Raises: UnitError, ParameterError: a wrong unit, or a bound above broken.
    Source: FitzHugh (1961), doi:10.1016/S0006-3495(61)86902-6. Names and defaults are those of brainpy.state 0.1.
    """

    input_unit: ClassVar[Any] = u.UNITLESS
    delta_unit: ClassVar[Any] = u.UNITLESS

    a = Parameter(u.UNITLESS)
    b = Parameter(u.UNITLESS)
    tau = Parameter(u.ms, positive=True)
    tau_w = Parameter(u.ms, positive=True)
    V_th = Parameter(u.UNITLESS)

    def __init__(
        self,
        in_size: int | tuple[int, ...],
        a: Any = 0.7,
        b: Any = 0.8,
        tau: Any = 1.0 * u.ms,
        tau_w: Any = 12.5 * u.ms,
        V_th: Any = 1.0,
        V_initializer: InitialValue = Constant(-1.2),
        w_initializer: InitialValue = Constant(-0.62),
        spk_fun: SpikeFunction = ReluGrad(),
        spk_reset: str = "soft",
        name: str | None = None,
    ) -> None:
        super().__init__(in_size, u.UNITLESS, V_initializer, spk_fun, spk_reset, name)
        self.a, self.b, self.tau, self.tau_w, self.V_th = a, b, tau, tau_w, V_th
        self.w_initializer = self.initializer("w_initializer", w_initializer, u.UNITLESS)

    def init_state(self, batch_size: int | None = None) -> None:
        super().init_state(batch_size)
        self.w = self.initial(self.w_initializer, u.UNITLESS, batch_size)

    def step(self, x: Any) -> None:
        V, w = self.V.value, self.w.value

        def slope(V: Any) -> Any:
            return (V - V**3 * (1.0 / 3.0) - w + self.sum_current_inputs(x, V)) * (1.0 / self.tau)

        self.V.value = self.sum_delta_inputs(exp_euler_step(slope, V))
        self.w.value = exp_euler_step(lambda w: (V + self.a - self.b * w) * (1.0 / self.tau_w), w)
