"""What kinds of connectivity have in common: sizes, and weights from whatever they are given by."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import brainunit as u
import jax.numpy as jnp

from dist_sim.core import State
from dist_sim.errors import ParameterError, UnitError
from dist_sim.models.dynamics import shape_of
from dist_sim.models.init import Constant, ZeroInit

Given = Callable[[tuple[int, ...]], Any] | Any
"""An initialiser, called with a shape; or an array, a quantity, a number or a State."""


def sizes_of(where: str, in_size: Any, out_size: Any) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Sizes as shapes, of which the last axes are connected.

    Raises:
        ParameterError: no sizes, or other axes in front.
    """
    found = shape_of(in_size, f"{where}(in_size={in_size!r})"), shape_of(out_size, f"{where}(out_size={out_size!r})")
    if found[0][:-1] != found[1][:-1]:
        raise ParameterError(f"{where}(in_size={found[0]}, out_size={found[1]}): only the last axes may differ.")
    return found


def values_of(where: str, given: Given, shape: tuple[int, ...], *, scalar: bool = False) -> Any:
    """First values of a weight.

    Args:
        scalar: one number for all may stay one.

    Raises:
        ParameterError: of another shape, or no numbers.
    """
    if given is None:
        raise ParameterError(f"{where}: is None; needs an initialiser such as ds.init.KaimingNormal(), or numbers.")
    value = given.value if isinstance(given, State) else given
    value = value(shape) if callable(value) else value if scalar and not u.math.ndim(value) else Constant(value)(shape)
    if u.math.shape(value) not in (shape, ()):
        raise ParameterError(f"{where}: has the shape {u.math.shape(value)}; needs {shape}.")
    unit = u.get_unit(value)
    # Floats, also where whole numbers were given.
    return u.maybe_decimal(u.Quantity(jnp.asarray(u.get_mantissa(value), float), unit=unit))


def bias_of(where: str, given: Given, shape: tuple[int, ...], weight: Any) -> Any:
    """First values of a bias; zeros without unit are zeros in that of the weights."""
    if isinstance(given, ZeroInit) and u.have_same_dim(given.unit, u.UNITLESS):
        given = ZeroInit(u.get_unit(weight))
    return values_of(where, given, shape)


def check_last(where: str, x: Any, size: int) -> None:
    """Raises:
    ParameterError: the last axis of an input has another size.
    """
    if u.math.shape(x)[-1:] != (size,):
        raise ParameterError(f"{where}: the input has the shape {u.math.shape(x)}; needs (..., {size}).")


def added_bias(where: str, y: Any, params: dict[str, Any]) -> Any:
    """`y` and the bias, where there is one.

    Raises:
        UnitError: they are in different units.
    """
    if "bias" not in params:
        return y
    if not u.have_same_dim(y, params["bias"]):
        raise UnitError(f"{where}: x W is in {u.get_unit(y)}, b in {u.get_unit(params['bias'])}. Give b_init that unit.")
    return y + params["bias"]
