"""Random numbers, in two ways.

`Random(seed)` is keyed: a number is a function of what it is for (stream, global id, step), wherever and in whatever order it
is drawn. Networks and their noise are drawn so, and it is the one to use inside `shard_map`.

`RandomState(seed)` is sequential, as in numpy: each draw gives the next numbers. The functions here draw from one that all
share, `DEFAULT`. It starts with the seed 0, so that a script gives the same numbers at every run and in every process. Keys are
those of `jax.random` (threefry2x32), and so are the numbers but for Poisson counts.

    ds.random.seed(42)
    V = ds.random.normal(-60 * u.mV, 5 * u.mV, size=100)
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Concatenate, ParamSpec, TypeVar

import jax
import jax.random as jr
import numpy as np

from dist_sim.core.random.keyed import Random as Random
from dist_sim.core.random.state import RandomState as RandomState
from dist_sim.core.random.state import SeedOrKey, default
from dist_sim.core.trace import has_tracer

P = ParamSpec("P")
R = TypeVar("R")


def seed(seed_or_key: SeedOrKey = None) -> None:
    """Starts :data:`DEFAULT` anew, and numpy's global generator with it. See :meth:`RandomState.seed`."""
    default().seed(seed_or_key)
    key = default().value
    if not has_tracer(key):
        np.random.seed(int(jr.key_data(key)[1]))


@contextmanager
def seed_context(seed_or_key: SeedOrKey) -> Iterator[None]:
    """Within this context :data:`DEFAULT` (and numpy) start from a seed; after it they go on from where they were before."""
    key, numpy_state = get_key(), np.random.get_state()
    try:
        seed(seed_or_key)
        yield
    finally:
        set_key(key)
        np.random.set_state(numpy_state)


def get_key() -> jax.Array:
    """The key of :data:`DEFAULT`."""
    return default().value


def set_key(seed_or_key: SeedOrKey) -> None:
    """Lets :data:`DEFAULT` go on from this key."""
    default().set_key(seed_or_key)


def split_keys(n: int) -> jax.Array:
    """`n` new keys from :data:`DEFAULT`."""
    return default().split_key(n)


def default_rng(seed_or_key: SeedOrKey = None) -> RandomState:
    """:data:`DEFAULT`, or with a seed another source."""
    return default() if seed_or_key is None else RandomState(seed_or_key)


def _of_default(method: Callable[Concatenate[RandomState, P], R]) -> Callable[P, R]:
    """A method of RandomState as a function that calls it on :data:`DEFAULT`."""

    @functools.wraps(method)
    def function(*args: P.args, **kwargs: P.kwargs) -> R:
        return method(default(), *args, **kwargs)

    own = inspect.signature(method)
    function.__signature__ = own.replace(parameters=list(own.parameters.values())[1:])  # type: ignore[attr-defined]
    function.__module__, function.__qualname__ = __name__, function.__name__
    return function


split_key = _of_default(RandomState.split_key)
clone_rng = _of_default(RandomState.clone)

rand = _of_default(RandomState.rand)
random = random_sample = ranf = sample = _of_default(RandomState.random)
uniform = _of_default(RandomState.uniform)
randint = _of_default(RandomState.randint)
random_integers = _of_default(RandomState.random_integers)
randn = _of_default(RandomState.randn)
standard_normal = _of_default(RandomState.standard_normal)
normal = _of_default(RandomState.normal)
truncated_normal = _of_default(RandomState.truncated_normal)
lognormal = _of_default(RandomState.lognormal)
multivariate_normal = _of_default(RandomState.multivariate_normal)
gumbel = _of_default(RandomState.gumbel)
laplace = _of_default(RandomState.laplace)
logistic = _of_default(RandomState.logistic)
exponential = _of_default(RandomState.exponential)
standard_exponential = _of_default(RandomState.standard_exponential)
rayleigh = _of_default(RandomState.rayleigh)
gamma = _of_default(RandomState.gamma)
weibull_min = _of_default(RandomState.weibull_min)
weibull = _of_default(RandomState.weibull)
triangular = _of_default(RandomState.triangular)
standard_gamma = _of_default(RandomState.standard_gamma)
loggamma = _of_default(RandomState.loggamma)
beta = _of_default(RandomState.beta)
chisquare = _of_default(RandomState.chisquare)
pareto = _of_default(RandomState.pareto)
standard_cauchy = _of_default(RandomState.standard_cauchy)
standard_t = t = _of_default(RandomState.standard_t)
maxwell = _of_default(RandomState.maxwell)
poisson = _of_default(RandomState.poisson)
bernoulli = _of_default(RandomState.bernoulli)
binomial = _of_default(RandomState.binomial)
geometric = _of_default(RandomState.geometric)
categorical = _of_default(RandomState.categorical)
dirichlet = _of_default(RandomState.dirichlet)
orthogonal = _of_default(RandomState.orthogonal)
choice = _of_default(RandomState.choice)
permutation = _of_default(RandomState.permutation)
shuffle = _of_default(RandomState.shuffle)
rand_like = _of_default(RandomState.rand_like)
randn_like = _of_default(RandomState.randn_like)
randint_like = _of_default(RandomState.randint_like)


def __getattr__(name: str) -> Any:
    if name == "DEFAULT":
        return default()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
