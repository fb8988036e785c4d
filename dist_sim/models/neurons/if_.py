from __future__ import annotations

from typing import Any, final

import brainunit as u

from dist_sim.models.init import Constant
from dist_sim.models.neurons.integrate_and_fire import IntegrateAndFire
from dist_sim.models.neurons.neuron import InitialValue, SpikeFunction
from dist_sim.models.parameter import Parameter
from dist_sim.models.surrogate import ReluGrad


@final
class IF(IntegrateAndFire):
    r"""Integrate-and-fire neuron that decays to 0 mV and is reset to it, exact for an input constant over each step.

    .. math:: \tau \dot V = -V + R I, \qquad V \ge V_{th} \Rightarrow \text{spike and reset}

    It leaks: a :class:`LIF` whose V_rest and V_reset are 0 mV. (The documentation of brainpy.state gives this equation, and
    elsewhere calls the model a perfect integrator, which it is for tau much longer than the run.)

    Args: (each but in_size one value, or one per neuron; a State to change or train it later)
        R [resistance], tau [time] > 0, V_th [voltage], above 0 mV.
        V_initializer: where V starts, a quantity or a callable of the shape.
        spk_fun, spk_reset: see :class:`Neuron`.
    States: V (*in_size) or (batch, *in_size) [mV].
    Raises: UnitError, ParameterError: a wrong unit, or a bound above broken.
    Source: Lapicque (1907); Abbott (1999), doi:10.1016/S0361-9230(99)00161-6. Names and defaults are those of brainpy.state 0.1.
    """

    V_th = Parameter(u.mV, positive=True)

    def __init__(
        self,
        in_size: int | tuple[int, ...],
        R: Any = 1.0 * u.ohm,
        tau: Any = 5.0 * u.ms,
        V_th: Any = 1.0 * u.mV,
        V_initializer: InitialValue = Constant(0.0 * u.mV),
        spk_fun: SpikeFunction = ReluGrad(),
        spk_reset: str = "soft",
        name: str | None = None,
    ) -> None:
        super().__init__(in_size, R, tau, V_th, 0.0 * u.mV, 0.0 * u.mV, V_initializer, spk_fun, spk_reset, name)

    def drift(self, V: u.Quantity) -> u.Quantity:
        return -V

    def step(self, x: Any) -> None:
        self.V.value = self.moved(self.get_spike(), lambda V: self.sum_current_inputs(x, V))
