"""The contract of a surrogate gradient: a step forward, a smooth derivative backward."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from functools import partial
from typing import Any, ClassVar

import jax

from dist_sim.errors import ParameterError


class Surrogate(ABC):
    """A spike function: 1 where x >= 0, else 0, with :meth:`surrogate_grad` in the place of its derivative.

    A surrogate is one frozen dataclass that writes `surrogate_grad`. x is a bare array: the distance to threshold, scaled
    by the model.
    """

    def __call__(self, x: jax.Array) -> jax.Array:
        """Spikes, of the shape and dtype of x."""
        return _heaviside(self, x)

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
            least = "at least" if name in self.may_be_zero else "above"
            if not (math.isfinite(value) and (value > 0 or (value == 0 and name in self.may_be_zero))):
                raise ParameterError(f"{type(self).__name__}({name}={value}): must be {least} 0, and finite.")


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def _heaviside(surrogate: Surrogate, x: jax.Array) -> jax.Array:
    return (x >= 0).astype(x.dtype)


@_heaviside.defjvp
def _derivative(surrogate: Surrogate, primals: Any, tangents: Any) -> tuple[jax.Array, jax.Array]:
    (x,), (dx,) = primals, tangents
    return _heaviside(surrogate, x), surrogate.surrogate_grad(x) * dx
