"""The contract of a BrainPy-style neuron model, and what all of them share."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import brainunit as u
import jax
import numpy as np

from dist_sim.core.trace import has_tracer
from dist_sim.errors import ParameterError
from dist_sim.models.dynamics import Dynamics

RESETS = ("soft", "hard")


class Neuron(Dynamics, ABC):
    """A population of neurons, one value per neuron in each State.

    A model declares its parameters (:class:`~dist_sim.models.parameter.Parameter`) and writes `__init__`, `init_state`,
    `get_spike` and `update`. It multiplies by `1.0 / tau` rather than dividing by `tau`: XLA makes the one of the other or not,
    depending on how the batch is split, and the bits would depend on the placement.

    Args:
        in_size: number of neurons, or the shape of the population.
        spk_fun: from the scaled distance to threshold (>= 0: a spike) to spikes 0. or 1., differentiable.
        spk_reset: what a spike does to V: "soft" takes the height V_th - V_reset off, "hard" sets V to V_reset.
        name: of the Module.

    Raises:
        ParameterError: a size below 1, another spk_reset, a spk_fun that cannot be called.
    """

    def __init__(
        self,
        in_size: int | tuple[int, ...],
        *,
        spk_fun: Callable[[jax.Array], jax.Array],
        spk_reset: str = "soft",
        name: str | None = None,
    ) -> None:
        super().__init__(in_size, name)
        model = type(self).__name__
        if spk_reset not in RESETS:
            raise ParameterError(f"{model}(spk_reset={spk_reset!r}): allowed are {' and '.join(map(repr, RESETS))}.")
        if not callable(spk_fun):
            raise ParameterError(f"{model}(spk_fun={spk_fun!r}): needs a function of an array, such as ds.surrogate.ReluGrad().")
        self.spk_fun = spk_fun
        self.spk_reset = spk_reset

    @abstractmethod
    def get_spike(self, V: Any = None) -> jax.Array:
        """Spikes 0. or 1. at the potential V, by default the present one; of its shape."""

    # ---- shared ----

    def check_reset(self, V_th: u.Quantity, V_reset: u.Quantity) -> None:
        """To be called by models whose distance to threshold is scaled by V_th - V_reset.

        Raises:
            ParameterError: V_reset equals V_th.
        Warns:
            UserWarning: V_reset above V_th, which turns the threshold around (brainpy.state accepts it, and V_reset = 0 mV is
                its default).
        """
        if has_tracer((V_th, V_reset)):
            return
        model = type(self).__name__
        height = np.asarray((V_th - V_reset).to_decimal(u.mV))
        if (height == 0).any():
            raise ParameterError(
                f"{model}(V_reset=...): V_reset must be below V_th; they are equal, so that a spike changes nothing."
            )
        if (height < 0).any():
            warnings.warn(
                f"{model}(V_reset=...): V_reset is above V_th: the neuron spikes at or below V_th, not above, and a spike raises "
                "V. Set V_reset (0 mV by default) below V_th.",
                stacklevel=3,
            )

    def after_spike(self, V: u.Quantity, spike: jax.Array, V_th: u.Quantity, V_reset: u.Quantity) -> u.Quantity:
        """V after its spikes have been taken off, the soft or the hard way."""
        # Hard: V - (V - V_reset). Gradients pass through the first V and the spike only, as in brainpy.state.
        top = V_th if self.spk_reset == "soft" else jax.lax.stop_gradient(V)
        return V - (top - V_reset) * spike
