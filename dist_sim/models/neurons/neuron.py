"""The contract of a BrainPy-style neuron model."""

from __future__ import annotations

from abc import ABC
from collections.abc import Callable
from typing import Any, ClassVar

import brainunit as u
import jax

from dist_sim import units
from dist_sim.errors import ParameterError
from dist_sim.models.dynamics import Dynamics
from dist_sim.models.surrogate import InvSquareGrad

RESETS = ("soft", "hard")

SpikeFunction = Callable[[jax.Array], jax.Array]
InitialValue = Callable[[tuple[int, ...]], Any] | u.Quantity | float


class Neuron(Dynamics, ABC):
    """A population of neurons, one value per neuron in each State.

    A model declares its parameters (:class:`~dist_sim.models.parameter.Parameter`) and writes `__init__`, `init_state`,
    `get_spike` and `update`; :class:`~dist_sim.models.neurons.resetting.ResettingNeuron` and
    :class:`~dist_sim.models.neurons.continuous.ContinuousNeuron` have most of it. It multiplies by `1.0 / tau` rather than
    dividing by `tau`: XLA makes the one of the other or not, depending on how the batch is split, and the bits would depend on
    the placement. A sum of two products goes through :func:`~dist_sim.models.rounded.rounded` for the same reason.

    Args:
        in_size: number of neurons, or the shape of the population.
        spk_fun: from the scaled distance to threshold (>= 0: a spike) to spikes 0. or 1., differentiable.
        spk_reset: what a spike does to V: "soft" takes the height V_th - V_reset off, "hard" sets V to V_reset.
        name: of the Module.

    Attributes:
        input_unit: of what `update` takes, and of the currents that projections add.
        delta_unit: of what `sum_delta_inputs` sums, whatever the labels; None where that is for `update` to say.

    Raises:
        ParameterError: a size below 1, another spk_reset, a spk_fun that cannot be called.
    """

    input_unit: ClassVar[Any] = u.mA
    delta_unit: ClassVar[Any] = None

    def __init__(
        self,
        in_size: int | tuple[int, ...],
        spk_fun: SpikeFunction = InvSquareGrad(),
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

    def get_spike(self, V: Any = None) -> jax.Array:
        """Spikes 0. or 1. at the potential V, by default the present one; of its shape. To be defined by models that have it."""
        raise NotImplementedError(f"{type(self).__name__} does not define get_spike().")

    # ---- shared ----

    def checked_input(self, x: Any) -> Any:
        """What `update` was given, in `input_unit`; nothing is 0.

        Raises:
            UnitError: something else.
        """
        given = 0.0 * self.input_unit if x is None else x
        return u.maybe_decimal(units.checked(given, self.input_unit, f"{type(self).__name__}.update(x=...)"))

    def spikes_above(self, V: Any, V_th: Any) -> jax.Array:
        """Spikes at V, the distance to threshold in units of V_th itself. Whatever the sign of V_th, they are above it."""
        height = u.math.where(V_th == 0 * V_th, u.math.ones_like(V_th), u.math.abs(V_th))
        return self.spk_fun((V - V_th) * (1.0 / height))
