"""The contract of a transform of a parameter, and those made of others."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, final

import brainunit as u
import jax
import jax.numpy as jnp

from dist_sim.errors import ParameterError


class Transform(ABC):
    """A map from free numbers, without unit, to the values of a parameter, which may have one; `t(x)` is `t.forward(x)`."""

    @abstractmethod
    def forward(self, x: Any) -> Any:
        """The parameter, of free numbers."""

    @abstractmethod
    def inverse(self, y: Any) -> Any:
        """The free numbers, of a parameter."""

    def __call__(self, x: Any) -> Any:
        return self.forward(x)

    def log_abs_det_jacobian(self, x: Any, y: Any) -> jax.Array:
        """log |dy / dx|, with y in the unit of its bounds, summed over the last axis, for what acts on each number by itself.

        Raises:
            NotImplementedError: a transform of whole vectors.
        """
        x = jnp.asarray(x, float)
        slope = self.log_slope(x)
        return slope.sum(-1) if slope.ndim else slope

    def log_slope(self, x: jax.Array) -> jax.Array:
        """log |dy / dx| of each number."""
        slope = jax.jvp(lambda x: u.get_mantissa(self.forward(x)), (x,), (jnp.ones_like(x),))[1]
        return jnp.log(jnp.abs(slope))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value}' for name, value in vars(self).items())})"


class VectorTransform(Transform):
    """A transform of vectors along the last axis, of numbers without unit."""

    def log_slope(self, x: jax.Array) -> jax.Array:
        raise NotImplementedError(f"{type(self).__name__}.log_abs_det_jacobian: not known for a transform of whole vectors.")


@final
class IdentityT(Transform):
    """y = x."""

    def forward(self, x: Any) -> Any:
        return x

    def inverse(self, y: Any) -> Any:
        return y


@final
class AffineT(Transform):
    """y = scale x + shift.

    Raises: ParameterError: a scale of 0.
    """

    def __init__(self, scale: Any, shift: Any) -> None:
        if not jnp.all(u.get_mantissa(scale) != 0):
            raise ParameterError(f"AffineT(scale={scale}): needs a scale that is not 0.")
        self.scale, self.shift = scale, shift

    def forward(self, x: Any) -> Any:
        return self.scale * x + self.shift

    def inverse(self, y: Any) -> Any:
        return u.maybe_decimal((y - self.shift) / self.scale)


@final
class ChainT(Transform):
    """One transform after the other, the first one first."""

    def __init__(self, *transforms: Transform) -> None:
        self.transforms = transforms

    def forward(self, x: Any) -> Any:
        for transform in self.transforms:
            x = transform.forward(x)
        return x

    def inverse(self, y: Any) -> Any:
        for transform in reversed(self.transforms):
            y = transform.inverse(y)
        return y

    def log_slope(self, x: jax.Array) -> jax.Array:
        total = jnp.zeros_like(x)
        for transform in self.transforms:
            total = total + transform.log_slope(x)
            x = transform.forward(x)
        return total


@final
class MaskedT(Transform):
    """A transform where a mask is True; elsewhere y = x.

    Args:
        mask: of a shape that broadcasts to that of the parameter.
        transform: which one.
        safe_value: what the transform sees elsewhere; one that it is defined for.
    """

    def __init__(self, mask: Any, transform: Transform, safe_value: Any = 1.0) -> None:
        self.mask, self.transform, self.safe_value = mask, transform, safe_value

    def forward(self, x: Any) -> Any:
        safe = u.math.where(self.mask, x, self.safe_value)
        return u.math.where(self.mask, self.transform.forward(safe), x)

    def inverse(self, y: Any) -> Any:
        safe = u.math.where(self.mask, y, self.safe_value)
        return u.math.where(self.mask, self.transform.inverse(safe), y)
