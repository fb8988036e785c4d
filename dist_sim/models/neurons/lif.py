from __future__ import annotations

from typing import Any

import brainunit as u

from dist_sim.models.init import Constant
from dist_sim.models.neurons.integrate_and_fire import IntegrateAndFire
from dist_sim.models.neurons.neuron import InitialValue, SpikeFunction
from dist_sim.models.surrogate import ReluGrad


class LIF(IntegrateAndFire):
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

    def __init__(
        self,
        in_size: int | tuple[int, ...],
        R: Any = 1.0 * u.ohm,
        tau: Any = 5.0 * u.ms,
        V_th: Any = 1.0 * u.mV,
        V_reset: Any = 0.0 * u.mV,
        V_rest: Any = 0.0 * u.mV,
        V_initializer: InitialValue = Constant(0.0 * u.mV),
        spk_fun: SpikeFunction = ReluGrad(),
        spk_reset: str = "soft",
        name: str | None = None,
    ) -> None:
        super().__init__(in_size, R, tau, V_th, V_reset, V_rest, V_initializer, spk_fun, spk_reset, name)

    def drift(self, V: u.Quantity) -> u.Quantity:
        return self.V_rest - V

    def step(self, x: Any) -> None:
        self.V.value = self.moved(self.get_spike(), lambda V: self.sum_current_inputs(x, V))
