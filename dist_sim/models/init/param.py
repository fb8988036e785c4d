from __future__ import annotations

from collections.abc import Callable
from typing import Any

import brainunit as u
import jax
import jax.numpy as jnp
import numpy as np

from dist_sim.core import State
from dist_sim.errors import ParameterError
from dist_sim.models.init.initializer import shape_of


def param(
    init: Callable[..., Any] | Any,
    sizes: int | tuple[int, ...],
    batch_size: int | None = None,
    allow_none: bool = True,
    allow_scalar: bool = True,
    **param_kwargs: Any,
) -> Any:
    """The values that an argument of a model gives: `self.V = ds.HiddenState(ds.init.param(V_initializer, self.varshape))`.

    Args:
        init: called with the shape, if it can be called: an initialiser or a function. An array or quantity is taken as it is,
            if it broadcasts to the shape; with a batch it is repeated, unless it has the batch in front. A State is given its
            value so, and returned.
        sizes: the shape, or the only size.
        batch_size: another axis in front.
        allow_none: None gives None.
        allow_scalar: a single number gives itself, without any shape.
        param_kwargs: handed to `init`, such as `rng`.

    Returns:
        Values of the shape (*sizes) or (batch_size, *sizes), or what broadcasts to it.

    Raises:
        ParameterError: a shape that does not fit; None or a number where that is not allowed; something else.
    Source: names and behaviour are those of braintools 0.3.
    """
    shape = shape_of(sizes)
    whole = shape if batch_size is None else (batch_size, *shape)
    if init is None:
        if allow_none:
            return None
        raise ParameterError(f"init.param(None, {sizes}): needs a value, or a function of the shape.")
    if isinstance(init, State):
        init.reset_value(param(init.value, sizes, batch_size, allow_none, allow_scalar))
        return init
    if callable(init):
        return init(whole, **param_kwargs)
    if not isinstance(init, int | float | complex | np.ndarray | np.generic | jax.Array | u.Quantity):
        raise ParameterError(f"init.param({init!r:.60}, {sizes}): needs a number, a quantity, an array, a State or a function.")
    found = u.math.shape(init)
    if not found:
        if allow_scalar:
            return init
        raise ParameterError(f"init.param({init}, {sizes}): one number is not allowed here. Give an array of the shape {shape}.")
    value = init if isinstance(init, u.Quantity) else jnp.asarray(init)
    if batch_size is not None and found == whole:
        return value
    if len(found) > len(shape) or any(n not in (1, m) for n, m in zip(reversed(found), reversed(shape), strict=False)):
        raise ParameterError(f"init.param(..., {sizes}, {batch_size}): the shape {found} does not broadcast to {shape}.")
    return value if batch_size is None else u.math.broadcast_to(value, whole)
