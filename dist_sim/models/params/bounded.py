"""Transforms to numbers between two bounds, or on one side of one. Bounds may have a unit, which the parameter then has."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, final

import brainunit as u
import jax
import jax.numpy as jnp

from dist_sim.errors import ParameterError
from dist_sim.models.params.transform import Transform


class Between(Transform):
    """y = lower + (upper - lower) f(x), where f goes from 0 to 1.

    Raises: ParameterError: bounds that are not in this order. UnitError of brainunit: bounds of different units.
    """

    def __init__(self, lower: Any, upper: Any) -> None:
        if not u.math.all(u.math.asarray(lower) < u.math.asarray(upper)):
            raise ParameterError(f"{type(self).__name__}(lower={lower}, upper={upper}): lower must be below upper.")
        self.lower, self.upper = lower, upper

    @abstractmethod
    def share(self, x: Any) -> jax.Array:
        """f."""

    @abstractmethod
    def free(self, share: Any) -> jax.Array:
        """The inverse of f."""

    def forward(self, x: Any) -> Any:
        return self.lower + (self.upper - self.lower) * self.share(x)

    def inverse(self, y: Any) -> Any:
        return self.free(_bare(y - self.lower, self.upper - self.lower))


class SigmoidT(Between):
    """lower + (upper - lower) / (1 + exp(-x))."""

    beta = 1.0

    def share(self, x: Any) -> jax.Array:
        return jax.nn.sigmoid(self.beta * x)

    def free(self, share: Any) -> jax.Array:
        return jax.scipy.special.logit(share) / self.beta

    def log_slope(self, x: jax.Array) -> jax.Array:
        width = jnp.log(u.get_mantissa(self.upper - self.lower) * self.beta)
        return width + jax.nn.log_sigmoid(self.beta * x) + jax.nn.log_sigmoid(-self.beta * x)


@final
class ScaledSigmoidT(SigmoidT):
    """As :class:`SigmoidT`, `beta` times as steep.

    Raises: ParameterError: beta is not above 0; see also :class:`Between`.
    """

    def __init__(self, lower: Any, upper: Any, beta: float = 1.0) -> None:
        super().__init__(lower, upper)
        if not 0.0 < beta < float("inf"):
            raise ParameterError(f"ScaledSigmoidT(beta={beta}): needs a finite number above 0.")
        self.beta = beta


@final
class TanhT(Between):
    """lower + (upper - lower) (tanh(x) + 1) / 2."""

    def share(self, x: Any) -> jax.Array:
        return (jnp.tanh(x) + 1.0) / 2.0

    def free(self, share: Any) -> jax.Array:
        return jnp.arctanh(2.0 * share - 1.0)


@final
class SoftsignT(Between):
    """lower + (upper - lower) (x / (1 + |x|) + 1) / 2."""

    def share(self, x: Any) -> jax.Array:
        return (x / (1.0 + jnp.abs(x)) + 1.0) / 2.0

    def free(self, share: Any) -> jax.Array:
        centred = 2.0 * share - 1.0
        return centred / (1.0 - jnp.abs(centred))


class Above(Transform):
    """y = lower + f(x), where f is above 0, in the unit of `lower`."""

    def __init__(self, lower: Any) -> None:
        self.lower = lower

    @abstractmethod
    def excess(self, x: Any) -> jax.Array:
        """f."""

    @abstractmethod
    def free(self, excess: Any) -> jax.Array:
        """The inverse of f."""

    def forward(self, x: Any) -> Any:
        return self.lower + u.maybe_decimal(self.excess(x) * u.get_unit(self.lower))

    def inverse(self, y: Any) -> Any:
        return self.free(_bare(y - self.lower, 1.0 * u.get_unit(self.lower)))


@final
class SoftplusT(Above):
    """lower + log(1 + exp(x)): about x far above, and close to the bound far below 0."""

    def excess(self, x: Any) -> jax.Array:
        return jax.nn.softplus(x)

    def free(self, excess: Any) -> jax.Array:
        return _inverse_softplus(excess)

    def log_slope(self, x: jax.Array) -> jax.Array:
        return jax.nn.log_sigmoid(x)


class ExpT(Above):
    """lower + exp(x)."""

    def excess(self, x: Any) -> jax.Array:
        return jnp.exp(x)

    def free(self, excess: Any) -> jax.Array:
        return jnp.log(excess)

    def log_slope(self, x: jax.Array) -> jax.Array:
        return x


@final
class LogT(ExpT):
    """The same as :class:`ExpT`: the free number is the logarithm of the parameter less its bound."""


@final
class PositiveT(ExpT):
    """exp(x)."""

    def __init__(self) -> None:
        super().__init__(0.0)


@final
class ReluT(Above):
    """lower_bound + max(x, 0); below 0 nothing is learned."""

    def __init__(self, lower_bound: Any = 0.0) -> None:
        super().__init__(lower_bound)

    def excess(self, x: Any) -> jax.Array:
        return jax.nn.relu(x)

    def free(self, excess: Any) -> jax.Array:
        return jax.nn.relu(excess)


class NegSoftplusT(Transform):
    """upper - log(1 + exp(-x)): about x far below, and close to the bound far above 0."""

    def __init__(self, upper: Any) -> None:
        self.upper = upper

    def forward(self, x: Any) -> Any:
        return self.upper - u.maybe_decimal(jax.nn.softplus(-x) * u.get_unit(self.upper))

    def inverse(self, y: Any) -> Any:
        return -_inverse_softplus(_bare(self.upper - y, 1.0 * u.get_unit(self.upper)))

    def log_slope(self, x: jax.Array) -> jax.Array:
        return jax.nn.log_sigmoid(-x)


@final
class NegativeT(NegSoftplusT):
    """-log(1 + exp(-x)): below 0."""

    def __init__(self) -> None:
        super().__init__(0.0)


@final
class ClipT(Transform):
    """x between two bounds; outside of them nothing is learned. Free numbers are in the unit of the bounds."""

    def __init__(self, lower: Any, upper: Any) -> None:
        self.lower, self.upper = lower, upper

    def forward(self, x: Any) -> Any:
        return u.math.clip(x, self.lower, self.upper)

    def inverse(self, y: Any) -> Any:
        return u.math.clip(y, self.lower, self.upper)


def _bare(x: Any, unit: Any) -> Any:
    share = x / unit
    return share.to_decimal(u.UNITLESS) if isinstance(share, u.Quantity) else share


def _inverse_softplus(y: Any) -> jax.Array:
    return y + jnp.log(-jnp.expm1(-y))
