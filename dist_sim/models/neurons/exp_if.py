from __future__ import annotations

from typing import Any, ClassVar

import brainunit as u

from dist_sim.models.init import Constant
from dist_sim.models.neurons.integrate_and_fire import IntegrateAndFire
from dist_sim.models.neurons.neuron import InitialValue, SpikeFunction
from dist_sim.models.parameter import Parameter
from dist_sim.models.surrogate import ReluGrad


class ExponentialMembrane(IntegrateAndFire):
    r"""A membrane whose spikes start exponentially: :math:`f(V) = V_{rest} - V + \Delta_T e^{(V - V_T) / \Delta_T}`.

    Args: as :class:`IntegrateAndFire`, and
        V_T [voltage]: where a spike starts, delta_T [voltage] > 0: how sharply. V_th is where its upstroke is cut off.
    """

    upstroke: ClassVar[bool] = True
    V_T = Parameter(u.mV)
    delta_T = Parameter(u.mV, positive=True)

    def drift(self, V: u.Quantity) -> u.Quantity:
        # Within a step from 20 delta_T above V_T any membrane is past its threshold: e^20 keeps it finite.
        steepness = u.math.minimum((V - self.V_T) * (1.0 / self.delta_T), 20.0)
        return self.V_rest - V + self.delta_T * u.math.exp(steepness)


class ExpIF(ExponentialMembrane):
    r"""Exponential integrate-and-fire neuron, of second order in dt.

    .. math:: \tau \dot V = -(V - V_{rest}) + \Delta_T \exp\frac{V - V_T}{\Delta_T} + R I,
              \qquad V \ge V_{th} \Rightarrow \text{spike, } V := V_{reset}

    V_th is where the upstroke is cut off. How far a step gets above it says nothing: a spike leaves V at V_reset by either reset.
    (The soft reset of brainpy.state leaves it where the upstroke got to, from where it spikes at every step.)

    Args: (each but in_size one value, or one per neuron; a State to change or train it later)
        R [resistance], tau [time] > 0, V_th, V_reset, V_rest, V_T, delta_T > 0 [voltage]; V_reset below V_th.
        V_initializer: where V starts, a quantity or a callable of the shape.
        spk_fun, spk_reset: see :class:`Neuron`; the gradient of the hard reset passes V through, that of the soft one does not.
    States: V (*in_size) or (batch, *in_size) [mV].
    Raises: UnitError, ParameterError: a wrong unit, or a bound above broken.
    Source: Fourcaud-Trocmé et al. (2003), doi:10.1523/JNEUROSCI.23-37-11628.2003. Names and defaults are those of
    brainpy.state 0.1.
    """

    def __init__(
        self,
        in_size: int | tuple[int, ...],
        R: Any = 1.0 * u.ohm,
        tau: Any = 10.0 * u.ms,
        V_th: Any = -30.0 * u.mV,
        V_reset: Any = -68.0 * u.mV,
        V_rest: Any = -65.0 * u.mV,
        V_T: Any = -59.9 * u.mV,
        delta_T: Any = 3.48 * u.mV,
        V_initializer: InitialValue = Constant(-65.0 * u.mV),
        spk_fun: SpikeFunction = ReluGrad(),
        spk_reset: str = "soft",
        name: str | None = None,
    ) -> None:
        super().__init__(in_size, R, tau, V_th, V_reset, V_rest, V_initializer, spk_fun, spk_reset, name)
        self.V_T, self.delta_T = V_T, delta_T

    def step(self, x: Any) -> None:
        self.V.value = self.moved(self.get_spike(), lambda V: self.sum_current_inputs(x, V))
