from __future__ import annotations

from typing import Any, ClassVar

import brainunit as u

from dist_sim.models.init import Constant
from dist_sim.models.neurons.integrate_and_fire import IntegrateAndFire
from dist_sim.models.neurons.neuron import InitialValue, SpikeFunction
from dist_sim.models.parameter import Parameter
from dist_sim.models.rounded import rounded
from dist_sim.models.surrogate import ReluGrad


class QuadraticMembrane(IntegrateAndFire):
    r"""A membrane whose spikes start quadratically: :math:`f(V) = c (V - V_{rest}) (V - V_c)`.

    Args: as :class:`IntegrateAndFire`, and
        V_c [voltage]: from where V rises without a current, c [1 / voltage] > 0. V_th is where the upstroke is cut off.
    """

    upstroke: ClassVar[bool] = True
    V_c = Parameter(u.mV)
    c = Parameter(u.mV**-1, positive=True)

    def drift(self, V: u.Quantity) -> u.Quantity:
        return rounded(self.c * ((V - self.V_rest) * (V - self.V_c)))


class QuaIF(QuadraticMembrane):
    r"""Quadratic integrate-and-fire neuron, of second order in dt.

    .. math:: \tau \dot V = c (V - V_{rest}) (V - V_c) + R I, \qquad V \ge V_{th} \Rightarrow \text{spike, } V := V_{reset}

    V_th is where the upstroke is cut off. How far a step gets above it says nothing: a spike leaves V at V_reset by either reset.

    Args: (each but in_size one value, or one per neuron; a State to change or train it later)
        R [resistance], tau [time] > 0, V_th, V_reset, V_rest, V_c [voltage], c [1 / voltage] > 0; V_reset below V_th.
        V_initializer: where V starts, a quantity or a callable of the shape.
        spk_fun, spk_reset: see :class:`Neuron`; the gradient of the hard reset passes V through, that of the soft one does not.
    States: V (*in_size) or (batch, *in_size) [mV].
    Raises: UnitError, ParameterError: a wrong unit, or a bound above broken.
    Source: Latham et al. (2000), doi:10.1152/jn.2000.83.2.808. Names and defaults are those of brainpy.state 0.1.
    """

    def __init__(
        self,
        in_size: int | tuple[int, ...],
        R: Any = 1.0 * u.ohm,
        tau: Any = 10.0 * u.ms,
        V_th: Any = -30.0 * u.mV,
        V_reset: Any = -68.0 * u.mV,
        V_rest: Any = -65.0 * u.mV,
        V_c: Any = -50.0 * u.mV,
        c: Any = 0.07 / u.mV,
        V_initializer: InitialValue = Constant(-65.0 * u.mV),
        spk_fun: SpikeFunction = ReluGrad(),
        spk_reset: str = "soft",
        name: str | None = None,
    ) -> None:
        super().__init__(in_size, R, tau, V_th, V_reset, V_rest, V_initializer, spk_fun, spk_reset, name)
        self.V_c, self.c = V_c, c

    def step(self, x: Any) -> None:
        self.V.value = self.moved(self.get_spike(), lambda V: self.sum_current_inputs(x, V))
