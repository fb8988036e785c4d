"""Activation functions, on jax.nn through brainunit: what keeps a unit keeps it, what needs a bare number says so.

Names, arguments and defaults are those of brainstate 0.5. The Modules of the same names are in `activations.py`.
"""

from __future__ import annotations

from typing import Any

import brainunit as u
import jax
import jax.numpy as jnp
from jax.scipy.special import logsumexp as logsumexp

from dist_sim.core import environ, random
from dist_sim.units import checked

Axis = int | tuple[int, ...] | None


def tanh(x: Any) -> Any:
    """The hyperbolic tangent."""
    return u.math.tanh(x)


def relu(x: Any) -> Any:
    """max(x, 0)."""
    return u.math.relu(x)


def relu6(x: Any) -> Any:
    """x between 0 and 6."""
    return u.math.relu6(x)


def leaky_relu(x: Any, negative_slope: Any = 0.01) -> Any:
    """x, times `negative_slope` below 0."""
    return u.math.leaky_relu(x, negative_slope=negative_slope)


def prelu(x: Any, a: Any = 0.25) -> Any:
    """As :func:`leaky_relu`, with a slope to train."""
    return u.math.where(u.get_mantissa(x) >= 0, x, a * x)


def rrelu(x: Any, lower: float = 1 / 8, upper: float = 1 / 3) -> Any:
    """As :func:`leaky_relu`, with a slope drawn for each number from `ds.random`."""
    slope = random.uniform(lower, upper, size=u.math.shape(x))
    return u.math.where(u.get_mantissa(x) >= 0, x, slope * x)


def elu(x: Any, alpha: Any = 1.0) -> Any:
    """x, and alpha (exp(x) - 1) below 0."""
    return u.math.elu(x, alpha=alpha)


def celu(x: Any, alpha: Any = 1.0) -> Any:
    """x, and alpha (exp(x / alpha) - 1) below 0."""
    return u.math.celu(x, alpha=alpha)


def selu(x: Any) -> Any:
    """A scaled :func:`elu` that keeps mean and variance. Source: Klambauer et al. (2017), arXiv:1706.02515."""
    return u.math.selu(x)


def gelu(x: Any, approximate: bool = True) -> Any:
    """x times the normal distribution function of x, or its approximation by tanh."""
    return u.math.gelu(x, approximate=approximate)


def glu(x: Any, axis: int = -1) -> Any:
    """The first half of an axis, times the sigmoid of the second."""
    return u.math.glu(x, axis=axis)


def sigmoid(x: Any) -> Any:
    """1 / (1 + exp(-x))."""
    return u.math.sigmoid(x)


def log_sigmoid(x: Any) -> Any:
    """The logarithm of :func:`sigmoid`."""
    return u.math.log_sigmoid(x)


def silu(x: Any) -> Any:
    """x times its sigmoid."""
    return u.math.silu(x)


swish = silu


def mish(x: Any) -> Any:
    """x tanh(softplus(x))."""
    return x * u.math.tanh(u.math.softplus(x))


def softplus(x: Any) -> Any:
    """log(1 + exp(x))."""
    return u.math.softplus(x)


def squareplus(x: Any, b: Any = 4) -> Any:
    """(x + sqrt(x² + b)) / 2."""
    return u.math.squareplus(x, b=b)


def soft_sign(x: Any) -> Any:
    """x / (1 + |x|)."""
    return u.math.soft_sign(x)


def hard_tanh(x: Any, min_val: Any = -1.0, max_val: Any = 1.0) -> Any:
    """x between two bounds, which are in the unit of x."""
    return u.math.clip(x, min_val, max_val)


def hard_sigmoid(x: Any) -> Any:
    """relu6(x + 3) / 6."""
    return u.math.hard_sigmoid(x)


def hard_silu(x: Any) -> Any:
    """x times :func:`hard_sigmoid` of x."""
    return u.math.hard_silu(x)


hard_swish = hard_silu


def hard_shrink(x: Any, lambd: Any = 0.5) -> Any:
    """x, and 0 where |x| <= lambd, which is in the unit of x."""
    return u.math.where(u.math.abs(x) > lambd, x, u.math.zeros_like(x))


def soft_shrink(x: Any, lambd: Any = 0.5) -> Any:
    """x moved by lambd towards 0, at most onto it; lambd is in the unit of x."""
    return x - u.math.clip(x, -lambd, lambd)


def tanh_shrink(x: Any) -> Any:
    """x - tanh(x)."""
    return x - u.math.tanh(x)


def sparse_plus(x: Any) -> Any:
    """0 below -1, (x + 1)² / 4, x above 1."""
    return u.math.sparse_plus(x)


def sparse_sigmoid(x: Any) -> Any:
    """0 below -1, (x + 1) / 2, 1 above 1."""
    return u.math.sparse_sigmoid(x)


def softmax(x: Any, axis: Axis = -1, where: Any = None) -> jax.Array:
    """Exponentials over their sum along an axis."""
    return jax.nn.softmax(_plain("softmax", x), axis=axis, where=where)


def softmin(x: Any, axis: Axis = -1) -> jax.Array:
    """:func:`softmax` of -x."""
    return jax.nn.softmax(-_plain("softmin", x), axis=axis)


def log_softmax(x: Any, axis: Axis = -1, where: Any = None) -> jax.Array:
    """The logarithm of :func:`softmax`."""
    return jax.nn.log_softmax(_plain("log_softmax", x), axis=axis, where=where)


def standardize(x: Any, axis: Axis = -1, variance: Any = None, epsilon: Any = 1e-5, where: Any = None) -> jax.Array:
    """x with the mean 0 and the variance 1 along an axis."""
    return jax.nn.standardize(_plain("standardize", x), axis=axis, variance=variance, epsilon=epsilon, where=where)


def one_hot(x: Any, num_classes: int, *, dtype: Any = None, axis: int = -1) -> jax.Array:
    """1 at the index x of a new axis, 0 elsewhere; floats of the present precision where no dtype is given."""
    return jax.nn.one_hot(x, num_classes, dtype=environ.dftype() if dtype is None else dtype, axis=axis)


def _plain(where: str, x: Any) -> Any:
    return jnp.asarray(checked(x, u.UNITLESS, f"{where}(x)").to_decimal(u.UNITLESS))
