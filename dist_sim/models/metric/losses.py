"""How far predictions are from targets. Names and defaults are those of braintools 0.3.

Differences may have units; errors are in theirs, squares in their squares. Sums and means of several axes are those of JAX: on
several devices the last digits may differ.
"""

from __future__ import annotations

from typing import Any

import brainunit as u
import jax
import jax.numpy as jnp
import optax

from dist_sim.errors import ParameterError, UnitError

Axis = int | tuple[int, ...] | None


def squared_error(predictions: Any, targets: Any = None, axis: Axis = None, reduction: str = "none") -> Any:
    """Squares of differences.

    Args:
        predictions: floats, or quantities.
        targets: of their shape and unit; 0 where left out.
        axis: over which to reduce; None for all.
        reduction: "none", "mean" or "sum".

    Raises:
        UnitError, ParameterError: another unit, shape or reduction.
    """
    return _reduced(_difference("squared_error", predictions, targets) ** 2, axis, reduction)


def absolute_error(predictions: Any, targets: Any = None, axis: Axis = None, reduction: str = "mean") -> Any:
    """Sizes of differences. Arguments and errors: as :func:`squared_error`."""
    return _reduced(u.math.abs(_difference("absolute_error", predictions, targets)), axis, reduction)


def l2_loss(predictions: Any, targets: Any = None, axis: Axis = None, reduction: str = "none") -> Any:
    """Halves of squares of differences. Arguments and errors: as :func:`squared_error`."""
    return _reduced(0.5 * _difference("l2_loss", predictions, targets) ** 2, axis, reduction)


def huber_loss(predictions: Any, targets: Any = None, delta: Any = 1.0, axis: Axis = None, reduction: str = "none") -> Any:
    """Halves of squares of differences up to `delta` [their unit], beyond it linear.

    Arguments and errors: as :func:`squared_error`.
    Source: Huber (1964), doi:10.1214/aoms/1177703732.
    """
    size = u.math.abs(_difference("huber_loss", predictions, targets))
    if not u.have_same_dim(size, delta):
        raise UnitError(f"huber_loss(delta={delta}): the differences are in {u.get_unit(size)}. Give delta in that unit.")
    near = u.math.minimum(size, delta)
    return _reduced(0.5 * near**2 + delta * (size - near), axis, reduction)


def log_cosh(predictions: Any, targets: Any = None, axis: Axis = None, reduction: str = "none") -> jax.Array:
    """The logarithm of the hyperbolic cosine of differences, which have no unit. Else as :func:`squared_error`."""
    difference = _difference("log_cosh", predictions, targets)
    if isinstance(difference, u.Quantity):
        raise UnitError(f"log_cosh: the differences are in {difference.unit}; needs numbers without unit. Divide by a scale.")
    return _reduced(jnp.asarray(optax.log_cosh(difference)), axis, reduction)


def cosine_similarity(predictions: jax.Array, targets: jax.Array, epsilon: float = 1e-8) -> jax.Array:
    """(...): the cosine of the angle between vectors (..., n); `epsilon` is the least length they are divided by."""
    return jnp.asarray(optax.cosine_similarity(predictions, targets, epsilon=epsilon))


def softmax_cross_entropy(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """(...): cross entropy of class probabilities `labels` (..., classes) and those that `logits` give."""
    return jnp.asarray(optax.softmax_cross_entropy(logits, labels))


def softmax_cross_entropy_with_integer_labels(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """(...): minus the log-probability that `logits` (..., classes) give the class `labels` (...), an integer.

    Raises:
        ParameterError: labels that are no integers, or of another shape.
    """
    if not jnp.issubdtype(jnp.result_type(labels), jnp.integer) or jnp.shape(labels) != jnp.shape(logits)[:-1]:
        raise ParameterError(
            f"softmax_cross_entropy_with_integer_labels: labels are {jnp.result_type(labels)} {jnp.shape(labels)}; needs "
            f"integers {jnp.shape(logits)[:-1]}, one per row of logits."
        )
    return jnp.asarray(optax.softmax_cross_entropy_with_integer_labels(logits, labels))


def sigmoid_binary_cross_entropy(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """Elementwise: cross entropy of the probabilities `labels` and those that `logits` give."""
    return jnp.asarray(optax.sigmoid_binary_cross_entropy(logits, labels))


def kl_divergence(log_predictions: jax.Array, targets: jax.Array) -> jax.Array:
    """(...): Kullback-Leibler divergence of the probabilities `targets` (..., classes) from exp(log_predictions)."""
    return jnp.asarray(optax.kl_divergence(log_predictions, targets))


def _difference(where: str, predictions: Any, targets: Any) -> Any:
    if not jnp.issubdtype(u.math.get_dtype(predictions), jnp.floating):
        raise ParameterError(f"{where}(predictions=...): holds {u.math.get_dtype(predictions)}; needs floats.")
    if targets is None:
        return predictions
    if u.math.shape(predictions) != u.math.shape(targets):
        raise ParameterError(
            f"{where}: predictions {u.math.shape(predictions)} and targets {u.math.shape(targets)} differ in shape."
        )
    if not u.have_same_dim(predictions, targets):
        raise UnitError(f"{where}: predictions are in {u.get_unit(predictions)}, targets in {u.get_unit(targets)}.")
    return predictions - targets


def _reduced(found: Any, axis: Axis, reduction: str) -> Any:
    if reduction not in ("none", "mean", "sum"):
        raise ParameterError(f"reduction={reduction!r}: allowed are 'none', 'mean' and 'sum'.")
    return found if reduction == "none" else getattr(u.math, reduction)(found, axis=axis)
