"""A random number is a function of (seed, stream, id, step) and of nothing else."""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from dist_sim.core import Random, environ, transform
from dist_sim.core.random.keyed import FRACTION, _lower_half
from dist_sim.errors import ParameterError
from dist_sim.kernels.philox import philox4x32


def draw(ids, step):
    # Bernoulli numbers compare a uniform one.
    return jnp.stack([kind(Random(7), ids, stream="noise", step=step) for kind in (Random.uniform, Random.normal)], axis=-1)


def test_values_do_not_depend_on_how_they_are_drawn():
    whole = np.array(draw(400, 5))
    ids = np.random.default_rng(0).permutation(400)
    assert (np.array(draw(ids, 5)) == whole[ids]).all()
    parts = [draw(jnp.arange(a, a + 50), 5) for a in range(0, 400, 50)]
    assert (np.concatenate(parts) == whole).all()
    # Eager, compiled and looped code round alike.
    looped = transform.jit(lambda steps: transform.for_loop(lambda s: draw(400, s), steps))(jnp.arange(4, 7))
    assert (np.array(looped)[1] == whole).all() and not (np.array(looped)[0] == whole).any(axis=0).all()


def test_seed_stream_id_and_step_all_matter():
    ids = np.arange(100)
    base = np.array(Random(1).uniform(ids, stream="a", step=0))
    others = [
        Random(2).uniform(ids, stream="a", step=0),
        Random(1 + 2**40).uniform(ids, stream="a", step=0),
        Random(1).uniform(ids, stream="b", step=0),
        Random(1).uniform(ids, stream=0, step=0),
        Random(1).uniform(ids, stream="a", step=1),
        Random(1).uniform(np.arange(100) + 2**32, stream="a", step=0),
    ]
    for other in others:
        assert not (np.array(other) == base).any()


def test_large_ids_keep_all_their_bits():
    big = np.arange(100) + 2**33
    with environ.context(precision=64):
        traced = transform.jit(lambda ids: Random(1).bits(ids, stream="a"))(jnp.asarray(big))
    for a, b in zip(Random(1).bits(big, stream="a"), traced, strict=True):
        assert (np.array(a) == np.array(b)).all()


def test_numbers_are_not_those_of_bare_counters():
    bare = philox4x32(1, 0, np.arange(100, dtype=np.uint32), 0, 0, 0)[0]
    assert not np.isin(np.array(Random(1).bits(np.arange(100), stream=0)[0]), bare).any()


@pytest.mark.parametrize("precision", [32, 64])
def test_distributions(precision):
    n = 100_000
    with environ.context(precision=precision):
        x, z = np.array(Random(3).uniform(n, stream="x")), np.array(Random(3).normal(n, stream="x"))
    assert x.dtype == z.dtype == f"float{precision}"
    assert 0 <= x.min() and x.max() < 1
    assert stats.kstest(x, "uniform").pvalue > 0.001 and stats.kstest(z, "norm").pvalue > 0.001
    assert np.isfinite(z).all() and np.abs(z).max() > 4
    assert abs(np.corrcoef(z[:-1], z[1:])[0, 1]) < 0.01
    assert Random(3).bernoulli(0.0, n, stream="x").sum() == 0 and Random(3).bernoulli(1.0, n, stream="x").sum() == n


def test_normal_numbers_are_close_to_the_exact_quantile():
    k = np.unique(np.concatenate([2**31 - 1 - np.arange(2000), np.arange(2000), np.geomspace(1, 2**31 - 1, 5000).astype(int)]))
    z = np.array(_lower_half(jnp.asarray(k, jnp.uint32))) * 2.0**-FRACTION
    assert np.abs(z - stats.norm.ppf((k + 0.5) * 2.0**-32)).max() < 1e-5
    assert (np.diff(z) >= 0).all() and z.max() <= 0


def test_uniform_bits_are_pinned():
    # These numbers are part of every stored result.
    assert np.array(Random(1).uniform(np.arange(100), stream="noise", step=2))[:3].tolist() == PINNED


PINNED = [0.4445686936378479, 0.22569024562835693, 0.05672734975814819]


@pytest.mark.parametrize("bad", [
    lambda: Random(-1),
    lambda: Random(1.5),  # pyright: ignore[reportArgumentType]
    lambda: Random(2**64),
    lambda: Random(1).uniform(jnp.ones(3), stream="a"),
    lambda: Random(1).uniform((2.5,), stream="a"),
    lambda: Random(1).uniform(3, stream=1.5),  # pyright: ignore[reportArgumentType]
    lambda: Random(1).uniform(3, stream=-1),
])  # fmt: skip
def test_bad_input_is_refused(bad):
    with pytest.raises(ParameterError, match="Random"):
        bad()


def test_it_compares_by_its_seed_and_is_no_secret_state():
    assert Random(1) == Random(1) and hash(Random(1)) == hash(Random(1))
    assert (Random(1).uniform((2, 50), stream="a").ravel() == Random(1).uniform(np.arange(100), stream="a")).all()
