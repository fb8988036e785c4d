"""Regularisers that are minus the logarithm of a density of numbers without unit, times `weight`."""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import Any, final

import jax.numpy as jnp
from jax.scipy.special import gammaln

from dist_sim.core import random
from dist_sim.models.params.regularization import Regularization, positive, read


class Prior(Regularization):
    """weight times minus the logarithm of a density, up to a constant; without data, 0."""

    def __init__(self, weight: Any, fit_hyper: bool, **numbers: Any) -> None:
        super().__init__(fit_hyper)
        self.weight = weight
        for name, number in numbers.items():
            setattr(self, name, self._kept(number))

    def loss(self, value: Any) -> Any:
        return self.weight * self.surprise(jnp.asarray(value))

    @abstractmethod
    def surprise(self, value: Any) -> Any:
        """Minus the logarithm of the density."""

    def reset_value(self) -> Any:
        return 0.0


@final
class StudentTReg(Prior):
    """Student's t distribution with `df` degrees of freedom. Values start normal."""

    df: Any
    scale: Any

    def __init__(self, weight: Any = 1.0, df: Any = 3.0, scale: Any = 1.0, fit_hyper: bool = False) -> None:
        super().__init__(weight, fit_hyper, df=df, scale=scale)

    def surprise(self, value: Any) -> Any:
        df, scale = positive(self.df), positive(self.scale)
        data = jnp.sum(0.5 * (df + 1.0) * jnp.log1p(jnp.square(value / scale) / df))
        norm = jnp.log(scale) + gammaln(df / 2.0) + 0.5 * jnp.log(df * math.pi) - gammaln((df + 1.0) / 2.0)
        return data + value.size * norm

    def sample_init(self, shape: Any) -> Any:
        return positive(self.scale) * random.normal(size=shape)


@final
class CauchyReg(Prior):
    """The Cauchy distribution."""

    scale: Any

    def __init__(self, weight: Any = 1.0, scale: Any = 1.0, fit_hyper: bool = False) -> None:
        super().__init__(weight, fit_hyper, scale=scale)

    def surprise(self, value: Any) -> Any:
        scale = positive(self.scale)
        return jnp.sum(jnp.log1p(jnp.square(value / scale))) + value.size * jnp.log(scale)

    def sample_init(self, shape: Any) -> Any:
        return positive(self.scale) * random.standard_cauchy(size=shape)


@final
class LogNormalReg(Prior):
    """The lognormal distribution: the logarithm has the mean mu and the standard deviation sigma."""

    mu: Any
    sigma: Any

    def __init__(self, weight: Any = 1.0, mu: Any = 0.0, sigma: Any = 1.0, fit_hyper: bool = False) -> None:
        super().__init__(weight, fit_hyper, mu=mu, sigma=sigma)

    def surprise(self, value: Any) -> Any:
        sigma, log = positive(self.sigma), jnp.log(positive(value))
        return jnp.sum(jnp.square(log - read(self.mu)) / (2.0 * sigma**2) + log) + value.size * jnp.log(sigma)

    def sample_init(self, shape: Any) -> Any:
        return jnp.exp(read(self.mu) + positive(self.sigma) * random.normal(size=shape))

    def reset_value(self) -> Any:
        return jnp.exp(read(self.mu))


@final
class ExponentialReg(Prior):
    """The exponential distribution."""

    rate: Any

    def __init__(self, weight: Any = 1.0, rate: Any = 1.0, fit_hyper: bool = False) -> None:
        super().__init__(weight, fit_hyper, rate=rate)

    def surprise(self, value: Any) -> Any:
        return positive(self.rate) * jnp.sum(jnp.maximum(value, 0.0))

    def sample_init(self, shape: Any) -> Any:
        return random.exponential(size=shape) / positive(self.rate)


@final
class GammaReg(Prior):
    """The gamma distribution of shape alpha and rate beta; without data, its mode."""

    alpha: Any
    beta: Any

    def __init__(self, weight: Any = 1.0, alpha: Any = 2.0, beta: Any = 1.0, fit_hyper: bool = False) -> None:
        super().__init__(weight, fit_hyper, alpha=alpha, beta=beta)

    def surprise(self, value: Any) -> Any:
        alpha, beta, x = positive(self.alpha), positive(self.beta), positive(value)
        return jnp.sum(beta * x - (alpha - 1.0) * jnp.log(x)) + value.size * (gammaln(alpha) - alpha * jnp.log(beta))

    def sample_init(self, shape: Any) -> Any:
        return random.gamma(positive(self.alpha), size=shape) / positive(self.beta)

    def reset_value(self) -> Any:
        return jnp.maximum((positive(self.alpha) - 1.0) / positive(self.beta), 1e-8)


@final
class BetaReg(Prior):
    """The beta distribution of numbers between 0 and 1; without data, its mode."""

    a: Any
    b: Any

    def __init__(self, weight: Any = 1.0, a: Any = 2.0, b: Any = 2.0, fit_hyper: bool = False) -> None:
        super().__init__(weight, fit_hyper, a=a, b=b)

    def surprise(self, value: Any) -> Any:
        a, b = positive(self.a), positive(self.b)
        # As close to 0 and 1 as float32 can tell.
        x = jnp.clip(value, 1e-7, 1.0 - 1e-7)
        data = jnp.sum(-(a - 1.0) * jnp.log(x) - (b - 1.0) * jnp.log1p(-x))
        return data + value.size * (gammaln(a) + gammaln(b) - gammaln(a + b))

    def sample_init(self, shape: Any) -> Any:
        return random.beta(positive(self.a), positive(self.b), size=shape)

    def reset_value(self) -> Any:
        a, b = positive(self.a), positive(self.b)
        return jnp.clip((a - 1.0) / (a + b - 2.0 + 1e-8), 0.0, 1.0)
