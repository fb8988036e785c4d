"""What all normalisations have in common: mean and variance over axes, and what is done with them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import brainunit as u
import jax
import jax.numpy as jnp
from jax import lax

from dist_sim.core import State
from dist_sim.errors import ParameterError
from dist_sim.models.communication.weights import Given, values_of
from dist_sim.units import checked

Axes = int | Sequence[int]


def axes_of(where: str, given: Axes, number: int) -> tuple[int, ...]:
    """Axes counted from the front.

    Raises:
        ParameterError: one that is not there.
    """
    axes = (given,) if isinstance(given, int) else tuple(given)
    if not all(-number <= axis < number for axis in axes):
        raise ParameterError(f"{where}: got {given!r}; there are {number} axes.")
    return tuple(axis % number for axis in axes)


def bare_input(where: str, x: Any) -> jax.Array:
    """Raises:
    UnitError: an input with a unit: what is normalised has none.
    """
    return jnp.asarray(checked(x, u.UNITLESS, f"{where}(x)").to_decimal(u.UNITLESS))


def parameters(where: str, shape: tuple[int, ...], param_type: type[State], **given: Given | None) -> State | None:
    """A State with a dict of what there is of scale and bias; none of both, no State."""
    found = {key: values_of(f"{where}({key}=...)", start, shape) for key, start in given.items() if start is not None}
    return param_type(found, axes=()) if found else None


def statistics(
    x: jax.Array,
    axes: tuple[int, ...],
    *,
    dtype: Any,
    axis_name: Any,
    axis_index_groups: Any,
    use_fast_variance: bool,
    mask: Any,
    centred: bool = True,
) -> tuple[jax.Array, jax.Array]:
    """Mean and variance over axes, which stay with the length 1; computed in float32 at least.

    Args:
        axis_name, axis_index_groups: of a vmap, over which is averaged, too.
        use_fast_variance: the mean of the squares less the square of the mean.
        mask: what counts, True or False.
        centred: False for the mean 0.
    """
    x = x.astype(jnp.promote_types(dtype, jnp.float32))

    def mean(values: jax.Array) -> jax.Array:
        here = values.mean(axes, keepdims=True, where=mask)
        return here if axis_name is None else lax.pmean(here, axis_name, axis_index_groups=axis_index_groups)

    if not centred:
        squares = mean(jnp.square(x))
        return jnp.zeros_like(squares), squares
    centre = mean(x)
    if use_fast_variance:
        # Rounding must not make it negative.
        return centre, jnp.maximum(0.0, mean(jnp.square(x)) - jnp.square(centre))
    return centre, mean(jnp.square(x - centre))


def normalized(x: jax.Array, mean: Any, var: Any, epsilon: Any, weight: State | None, dtype: Any) -> jax.Array:
    """(x - mean) / sqrt(var + epsilon), times scale, plus bias."""
    y = (x - mean) * lax.rsqrt(var + epsilon)
    params = {} if weight is None else weight.value
    if "scale" in params:
        y = y * params["scale"]
    if "bias" in params:
        y = y + params["bias"]
    return y.astype(dtype)
