"""What a RandomState can draw: one method per distribution, each a call of `jax.random` with numpy's parameters.

In all methods:
    size: shape of the result, an int or a sequence of ints; left out, that of the parameters, broadcast.
    key: a seed or key to draw with instead of the source's own, which then stays as it is.
    dtype: of the result; the default float or integer where left out.
    units: locations, scales and bounds may be quantities, and give the result their unit; where only some of them are, the
        others are numbers in that unit. All other parameters are plain numbers.

Raises:
    UnitError: units that do not fit together, or one where there is none.
    ParameterError: a probability outside of [0, 1], a mean below 0 (seen where it is known: outside of compiled functions).
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import Any

import brainunit as u
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np

from dist_sim.core import environ
from dist_sim.core.random.bits import two_words
from dist_sim.core.random.parameters import Size, check_probability, in_one_unit, plain, shape_of, split, with_unit
from dist_sim.core.random.poisson import near_zero, poisson
from dist_sim.core.trace import has_tracer
from dist_sim.errors import ParameterError

Draw = Callable[..., jax.Array]


class Distributions:
    """All distributions, given where keys come from. See the top of the file for the arguments that all have in common."""

    __slots__ = ()

    @abstractmethod
    def _take(self, key: Any) -> jax.Array:
        """A key to spend: this one, or for None a new one."""

    def rand(self, *dn: int, key: Any = None, dtype: Any = None) -> jax.Array:
        """Uniform on [0, 1), with the shape `dn`."""
        return self.random(dn, key, dtype)

    def random(self, size: Size = None, key: Any = None, dtype: Any = None) -> jax.Array:
        """Uniform on [0, 1)."""
        return jr.uniform(self._take(key), shape_of(size), _float(dtype))

    random_sample = ranf = sample = random

    def uniform(self, low: Any = 0.0, high: Any = 1.0, size: Size = None, key: Any = None, dtype: Any = None) -> Any:
        """Uniform on [low, high)."""
        (low, high), unit = in_one_unit("uniform", low=low, high=high)
        return with_unit(jr.uniform(self._take(key), shape_of(size, low, high), _float(dtype), low, high), unit)

    def randint(self, low: Any, high: Any = None, size: Size = None, key: Any = None, dtype: Any = None) -> jax.Array:
        """Integers from low to high - 1; with one bound, from 0."""
        low, high = plain("randint", low=0 if high is None else low, high=low if high is None else high)
        return jr.randint(self._take(key), shape_of(size, low, high), low, high, _int(dtype))

    def random_integers(self, low: Any, high: Any = None, size: Size = None, key: Any = None, dtype: Any = None) -> jax.Array:
        """Integers from low to high; with one bound, from 1."""
        low, high = plain("random_integers", low=1 if high is None else low, high=low if high is None else high)
        return self.randint(low, jnp.asarray(high) + 1, size, key, dtype)

    def randn(self, *dn: int, key: Any = None, dtype: Any = None) -> jax.Array:
        """Standard normal, with the shape `dn`."""
        return self.standard_normal(dn, key, dtype)

    def standard_normal(self, size: Size = None, key: Any = None, dtype: Any = None) -> jax.Array:
        """Normal with mean 0 and standard deviation 1."""
        return jr.normal(self._take(key), shape_of(size), _float(dtype))

    def normal(self, loc: Any = None, scale: Any = None, size: Size = None, key: Any = None, dtype: Any = None) -> Any:
        """Normal with mean `loc` (0) and standard deviation `scale` (1)."""
        return self._located(jr.normal, loc, scale, size, key, dtype)

    def truncated_normal(
        self,
        lower: Any,
        upper: Any,
        size: Size = None,
        loc: Any = 0.0,
        scale: Any = 1.0,
        key: Any = None,
        dtype: Any = None,
    ) -> Any:
        """Normal as for :meth:`normal`, given that it lies in [lower, upper]."""
        bounds = {"lower": lower, "upper": upper, "loc": loc, "scale": scale}
        (lower, upper, loc, scale), unit = in_one_unit("truncated_normal", **bounds)
        shape = shape_of(size, lower, upper, loc, scale)
        z = jr.truncated_normal(self._take(key), (lower - loc) / scale, (upper - loc) / scale, shape, _float(dtype))
        return with_unit(jnp.clip(z * scale + loc, lower, upper), unit)

    def lognormal(self, mean: Any = None, sigma: Any = None, size: Size = None, key: Any = None, dtype: Any = None) -> jax.Array:
        """exp of a normal number with this mean (0) and standard deviation (1)."""
        mean, sigma = plain("lognormal", mean=mean, sigma=sigma)
        return jnp.exp(self._located(jr.normal, mean, sigma, size, key, dtype))

    def multivariate_normal(
        self, mean: Any, cov: Any, size: Size = None, method: str = "cholesky", key: Any = None, dtype: Any = None
    ) -> Any:
        """Normal vectors: mean (..., n), covariance (..., n, n) in the square of its unit; the result is size + (n,)."""
        (mean,), unit = in_one_unit("multivariate_normal", mean=mean)
        if unit is None:
            (cov,) = plain("multivariate_normal", cov=cov)
        else:
            (_, cov), _ = in_one_unit("multivariate_normal", mean_squared=u.Quantity(1.0, unit=unit**2), cov=cov)
        shape = None if size is None else shape_of(size)
        draw = jr.multivariate_normal(self._take(key), jnp.asarray(mean), jnp.asarray(cov), shape, _float(dtype), method)
        return with_unit(draw, unit)

    def gumbel(self, loc: Any = None, scale: Any = None, size: Size = None, key: Any = None, dtype: Any = None) -> Any:
        """Gumbel: the largest of many."""
        return self._located(jr.gumbel, loc, scale, size, key, dtype)

    def laplace(self, loc: Any = None, scale: Any = None, size: Size = None, key: Any = None, dtype: Any = None) -> Any:
        """Laplace, the two-sided exponential."""
        return self._located(jr.laplace, loc, scale, size, key, dtype)

    def logistic(self, loc: Any = None, scale: Any = None, size: Size = None, key: Any = None, dtype: Any = None) -> Any:
        """Logistic."""
        return self._located(jr.logistic, loc, scale, size, key, dtype)

    def exponential(self, scale: Any = None, size: Size = None, key: Any = None, dtype: Any = None) -> Any:
        """Exponential with mean `scale` (1)."""
        return self._located(jr.exponential, None, scale, size, key, dtype)

    def standard_exponential(self, size: Size = None, key: Any = None, dtype: Any = None) -> jax.Array:
        """Exponential with mean 1."""
        return self.exponential(None, size, key, dtype)

    def rayleigh(self, scale: Any = 1.0, size: Size = None, key: Any = None, dtype: Any = None) -> Any:
        """Rayleigh: the length of a vector of two normal numbers."""
        return self._located(_rayleigh, None, scale, size, key, dtype)

    def gamma(self, shape: Any, scale: Any = None, size: Size = None, key: Any = None, dtype: Any = None) -> Any:
        """Gamma with this shape and scale (1): mean shape * scale."""
        (shape,) = plain("gamma", shape=shape)
        (scale,), unit = in_one_unit("gamma", scale=1.0 if scale is None else scale)
        return with_unit(jr.gamma(self._take(key), shape, shape_of(size, shape, scale), _float(dtype)) * scale, unit)

    def weibull_min(self, a: Any, scale: Any = None, size: Size = None, key: Any = None, dtype: Any = None) -> Any:
        """Weibull with shape `a` and scale (1)."""
        (a,) = plain("weibull_min", a=a)
        (scale,), unit = in_one_unit("weibull_min", scale=1.0 if scale is None else scale)
        return with_unit(jr.weibull_min(self._take(key), scale, a, shape_of(size, a, scale), _float(dtype)), unit)

    def triangular(
        self, left: Any = 0.0, mode: Any = 0.5, right: Any = 1.0, size: Size = None, key: Any = None, dtype: Any = None
    ) -> Any:
        """Triangular on [left, right] with its peak at `mode`."""
        (left, mode, right), unit = in_one_unit("triangular", left=left, mode=mode, right=right)
        draw = jr.triangular(self._take(key), left, mode, right, shape_of(size, left, mode, right), _float(dtype))
        return with_unit(draw, unit)

    def weibull(self, a: Any, size: Size = None, key: Any = None, dtype: Any = None) -> jax.Array:
        """Weibull with shape `a` and scale 1."""
        return self.weibull_min(a, None, size, key, dtype)

    def standard_gamma(self, shape: Any, size: Size = None, key: Any = None, dtype: Any = None) -> jax.Array:
        """Gamma with this shape and scale 1."""
        return self._shaped(jr.gamma, size, key, _float(dtype), shape=shape)

    def loggamma(self, a: Any, size: Size = None, key: Any = None, dtype: Any = None) -> jax.Array:
        """The logarithm of a gamma number with shape `a`, also where that number is too small for a float."""
        return self._shaped(jr.loggamma, size, key, _float(dtype), a=a)

    def beta(self, a: Any, b: Any, size: Size = None, key: Any = None, dtype: Any = None) -> jax.Array:
        """Beta on [0, 1] with mean a / (a + b)."""
        return self._shaped(jr.beta, size, key, _float(dtype), a=a, b=b)

    def chisquare(self, df: Any, size: Size = None, key: Any = None, dtype: Any = None) -> jax.Array:
        """Chi-squared with `df` degrees of freedom."""
        return self._shaped(jr.chisquare, size, key, _float(dtype), df=df)

    def pareto(self, a: Any, size: Size = None, key: Any = None, dtype: Any = None) -> jax.Array:
        """Pareto on [1, inf) with exponent `a`."""
        return self._shaped(jr.pareto, size, key, _float(dtype), a=a)

    def standard_cauchy(self, size: Size = None, key: Any = None, dtype: Any = None) -> jax.Array:
        """Cauchy."""
        return self._shaped(jr.cauchy, size, key, _float(dtype))

    def standard_t(self, df: Any, size: Size = None, key: Any = None, dtype: Any = None) -> jax.Array:
        """Student's t with `df` degrees of freedom."""
        return self._shaped(jr.t, size, key, _float(dtype), df=df)

    t = standard_t

    def maxwell(self, size: Size = None, key: Any = None, dtype: Any = None) -> jax.Array:
        """Maxwell: the length of a vector of three normal numbers."""
        return self._shaped(jr.maxwell, size, key, _float(dtype))

    def poisson(self, lam: Any = 1.0, size: Size = None, key: Any = None, dtype: Any = None) -> jax.Array:
        """Poisson counts with mean `lam`, at least 0; nothing is differentiated by it. Below 10 the counts are the same bits on
        every machine. Not the numbers that `jax.random.poisson` gives: these take a fiftieth of the time.
        """
        (lam,) = plain("poisson", lam=lam)
        if not has_tracer(lam) and not (np.asarray(lam) >= 0).all():
            raise ParameterError(f"random.poisson(lam={lam}): a mean is at least 0.")
        return poisson(self._take(key), lam, shape_of(size, lam), _int(dtype))

    def bernoulli(self, p: Any = 0.5, size: Size = None, key: Any = None, check_valid: bool = True) -> jax.Array:
        """True with probability `p`, however small it is."""
        (p,) = plain("bernoulli", p=p)
        if check_valid:
            check_probability("bernoulli", p)
        real = jnp.promote_types(jnp.result_type(float), jnp.result_type(p)) if jnp.ndim(p) else jnp.result_type(float)
        return (near_zero(two_words(self._take(key), shape_of(size, p)), real) < p) | (jnp.asarray(p) >= 1)

    def binomial(
        self, n: Any, p: Any, size: Size = None, key: Any = None, dtype: Any = None, check_valid: bool = True
    ) -> jax.Array:
        """How many of `n` trials succeed, each with probability `p`."""
        n, p = plain("binomial", n=n, p=p)
        if check_valid:
            check_probability("binomial", p)
        return jr.binomial(self._take(key), n, p, shape_of(size, n, p)).astype(_int(dtype))

    def geometric(self, p: Any, size: Size = None, key: Any = None, dtype: Any = None) -> jax.Array:
        """How many trials it takes until the first success, each with probability `p`: 1, 2, ..."""
        (p,) = plain("geometric", p=p)
        check_probability("geometric", p)
        failures = jnp.log1p(-jr.uniform(self._take(key), shape_of(size, p), _float(None))) / jnp.log1p(-p)
        return (jnp.floor(failures) + 1).astype(_int(dtype))

    def categorical(self, logits: Any, axis: int = -1, size: Size = None, key: Any = None) -> jax.Array:
        """Indices along an axis of `logits`, with probabilities proportional to their exp."""
        (logits,) = plain("categorical", logits=logits)
        return jr.categorical(self._take(key), jnp.asarray(logits), axis, None if size is None else shape_of(size))

    def dirichlet(self, alpha: Any, size: Size = None, key: Any = None, dtype: Any = None) -> jax.Array:
        """Vectors of numbers that sum to 1; `alpha` is (n,), the result size + (n,)."""
        (alpha,) = plain("dirichlet", alpha=alpha)
        return jr.dirichlet(self._take(key), jnp.asarray(alpha), shape_of(size), _float(dtype))

    def orthogonal(self, n: int, size: Size = None, key: Any = None, dtype: Any = None) -> jax.Array:
        """Orthogonal matrices, uniform among all; size + (n, n)."""
        return jr.orthogonal(self._take(key), n, shape_of(size), _float(dtype))

    def choice(self, a: Any, size: Size = None, replace: bool = True, p: Any = None, key: Any = None) -> Any:
        """Elements of `a`, or for an integer of range(a); with probabilities `p`. `a` may have a unit."""
        a, unit = split(a)
        p = None if p is None else jnp.asarray(plain("choice", p=p)[0])
        return with_unit(jr.choice(self._take(key), a, shape_of(size), replace, p), unit)

    def permutation(self, x: Any, axis: int = 0, independent: bool = False, key: Any = None) -> Any:
        """`x`, or for an integer range(x), in a random order along an axis; `independent`: another one for each column."""
        x, unit = split(x)
        return with_unit(jr.permutation(self._take(key), x, axis, independent=independent), unit)

    def shuffle(self, x: Any, axis: int = 0, key: Any = None) -> Any:
        """`x` in a random order along an axis, as a new array: arrays cannot be changed in place."""
        return self.permutation(x, axis, key=key)

    def rand_like(self, input: Any, *, dtype: Any = None, key: Any = None) -> jax.Array:
        """Uniform on [0, 1), with the shape and dtype of `input`."""
        return self.random(u.math.shape(input), key).astype(dtype or u.math.get_dtype(input))

    def randn_like(self, input: Any, *, dtype: Any = None, key: Any = None) -> jax.Array:
        """Standard normal, with the shape and dtype of `input`."""
        return self.standard_normal(u.math.shape(input), key).astype(dtype or u.math.get_dtype(input))

    def randint_like(self, input: Any, low: Any = 0, high: Any = None, *, dtype: Any = None, key: Any = None) -> jax.Array:
        """Integers from low to high - 1 (below the largest of `input`), with its shape and dtype."""
        numbers = self.randint(low, jnp.max(input) if high is None else high, u.math.shape(input), key=key)
        return numbers.astype(dtype or u.math.get_dtype(input))

    def _located(self, draw: Draw, loc: Any, scale: Any, size: Size, key: Any, dtype: Any) -> Any:
        (loc, scale), unit = in_one_unit(draw.__name__.lstrip("_"), loc=loc, scale=scale)
        x = draw(self._take(key), shape=shape_of(size, loc, scale), dtype=_float(dtype))
        x = x if scale is None else x * scale
        return with_unit(x if loc is None else x + loc, unit)

    def _shaped(self, draw: Draw, size: Size, key: Any, dtype: Any, **parameters: Any) -> jax.Array:
        bare = plain(draw.__name__, **parameters)
        return draw(self._take(key), *bare, shape=shape_of(size, *bare), dtype=dtype)


def _rayleigh(key: jax.Array, shape: tuple[int, ...], dtype: Any) -> jax.Array:
    return jr.rayleigh(key, jnp.ones((), dtype), shape, dtype)


def _float(dtype: Any) -> Any:
    return environ.dftype() if dtype is None else dtype


def _int(dtype: Any) -> Any:
    return environ.ditype() if dtype is None else dtype
