"""Bits of keys are JAX's; Poisson counts and rare events have their distribution, whatever draws them and however."""

import brainunit as u
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from scipy import stats

from dist_sim.core import State, random, transform
from dist_sim.core.random import RandomState
from dist_sim.core.random.bits import drawing
from dist_sim.errors import ParameterError
from dist_sim.partition.mesh import use_mesh

SHAPES = [(), (1,), (7,), (5, 300), (0,)]


@pytest.mark.parametrize("precision", [32, 64])
def test_keys_give_the_bits_that_they_give_in_jax(precision):
    with jax.enable_x64(precision == 64):
        for number in (0, 5, 2**31 + 7):
            key = jr.key(number, impl="threefry2x32")
            ours = drawing(key)
            for shape in SHAPES:
                for dtype in ("uint8", "uint16", "uint32", *(("uint64",) if precision == 64 else ())):
                    assert np.array_equal(jr.bits(ours, shape, dtype), jr.bits(key, shape, dtype))
                for draw in (jr.uniform, jr.normal, jr.exponential):
                    np.testing.assert_allclose(draw(ours, shape), draw(key, shape), rtol=1e-5, atol=1e-6)
            for split in (2, (3, 4)):
                assert np.array_equal(jr.key_data(jr.split(ours, split)), jr.key_data(jr.split(key, split)))
            for data in (0, 3, jnp.int32(-1), 2**32 - 1):
                assert np.array_equal(jr.key_data(jr.fold_in(ours, data)), jr.key_data(jr.fold_in(key, data)))
            lanes = jr.split(key, 4)
            mine = jax.vmap(lambda key: jr.uniform(drawing(key), 3))(lanes)
            assert np.array_equal(mine, jax.vmap(lambda key: jr.uniform(key, 3))(lanes))


