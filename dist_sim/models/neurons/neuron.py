"""The contract of a BrainPy-style neuron model, and what all of them share."""

from __future__ import annotations

import operator
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import brainunit as u
import jax
import jax.numpy as jnp
import numpy as np

from dist_sim import units
from dist_sim.core import HiddenState, Module
from dist_sim.core.trace import has_tracer
from dist_sim.errors import ParameterError, UnitError
from dist_sim.models.init import Constant, Initializer

RESETS = ("soft", "hard")


class Neuron(Module, ABC):
    """A population of neurons, one value per neuron in each State.

    A model declares its parameters (:class:`~dist_sim.models.parameter.Parameter`) and writes `__init__`, `init_state`,
    `get_spike` and `update`. It multiplies by `1.0 / tau` rather than dividing by `tau`: XLA makes the one of the other or not,
    depending on how the batch is split, and the bits would depend on the placement.

    Args:
        in_size: number of neurons, or the shape of the population.
        spk_fun: from the scaled distance to threshold (>= 0: a spike) to spikes 0. or 1., differentiable.
        spk_reset: what a spike does to V: "soft" takes the height V_th - V_reset off, "hard" sets V to V_reset.
        name: of the Module.

    Attributes:
        in_size, out_size: the shape of the population, a tuple.

    Raises:
        ParameterError: a size below 1, another spk_reset, a spk_fun that cannot be called.
    """

    in_size: tuple[int, ...]

    def __init__(
        self,
        in_size: int | tuple[int, ...],
        *,
        spk_fun: Callable[[jax.Array], jax.Array],
        spk_reset: str = "soft",
        name: str | None = None,
    ) -> None:
        super().__init__(name)
        model = type(self).__name__
        if spk_reset not in RESETS:
            raise ParameterError(f"{model}(spk_reset={spk_reset!r}): allowed are {' and '.join(map(repr, RESETS))}.")
        if not callable(spk_fun):
            raise ParameterError(f"{model}(spk_fun={spk_fun!r}): needs a function of an array, such as ds.surrogate.ReluGrad().")
        self.in_size = self.out_size = _shape(in_size, f"{model}(in_size={in_size!r})")
        self.spk_fun = spk_fun
        self.spk_reset = spk_reset

    @abstractmethod
    def get_spike(self, V: Any = None) -> jax.Array:
        """Spikes 0. or 1. at the potential V, by default the present one; of its shape."""

    # ---- shared ----

    def initializer(self, parameter: str, given: Any, unit: Any) -> Callable[[tuple[int, ...]], Any]:
        """The initialiser that an argument gives: a callable of the shape, or a quantity to start from everywhere.

        Raises:
            UnitError: it is known to give something else than `unit`.
        """
        made = given if callable(given) else Constant(given)
        if isinstance(made, Initializer) and not u.have_same_dim(made.unit, unit):
            raise UnitError(f"{type(self).__name__}({parameter}=...): needs the unit {unit}; got {given}, of unit {made.unit}.")
        return made

    def initial(self, initializer: Callable[[tuple[int, ...]], Any], unit: Any, batch_size: int | None) -> HiddenState:
        """A State that starts from `initializer`, in `unit`, of the shape (batch_size, *in_size) or in_size.

        Raises:
            UnitError, ParameterError: a batch size below 1; an initialiser that gives another unit or shape.
        """
        model = type(self).__name__
        shape = self.in_size
        if batch_size is not None:
            shape = (*_shape(batch_size, f"{model}.init_state(batch_size={batch_size!r})"), *shape)
        where = f"{model}: the initialiser {initializer!r:.60}"
        value = units.checked(initializer(shape), unit, where)
        if value.shape != shape:
            raise ParameterError(f"{where}: gives the shape {value.shape}, where {shape} is asked for.")
        # A float of the default precision, also where whole numbers were given.
        return HiddenState(jnp.asarray(value.to_decimal(unit), float) * unit)

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


def _shape(size: Any, where: str) -> tuple[int, ...]:
    try:
        shape = tuple(operator.index(n) for n in (size if np.ndim(size) else (size,)))
    except TypeError:
        shape = ()
    if not shape or min(shape) < 1:
        raise ParameterError(f"{where}: needs a whole number of at least 1, or a tuple of such.")
    return shape
