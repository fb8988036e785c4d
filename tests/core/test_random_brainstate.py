"""ds.random beside brainstate.random: the same names, arguments and defaults, and for one seed the same numbers."""

import inspect

import numpy as np
import pytest

from dist_sim.core import random
from dist_sim.core.random import RandomState

brainstate = pytest.importorskip("brainstate")

SIZE = (5, 7)
SAME_BITS = {
    "rand": SIZE, "random": (SIZE,), "uniform": (-1.0, 3.0, SIZE), "randint": (3, 90, SIZE), "random_integers": (3, 90, SIZE),
    "randn": SIZE, "standard_normal": (SIZE,), "normal": (1.5, 2.0, SIZE), "lognormal": (0.3, 0.5, SIZE),
    "gumbel": (1.0, 2.0, SIZE), "laplace": (1.0, 2.0, SIZE), "logistic": (1.0, 2.0, SIZE), "exponential": (2.0, SIZE),
    "standard_exponential": (SIZE,), "gamma": (2.0, 3.0, SIZE), "standard_gamma": (2.0, SIZE), "loggamma": (2.0, SIZE),
    "beta": (2.0, 3.0, SIZE), "pareto": (2.0, SIZE), "standard_cauchy": (SIZE,), "standard_t": (3.0, SIZE),
    "maxwell": (SIZE,), "bernoulli": (0.3, SIZE), "binomial": (10, 0.3, SIZE), "geometric": (0.2, SIZE),
    "categorical": (np.arange(4.0), -1, SIZE), "dirichlet": (np.ones(3), SIZE), "orthogonal": (3,), "choice": (10, SIZE),
    "permutation": (10,), "shuffle": (np.arange(10),), "rand_like": (np.zeros(3, np.float32),),
    "randn_like": (np.zeros(3, np.float32),), "randint_like": (np.arange(9, dtype=np.int32), 0, 7),
}  # fmt: skip
SAME_FORMULA = {
    "truncated_normal": (-1.0, 2.0, SIZE), "chisquare": (3.0, SIZE), "rayleigh": (2.0, SIZE), "weibull": (2.0, SIZE),
    "weibull_min": (2.0, 3.0, SIZE), "triangular": (0.0, 0.3, 1.0, SIZE), "multivariate_normal": (np.zeros(2), np.eye(2), SIZE),
}  # fmt: skip


# The others take seconds to compile, each.
QUICK = (
    "rand",
    "uniform",
    "randint",
    "normal",
    "exponential",
    "bernoulli",
    "choice",
    "permutation",
    "truncated_normal",
    "randn_like",
)
NAMED = [pytest.param(name, marks=[pytest.mark.slow] * (name not in QUICK)) for name in (*SAME_BITS, *SAME_FORMULA)]


@pytest.mark.parametrize("name", NAMED)
def test_one_seed_gives_the_numbers_that_brainstate_gives(name):
    arguments = {**SAME_BITS, **SAME_FORMULA}[name]
    with brainstate.random.seed_context(5), random.seed_context(5):
        theirs, ours = getattr(brainstate.random, name)(*arguments), getattr(random, name)(*arguments)
        assert random.get_key() == brainstate.random.get_key()
        method = getattr(RandomState(5), name)(*arguments)
    assert ours.dtype == theirs.dtype and ours.shape == theirs.shape
    assert (np.array(method) == np.array(ours)).all()
    if name in SAME_BITS:
        assert (np.array(ours) == np.array(theirs)).all()
    else:
        np.testing.assert_allclose(ours, theirs, rtol=3e-6, atol=1e-6)


# brainstate accepts these; a check of numbers that are not known where a function is traced is not ours to make.
NOT_OURS = {"check_valid", "backup", "clone"}


@pytest.mark.parametrize("name", [*SAME_BITS, *SAME_FORMULA, "poisson", "t", "seed", "seed_context", "split_key", "split_keys",
                                  "get_key", "set_key", "default_rng"])  # fmt: skip
def test_arguments_and_defaults_are_those_of_brainstate(name):
    def arguments(function):
        found = inspect.signature(function).parameters.values()
        return [(p.name, p.default, p.kind) for p in found if p.name not in NOT_OURS]

    assert arguments(getattr(random, name)) == arguments(getattr(brainstate.random, name))
    assert getattr(random, name).__doc__
