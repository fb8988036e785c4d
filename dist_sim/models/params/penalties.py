"""Regularisers that keep values small, alike, or within bounds. `weight` may have the unit that makes the loss a bare number."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, final

import brainunit as u
import jax.numpy as jnp

from dist_sim.core import random
from dist_sim.errors import ParameterError
from dist_sim.models.params.regularization import Regularization, positive, read


class Penalty(Regularization):
    """weight times a sum; without data, 0."""

    def __init__(self, weight: Any = 1.0, fit_hyper: bool = False) -> None:
        super().__init__(fit_hyper)
        self.weight = weight

    def loss(self, value: Any) -> Any:
        return u.maybe_decimal(self.weight * self.total(value))

    @abstractmethod
    def total(self, value: Any) -> Any:
        """What the weight multiplies."""

    def sample_init(self, shape: Any) -> Any:
        """Normal, of the variance 1 / weight."""
        return random.normal(size=shape) / u.math.sqrt(u.math.asarray(self.weight, dtype=float))

    def reset_value(self) -> Any:
        return 0.0


@final
class L1Reg(Penalty):
    """The sum of absolute values. Values start with a Laplace distribution of the scale 1 / weight."""

    def total(self, value: Any) -> Any:
        return u.math.sum(u.math.abs(value))

    def sample_init(self, shape: Any) -> Any:
        return random.laplace(size=shape) / self.weight


@final
class L2Reg(Penalty):
    """The sum of squares."""

    def total(self, value: Any) -> Any:
        return u.math.sum(value**2)


@final
class ElasticNetReg(Regularization):
    """alpha times :class:`L1Reg`, plus 1 - alpha times :class:`L2Reg`; alpha is between 0 and 1."""

    def __init__(self, l1_weight: Any = 1.0, l2_weight: Any = 1.0, alpha: Any = 0.5, fit_hyper: bool = False) -> None:
        super().__init__(fit_hyper)
        self.one, self.two = L1Reg(l1_weight), L2Reg(l2_weight)
        self.alpha = self._kept(alpha)

    def _both(self, one: Any, two: Any) -> Any:
        alpha = jnp.clip(read(self.alpha), 0.0, 1.0)
        return alpha * one + (1.0 - alpha) * two

    def loss(self, value: Any) -> Any:
        return self._both(self.one.loss(value), self.two.loss(value))

    def sample_init(self, shape: Any) -> Any:
        return self._both(self.one.sample_init(shape), self.two.sample_init(shape))

    def reset_value(self) -> Any:
        return 0.0


@final
class HuberReg(Penalty):
    """Half the square up to delta, and a line beyond it. Source: Huber (1964), doi:10.1214/aoms/1177703732."""

    def __init__(self, weight: Any = 1.0, delta: Any = 1.0, fit_hyper: bool = False) -> None:
        super().__init__(weight, fit_hyper)
        self.delta = self._kept(delta)

    def total(self, value: Any) -> Any:
        delta, size = read(self.delta), u.math.abs(value)
        return u.math.sum(u.math.where(size <= delta, 0.5 * value**2, delta * (size - 0.5 * delta)))


@final
class GroupLassoReg(Penalty):
    """The sum of the lengths of groups: so many neighbours each in the flattened values.

    Raises: ParameterError: no whole number of at least 1.
    """

    def __init__(self, weight: Any = 1.0, group_size: int = 1, fit_hyper: bool = False) -> None:
        super().__init__(weight, fit_hyper)
        if not isinstance(group_size, int) or group_size < 1:
            raise ParameterError(f"GroupLassoReg(group_size={group_size!r}): needs a whole number of at least 1.")
        self.group_size = group_size

    def total(self, value: Any) -> Any:
        bare, unit = jnp.ravel(u.get_mantissa(value)), u.get_unit(value)
        groups = jnp.pad(bare, (0, -bare.size % self.group_size)).reshape(-1, self.group_size)
        # Not differentiable at 0, where the small number keeps a gradient finite.
        return jnp.sqrt(jnp.square(groups).sum(1) + 1e-8).sum() * unit


@final
class TotalVariationReg(Penalty):
    """The sum of absolute differences of neighbours in the flattened values, or of their differences (order 2).

    Raises: ParameterError: another order.
    """

    def __init__(self, weight: Any = 1.0, order: int = 1, fit_hyper: bool = False) -> None:
        super().__init__(weight, fit_hyper)
        if order not in (1, 2):
            raise ParameterError(f"TotalVariationReg(order={order!r}): allowed are 1 and 2.")
        self.order = order

    def total(self, value: Any) -> Any:
        return u.math.sum(u.math.abs(u.math.diff(u.math.reshape(value, (-1,)), self.order)))


@final
class MaxNormReg(Penalty):
    """The square of what the Euclidean norm of all values has above `max_value`."""

    def __init__(self, weight: Any = 1.0, max_value: Any = 1.0, fit_hyper: bool = False) -> None:
        super().__init__(weight, fit_hyper)
        self.max_value = self._kept(max_value)

    def total(self, value: Any) -> Any:
        norm = u.math.sqrt(u.math.sum(value**2) + 1e-8 * u.get_unit(value) ** 2)
        return u.math.relu(norm - read(self.max_value)) ** 2


@final
class UniformReg(Penalty):
    """The sum of the squares of what lies outside of two bounds; without data, their middle."""

    def __init__(self, weight: Any = 1.0, lower: Any = -1.0, upper: Any = 1.0, fit_hyper: bool = False) -> None:
        super().__init__(weight, fit_hyper)
        self.lower, self.upper = self._kept(lower), self._kept(upper)

    def total(self, value: Any) -> Any:
        return u.math.sum(u.math.relu(read(self.lower) - value) ** 2 + u.math.relu(value - read(self.upper)) ** 2)

    def sample_init(self, shape: Any) -> Any:
        return read(self.lower) + (read(self.upper) - read(self.lower)) * random.rand(*shape)

    def reset_value(self) -> Any:
        return (read(self.lower) + read(self.upper)) / 2.0


@final
class GaussianReg(Regularization):
    """weight (sum p (value - mean)² - log p), with the precision p = 1 / std²; without data, the mean."""

    def __init__(self, mean: Any, std: Any, weight: Any = 1.0, fit_hyper: bool = False) -> None:
        super().__init__(fit_hyper)
        self.weight = weight
        self.mean = self._kept(mean)
        self.precision = self._kept(1.0 / (u.math.asarray(std, dtype=float) ** 2 + 1e-8 * u.get_unit(std) ** 2))

    def _spread(self) -> Any:
        kept = read(self.precision)
        return u.Quantity(positive(u.get_mantissa(kept)), unit=u.get_unit(kept))

    def loss(self, value: Any) -> Any:
        spread = self._spread()
        data = u.maybe_decimal(u.math.sum(spread * (value - read(self.mean)) ** 2))
        return self.weight * (data - jnp.sum(jnp.log(spread.mantissa)))

    def sample_init(self, shape: Any) -> Any:
        return read(self.mean) + u.maybe_decimal(random.normal(size=shape) / u.math.sqrt(self._spread()))

    def reset_value(self) -> Any:
        return read(self.mean)
