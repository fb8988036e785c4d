"""Neurons whose spikes are part of their dynamics."""

from __future__ import annotations

import operator
from abc import abstractmethod
from functools import reduce
from typing import Any, ClassVar

import brainunit as u
import jax

from dist_sim.core import HiddenState
from dist_sim.models.exp_euler import exp_euler_step
from dist_sim.models.neurons.neuron import InitialValue, Neuron, SpikeFunction
from dist_sim.models.rounded import rounded


class ContinuousNeuron(Neuron):
    """A neuron that no spike resets: it spikes in the step in which V gets from below V_th to it or above.

    So there is one spike per action potential, also in what `get_spike()` gives between steps. (That of brainpy.state gives
    spikes for as long as V is above V_th, and a projection that asks it sends each one many times.)

    A model declares V_th, calls `start` and writes `step`. `spk_reset` is taken, and changes nothing.

    Args:
        unit: of V.
        V_initializer: where V starts.
    States: V, and V_before, where it was a step ago.
    """

    delta_unit: ClassVar[Any] = u.mV
    V_th: Any
    V: HiddenState

    def __init__(
        self,
        in_size: int | tuple[int, ...],
        unit: Any,
        V_initializer: InitialValue,
        spk_fun: SpikeFunction,
        spk_reset: str,
        name: str | None,
    ) -> None:
        super().__init__(in_size, spk_fun=spk_fun, spk_reset=spk_reset, name=name)
        self._unit = unit
        self.V_initializer = self.initializer("V_initializer", V_initializer, unit)

    def init_state(self, batch_size: int | None = None) -> None:
        self.V = self.initial(self.V_initializer, self._unit, batch_size)
        self.V_before = HiddenState(self.V.value)

    def get_spike(self, V: Any = None) -> jax.Array:
        """The spikes 0. or 1. of the step before; of a potential V, whether it is at V_th or above."""
        if V is not None:
            return self.spikes_above(V, self.V_th)
        # Of the threshold first: what is at V_th now and was before has spiked.
        return self.get_spike(self.V.value) * (1.0 - self.get_spike(self.V_before.value))

    def update(self, x: Any = None) -> jax.Array:
        """One step under x, in `input_unit`, a scalar or of the shape of V. Returns spikes 0. or 1. of the shape of V."""
        before = self.V.value
        self.step(self.checked_input(x))
        self.V_before.value = before
        return self.get_spike()

    @abstractmethod
    def step(self, x: Any) -> None:
        """Moves every State but V_before by one step."""


def opened(gate: Any, alpha: Any, beta: Any) -> Any:
    r"""A gate one step on, exact for constant rates: :math:`\dot x = \alpha (1 - x) - \beta x`."""
    alpha, beta = rounded(alpha), rounded(beta)
    return exp_euler_step(lambda x: rounded(alpha * (1.0 - x)) - beta * x, gate)


def open_in_rest(alpha: Any, beta: Any) -> Any:
    """The fraction of open gates at constant rates."""
    alpha, beta = rounded(alpha), rounded(beta)
    return u.maybe_decimal(alpha / (alpha + beta))


def through(V: u.Quantity, *channels: tuple[u.Quantity, u.Quantity]) -> u.Quantity:
    """The current out of a membrane at V, through channels with a conductance and a reversal potential each."""
    return reduce(operator.add, (rounded(rounded(g) * (V - E)) for g, E in channels))


def rising(x: Any) -> Any:
    """e^x of a number, up to e^40: a rate of that much per ms opens or closes a gate within any step, and one without bound would
    be infinite, with derivatives that are no numbers.
    """
    return u.math.exp(u.math.minimum(x, 40.0))


def in_units_of(V: u.Quantity, millivolts: float) -> Any:
    """A voltage as a number, how often it is so many mV."""
    return V.to_decimal(u.mV) * (1.0 / millivolts)
