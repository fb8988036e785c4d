"""The contract of a surrogate gradient: a step forward, a smooth derivative backward."""

from __future__ import annotations

import copy
import math
from abc import ABC, abstractmethod
from functools import partial
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jax.core import Tracer

from dist_sim.errors import ParameterError


class Surrogate(ABC):
    """A spike function: 1 where x >= 0, else 0, with :meth:`surrogate_grad` in the place of its derivative.

    A surrogate is one frozen dataclass that writes `surrogate_grad`. x is a bare array: the distance to threshold, scaled
    by the model. The parameters may be traced, and differentiated by: the derivative of spikes by one is that of
    `surrogate_grad`, as in braintools.
    """

    def __call__(self, x: jax.Array | float) -> jax.Array:
        """Spikes, of the shape and dtype of x; of a Python number, as a float of the default precision."""
        x = x if hasattr(x, "dtype") else jnp.asarray(x, float)
        # What is differentiated by, or traced otherwise, has to be seen to go in.
        traced = {name: value for name, value in vars(self).items() if isinstance(value, Tracer)}
        return _heaviside(_with(self, dict.fromkeys(traced)) if traced else self, x, traced)

    @abstractmethod
    def surrogate_grad(self, x: jax.Array) -> jax.Array:
        """What stands for the derivative at x; elementwise."""


class Shaped(Surrogate):
    """A surrogate whose parameters are finite numbers above 0; those in :attr:`may_be_zero` at least 0.

    Raises:
        ParameterError: other ones.
    """

    may_be_zero: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if isinstance(value, Tracer):
                continue
            least = "at least" if name in self.may_be_zero else "above"
            if not (math.isfinite(value) and (value > 0 or (value == 0 and name in self.may_be_zero))):
                raise ParameterError(f"{type(self).__name__}({name}={value}): must be {least} 0, and finite.")


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def _heaviside(surrogate: Surrogate, x: jax.Array, traced: dict[str, Any]) -> jax.Array:
    x = jnp.asarray(x)
    return (x >= 0).astype(x.dtype)


@_heaviside.defjvp
def _derivative(surrogate: Surrogate, primals: Any, tangents: Any) -> tuple[jax.Array, jax.Array]:
    (x, traced), (dx, d_traced) = primals, tangents
    spikes = _heaviside(surrogate, x, traced)
    if not traced:
        return spikes, surrogate.surrogate_grad(x) * dx
    grad, d_grad = jax.jvp(lambda traced: _with(surrogate, traced).surrogate_grad(x), (traced,), (d_traced,))
    return spikes, grad * dx + d_grad


def _with(surrogate: Surrogate, values: dict[str, Any]) -> Surrogate:
    other = copy.copy(surrogate)
    vars(other).update(values)
    return other
