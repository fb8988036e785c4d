"""The parameters of a distribution as bare numbers of one shape and one unit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import brainunit as u
import jax
import jax.numpy as jnp
import numpy as np

from dist_sim.core.trace import has_tracer
from dist_sim.errors import ParameterError, UnitError

Size = int | Sequence[int] | None


def shape_of(size: Size, *parameters: Any) -> tuple[int, ...]:
    """The shape that `size` says, or else that of the parameters together (those that are not None)."""
    if size is None:
        return jnp.broadcast_shapes(*(jnp.shape(x) for x in parameters if x is not None))
    return tuple(size) if isinstance(size, Sequence) else (int(size),)


def split(x: Any) -> tuple[Any, Any]:
    """Bare numbers and their unit; None for no unit."""
    if isinstance(x, (list, tuple)):
        x = u.math.asarray(x)
    if not isinstance(x, u.Quantity):
        return x, None
    return (x.to_decimal(), None) if x.is_unitless else (x.mantissa, x.unit)


def with_unit(x: jax.Array, unit: Any) -> Any:
    """The inverse of :func:`split`."""
    return x if unit is None else u.Quantity(x, unit=unit)


def plain(where: str, **parameters: Any) -> list[Any]:
    """The parameters as bare numbers.

    Raises:
        UnitError: one has a unit.
    """
    bare = []
    for name, given in parameters.items():
        x, unit = split(given)
        if unit is not None:
            raise UnitError(f"random.{where}({name}={given}): needs a number without unit.")
        bare.append(x)
    return bare


def in_one_unit(where: str, **parameters: Any) -> tuple[list[Any], Any]:
    """The parameters as bare numbers of one unit, and that unit or None.

    It is the unit of the first that has one. Those without unit are numbers in it.

    Raises:
        UnitError: units of different things.
    """
    apart = {name: split(x) for name, x in parameters.items()}
    unit = next((unit for _, unit in apart.values() if unit is not None), None)
    bare = []
    for name, (x, own) in apart.items():
        if unit is not None and own is not None:
            if not u.have_same_dim(own, unit):
                raise UnitError(f"random.{where}({name}={parameters[name]}): does not fit to the others, which are in {unit}.")
            x = u.Quantity(x, unit=own).to_decimal(unit)
        bare.append(x)
    return bare, unit


def check_probability(where: str, p: Any) -> None:
    """Where the numbers are known.

    Raises:
        ParameterError: one outside of [0, 1].
    """
    if not has_tracer(p) and not np.all((np.asarray(p) >= 0) & (np.asarray(p) <= 1)):
        raise ParameterError(f"random.{where}(p={p}): a probability lies in [0, 1].")