def is_poisson(counts, mean):
    counts = np.asarray(counts).ravel()
    low, high = int(stats.poisson.ppf(20 / counts.size, mean)), int(stats.poisson.isf(20 / counts.size, mean))
    width = max(1, (high - low) // 60)
    edges = np.arange(low, high + width, width)
    below = stats.poisson.cdf(edges - 1, mean)
    wanted = np.diff([0, *below, 1]) * counts.size
    found = np.histogram(counts, [-0.5, *(edges - 0.5), np.inf])[0]
    assert found.sum() == counts.size  # none below 0
    kept = wanted >= 5
    wanted, found = (np.append(x[kept], x[~kept].sum()) for x in (wanted, found))
    kept = wanted > 0
    return stats.chi2.sf(((found - wanted)[kept] ** 2 / wanted[kept]).sum(), kept.sum() - 1) > 1e-4


@pytest.mark.parametrize("mean", [0.01, 0.3, 1.0, 4.0, 9.99, 10.0, 15.0, 80.0, 990.0, 1010.0, 3e4, 1e6])
def test_counts_are_poisson(mean):
    rng = RandomState(3)
    once = rng.poisson(mean, 200_000)
    assert once.dtype == jnp.int32 and is_poisson(once, mean)
    # Neighbours, and draws that follow each other, know nothing of each other.
    z, after = (np.asarray(x, np.float64) for x in (once, rng.poisson(mean, 200_000)))
    for a, b in ((z[1:], z[:-1]), (z, after)):
        assert abs(np.corrcoef(a, b)[0, 1]) < 5 / np.sqrt(z.size)


def test_rare_events_come_as_often_as_they_should():
    rng, size, steps = RandomState(4), 100_000, 200
    for p in (2.0**-25, 2.0**-23 * 1.5, 1e-6):

        def both(p=p):
            return rng.poisson(p, size).sum(), rng.bernoulli(p, size).sum()

        for found in transform.for_loop(both, length=steps):
            wanted, total = p * size * steps, int(found.sum())
            assert stats.poisson.cdf(total, wanted) > 1e-4 and stats.poisson.sf(total - 1, wanted) > 1e-4
    assert not rng.poisson(0.0, 9999).any() and not rng.bernoulli(0.0, 9999).any() and rng.bernoulli(1.0, 99_999).all()


MEANS = np.array([0.0, 1e-3, 0.7, 9.0, 12.0, 300.0, 5e4], np.float32)


def means(size):
    return jnp.asarray(np.resize(MEANS, size))


WAYS = {
    "known": lambda rng: rng.poisson(np.resize(MEANS, 700)),
    "an argument": lambda rng: transform.jit(lambda mean: rng.poisson(mean))(means(700)),
    "a loop": lambda rng: transform.for_loop(lambda mean: rng.poisson(mean), means(700)[None])[0],
    "a gradient": lambda rng: transform.grad(
        lambda x: ((x * (counts := rng.poisson(x * means(700)))).sum() * 1.0, counts), argnums=0, has_aux=True
    )(jnp.float32(1.0))[1],
    "a key": lambda rng: jax.jit(lambda key, mean: RandomState(1).poisson(mean, key=key))(rng.split_key(), means(700)),
}


@pytest.mark.parametrize("way", WAYS)
def test_counts_are_those_of_their_key_whatever_draws_them(way):
    wanted = np.asarray(RandomState(8).poisson(means(700)))
    # Rejection follows a logarithm, whose last bit differs between programs; below 10 nothing does.
    found = np.asarray(WAYS[way](RandomState(8)))
    small = np.resize(MEANS, 700) < 10
    assert np.array_equal(found[small], wanted[small]) and (found != wanted).mean() < 0.01


def test_lanes_draw_what_their_keys_draw():
    rng = RandomState(7)
    keys = [RandomState.lane_key(rng.value, lane) for lane in range(4)]
    lanes = transform.vmap(lambda mean: rng.poisson(mean, 50))(means(7)[:4])
    alone = [RandomState(key).poisson(float(mean), 50) for key, mean in zip(keys, MEANS, strict=False)]
    assert np.array_equal(lanes, np.array(alone))


N = 3001
DRAWS = {
    "poisson": lambda rng, mean: rng.poisson(mean),
    "poisson of one mean": lambda rng, _: rng.poisson(2.0, N),
    "uniform": lambda rng, _: rng.uniform(-1.0, 1.0, N),
    "normal": lambda rng, _: rng.normal(size=N),
    "bernoulli": lambda rng, mean: rng.bernoulli(mean / 9.0),
    "a batch": lambda rng, mean: (rng.randint(0, 99, (4, N)) * mean).sum(0),
    "ordered": lambda rng, _: jnp.sort(rng.uniform(size=N)),
}


@pytest.mark.parametrize("draw", DRAWS)
def test_each_device_draws_the_numbers_of_its_own_neurons(draw):
    def run(devices):
        with use_mesh(devices=devices):
            mean, total = (State(x, axes=("neuron",)) for x in (jnp.linspace(0.0, 9.0, N), jnp.zeros(N)))
        rng = RandomState(2)

        def step():
            total.value = total.value * 3 + DRAWS[draw](rng, mean.value)

        loop = transform.jit(lambda: transform.for_loop(step, length=6))
        text = loop.lower().compile().as_text()
        loop()
        return np.asarray(total.value), text

    (wanted, _), (found, text) = run(1), run(3)
    assert wanted.any() and np.array_equal(found, wanted)
    assert ("u32[1024]" in text or "u32[4,1024]" in text) != (draw == "ordered")
    assert ("u32[3001]" in text or "u32[4,3001]" in text) == (draw == "ordered")


def test_the_mean_of_a_count_is_no_negative_number_and_has_no_unit():
    with pytest.raises(ParameterError, match="at least 0"):
        random.poisson(np.array([1.0, -0.5]))
    with pytest.raises(ParameterError, match="at least 0"):
        random.poisson(np.nan)
    assert random.poisson((2 * u.Hz) * (500 * u.ms), 4).shape == (4,)


def test_half_precision_draws():
    for dtype in (jnp.bfloat16, jnp.float16):
        assert random.uniform(size=5, dtype=dtype).dtype == dtype and random.poisson(jnp.ones(3, dtype)).dtype == jnp.int32
