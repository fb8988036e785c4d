"""What a synapse model declares of itself: parameters of a connection, variables of a synapse, traces of the target."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, final

import brainunit as u
import numpy as np

from dist_sim import units
from dist_sim.errors import ParameterError, UnitError
from dist_sim.nest import declared
from dist_sim.network.distributions import Distribution

WEIGHT = "weight"  # the unit of the target's input


@final
@dataclass(frozen=True)
class Parameter:
    """A number of a connection, the same for all of its synapses.

    Attributes:
        unit: a brainunit unit; `u.UNITLESS` for a number, WEIGHT for that of the target's input.
        default: in that unit; an int is a whole number.
        above, at_least, below, at_most: bounds, in that unit.
        decays: it is a time constant, and the model has exp(-h / it) for the time h since the last presynaptic spike.
    """

    unit: Any
    default: float
    above: float | None = None
    at_least: float | None = None
    below: float | None = None
    at_most: float | None = None
    decays: bool = False

    def number(self, value: Any, unit: Any, where: str) -> float:
        """A value that a user gave, as a bare number of `unit`.

        Raises:
            UnitError, ParameterError: it is not one number of this unit within the bounds.
        """
        if u.have_same_dim(unit, u.UNITLESS):
            if isinstance(value, u.Quantity) and u.have_same_dim(value, u.UNITLESS):
                value = u.get_mantissa(value.in_unit(u.UNITLESS))
            if isinstance(value, u.Quantity | Distribution):
                raise UnitError(f"{where}: one number without unit is needed.")
            try:
                bare = np.asarray(value, dtype=np.float64)
            except (TypeError, ValueError) as error:
                raise ParameterError(f"{where}: one number is needed.") from error
        else:
            bare = units.magnitude(value, unit, where)
        if bare.ndim:
            raise ParameterError(f"{where}: one value for the whole connection is needed; got {bare.size}.")
        if not np.isfinite(bare):
            raise ParameterError(f"{where}: must be finite.")
        bounds = declared.Parameter(unit, self.default, self.above, self.at_least, self.below, self.at_most)
        bounds.check(float(bare), float(bare), where)
        return float(bare)


@final
@dataclass(frozen=True)
class Variable:
    """A number that each synapse has for itself and that spikes may change, without unit.

    Attributes:
        start: its initial value, which a user may give as a parameter; an int is a whole number.
        at_least, at_most: bounds of the initial value.
        hidden: neither given nor read by a user.
    """

    start: float
    at_least: float | None = None
    at_most: float | None = None
    hidden: bool = False

    def as_parameter(self) -> Parameter:
        return Parameter(u.UNITLESS, self.start, at_least=self.at_least, at_most=self.at_most)


@final
@dataclass(frozen=True)
class Trace:
    """A trace of the target's spikes, as a presynaptic spike meets it: of the spikes strictly before it.

    Attributes:
        tau: parameter of the target that is its time constant.
        nearest: it is 1 after each spike; else it grows by 1 with each.
    """

    tau: str = "tau_minus"
    nearest: bool = False
