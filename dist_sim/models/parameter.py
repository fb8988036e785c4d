"""A parameter of a model, declared once per class: its unit, its bound, and how it is kept."""

from __future__ import annotations

from typing import Any, overload

import brainunit as u
import numpy as np

from dist_sim import units
from dist_sim.core import ParamModule, State
from dist_sim.core.trace import has_tracer
from dist_sim.errors import ParameterError


class Parameter:
    """Declares a parameter in the body of a model: `tau = Parameter(u.ms, positive=True)`.

    `__init__` assigns it, once; reading gives a quantity in the declared unit, or a bare number where that is `u.UNITLESS`. What
    is assigned may be

    - one number: a constant of every compiled program;
    - an array that broadcasts to the model's `varshape`, or else its `in_size`: kept in a State of the present precision, so that
      no program contains it as a constant;
    - a State that holds either, such as a ParamState to train: kept as it is, found by `states()`;
    - an `nn.Param`, which is read through its transform: likewise.

    Args:
        unit: of the parameter.
        positive: must be above 0.
        at_least, at_most: in the unit.

    Raises:
        UnitError: on assignment, without unit or with that of something else.
        ParameterError: on assignment, not finite, out of bounds, of a shape that does not fit, or assigned before.
    """

    def __init__(self, unit: Any, *, positive: bool = False, at_least: float = -np.inf, at_most: float = np.inf) -> None:
        self.unit = unit
        self.positive = positive
        self.at_least = at_least
        self.at_most = at_most

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    @overload
    def __get__(self, model: None, owner: type) -> Parameter: ...

    @overload
    def __get__(self, model: Any, owner: type) -> Any: ...

    def __get__(self, model: Any, owner: type) -> Any:
        if model is None:
            return self
        # Under its own name: the walk over a model's attributes finds the State there.
        kept = vars(model)[self.name]
        if not isinstance(kept, State | ParamModule):
            return kept
        value = kept.value() if isinstance(kept, ParamModule) else kept.value
        return u.maybe_decimal(value.in_unit(self.unit)) if isinstance(value, u.Quantity) else value

    def __set__(self, model: Any, given: Any) -> None:
        where = f"{type(model).__name__}({self.name}=...)"
        if self.name in vars(model):
            raise ParameterError(
                f"{type(model).__name__}.{self.name} is set when the model is made, as compiled programs contain it. "
                f"Give {self.name} as a State and assign the State's value, or make another model."
            )
        kept = given
        if isinstance(given, ParamModule):
            given = given.value()
        elif isinstance(given, State):
            given = given.value
        value = units.checked(given, self.unit, where)
        # A model whose outputs differ in number from its inputs has a value per output.
        shape = getattr(model, "varshape", model.in_size)
        if not _broadcasts(value.shape, shape):
            raise ParameterError(
                f"{where}: has shape {value.shape}; the model has shape {shape}. Give one number, or one per neuron."
            )
        traced = has_tracer(value)
        bare = value.to_decimal(self.unit) if traced else self._bounded(value, where)
        if isinstance(kept, State | ParamModule):
            pass
        elif traced:
            kept = u.maybe_decimal(bare * self.unit)
        elif bare.shape:
            kept = State(u.maybe_decimal(bare * self.unit))
        else:
            # A Python number takes the precision of what it meets.
            kept = u.maybe_decimal(float(bare) * self.unit)
        vars(model)[self.name] = kept

    def _bounded(self, value: u.Quantity, where: str) -> np.ndarray:
        bare = np.asarray(value.to_decimal(self.unit), dtype=np.float64)
        unit = "" if u.have_same_dim(self.unit, u.UNITLESS) else f" {self.unit}"
        if not np.isfinite(bare).all():
            raise ParameterError(f"{where}: holds NaN or infinity. Give finite numbers{unit and ' in'}{unit}.")
        if self.positive and (bare <= 0).any():
            raise ParameterError(f"{where}: must be above 0{unit}; got {bare.min():g}{unit}.")
        if (bare < self.at_least).any():
            raise ParameterError(f"{where}: must be at least {self.at_least:g}{unit}; got {bare.min():g}{unit}.")
        if (bare > self.at_most).any():
            raise ParameterError(f"{where}: must be at most {self.at_most:g}{unit}; got {bare.max():g}{unit}.")
        return bare


def _broadcasts(shape: tuple[int, ...], wanted: tuple[int, ...]) -> bool:
    fits = all(n in (1, m) for n, m in zip(reversed(shape), reversed(wanted), strict=False))
    return len(shape) <= len(wanted) and fits
