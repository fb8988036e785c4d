"""Keyed numbers and the elementary functions that connectivity passes through."""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special, stats

from dist_sim.kernels import counts, exact
from dist_sim.kernels.philox import philox4x32, split_key, uniform_index
from dist_sim.kernels.poisson import count_tables

# Random123, tests/kat_vectors, philox4x32 with 10 rounds: counter, key, result.
KNOWN = [
    ([0x00000000] * 4, [0x00000000] * 2, [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]),
    ([0xFFFFFFFF] * 4, [0xFFFFFFFF] * 2, [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]),
    (
        [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344],
        [0xA4093822, 0x299F31D0],
        [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1],
    ),
]


@pytest.mark.parametrize("array", [np.array, jnp.array], ids=["numpy", "jax"])
@pytest.mark.parametrize(("counter", "key", "known"), KNOWN)
def test_philox_gives_the_known_answers(array, counter, key, known):
    words = philox4x32(*key, *(array([c], dtype=np.uint32) for c in counter))
    assert [int(w[0]) for w in words] == known


def test_a_seed_is_both_words_of_the_key():
    assert split_key(0x0123456789ABCDEF) == (0x89ABCDEF, 0x01234567)
    a, b = (philox4x32(*split_key(seed), np.zeros(1, np.uint32), 0, 0, 0)[0] for seed in (1, 1 + 2**32))
    assert a != b


@pytest.mark.parametrize("n", [1, 2, 7, 77_169, 2**31 + 11, 2**32 - 1])
def test_indices_are_the_exact_product(n):
    rng = np.random.default_rng(0)
    high, low = rng.integers(0, 2**32, (2, 1000)).astype(np.uint32)
    high[:2], low[:2] = (0, 2**32 - 1), (0, 2**32 - 1)
    wanted = [(((int(h) << 32) | int(low_word)) * n) >> 64 for h, low_word in zip(high, low, strict=True)]
    assert uniform_index(np, high, low, np.uint32(n)).tolist() == wanted
    assert max(wanted) == n - 1


def test_elementary_functions_are_scipys():
    rng = np.random.default_rng(1)
    x = np.concatenate([np.exp(rng.uniform(-600, 600, 20_000)), 1 + rng.uniform(-1e-3, 1e-3, 10_000), [1.0, 0.5, 1e-300]])
    np.testing.assert_allclose(exact.log(x), np.log(x), rtol=2e-15, atol=3e-16)
    x = np.concatenate([rng.uniform(-690, 690, 20_000), rng.uniform(-1, 1, 10_000), [0.0]])
    np.testing.assert_allclose(exact.exp(x), np.exp(x), rtol=1e-15)
    word = np.concatenate([rng.integers(0, 2**32, 50_000), [0, 1, 2**31 - 1, 2**31, 2**32 - 1]]).astype(np.uint32)
    z = exact.normal_quantile(word)
    np.testing.assert_allclose(z, special.ndtri((word + 0.5) / 2.0**32), rtol=1e-14, atol=1e-15)
    assert np.abs(z).max() < exact.NORMAL_BOUND < np.abs(z).max() + 1e-3


def test_log_factorials_are_scipys():
    n = np.concatenate([np.arange(300.0), np.geomspace(300, 1e12, 500).round()])
    np.testing.assert_allclose(counts.log_factorial(n), special.gammaln(n + 1), rtol=1e-14, atol=2e-14)


@pytest.mark.parametrize("mean", [1e-4, 0.08, 0.8, 3.0, 23.4, 700.0, 1e5])
def test_poisson_tables_hold_the_distribution(mean):
    """Probability of each count out of the thresholds, against scipy to the resolution of 32 bits; and 2**32 of them in all."""
    tables = count_tables(np.array([mean]))
    used = int(tables.largest[0] - tables.first[0])
    at_least = np.concatenate([[0], tables.thresholds[0, :used].astype(np.int64) + 1, [2**32]])
    count = tables.first[0] + np.arange(len(at_least) - 1)
    probability = np.diff(at_least) / 2.0**32
    np.testing.assert_allclose(probability, stats.poisson.pmf(count, mean), rtol=1e-6 if mean > 1e4 else 1e-9, atol=2.0**-31)
    assert (probability * count).sum() == pytest.approx(mean, rel=2e-6, abs=2.0**-29)


def test_the_guide_of_a_table_agrees_with_its_thresholds():
    tables = count_tables(np.array([0.5, 40.0, 3e4]))
    bits = np.random.default_rng(2).integers(0, 2**32, 20_000).astype(np.uint32)
    for row, thresholds in enumerate(tables.thresholds):
        rows = tables.guide.reshape(3, -1)
        guide = rows[row, bits // np.uint32(2**32 // rows.shape[1])]
        counted = np.searchsorted(thresholds, bits, side="left")
        np.testing.assert_array_equal(guide[guide < 255], counted[guide < 255])


@pytest.mark.parametrize(("n", "p"), [(1, 0.3), (10, 0.5), (40, 0.02), (1000, 0.1), (77_169, 0.998), (10**6, 1e-6)])
def test_binomial_counts_are_binomial(n, p):
    uniform = counts.uniform53(7, 3, np.arange(20_000))
    drawn = counts.binomial(np.full(20_000, n), p, uniform)
    assert drawn.min() >= 0 and drawn.max() <= n
    assert chi2_p_value(drawn, stats.binom(n, p)) > 1e-4


@pytest.mark.parametrize("mean", [0.01, 0.9, 12.0, 1500.0])
def test_poisson_counts_are_poisson(mean):
    drawn = counts.poisson_counts(np.full(20_000, mean), counts.uniform53(7, 4, np.arange(20_000)))
    assert chi2_p_value(drawn, stats.poisson(mean)) > 1e-4


def test_counts_at_the_edges():
    uniform = np.array([2.0**-54, 0.5, 1 - 2.0**-53])
    assert counts.binomial(np.array([5, 5, 5]), 0.0, uniform).tolist() == [0, 0, 0]
    assert counts.binomial(np.array([5, 5, 5]), 1.0, uniform).tolist() == [5, 5, 5]
    assert counts.binomial(np.array([0, 0, 0]), 0.5, uniform).tolist() == [0, 0, 0]
    assert counts.poisson_counts(np.zeros(3), uniform).tolist() == [0, 0, 0]
    # What rounding leaves of the largest uniform number lies beyond the sum of all probabilities, and must not be searched for.
    mean = np.repeat([0.01, 1.0, 30.0, 1e4], 3)
    assert (np.abs(counts.poisson_counts(mean, np.tile(uniform, 4)) - mean) < 9 * mean**0.5 + 20).all()


@pytest.mark.parametrize("backend", ["reference", "native"])
def test_a_total_is_split_evenly(backend):
    split = counts.split_evenly(200_000, 1000, seed=5, stream=2, backend=backend)
    assert split.sum() == 200_000
    # Multinomial: the statistic of Pearson has bins - 1 degrees of freedom.
    statistic = ((split - 200.0) ** 2 / 200.0).sum()
    assert 1e-4 < stats.chi2.sf(statistic, 999) < 1 - 1e-4
    assert counts.split_evenly(0, 5, seed=5, stream=2, backend=backend).tolist() == [0] * 5
    assert counts.split_evenly(9, 1, seed=5, stream=2, backend=backend).tolist() == [9]
    assert counts.split_evenly(0, 0, seed=5, stream=2, backend=backend).tolist() == []


@pytest.mark.parametrize(("total", "bins"), [(1, 3), (17, 2), (1000, 999), (123_456, 77), (3 * 10**8, 20_683)])
def test_both_backends_split_alike(total, bins):
    ours, theirs = (counts.split_evenly(total, bins, seed=2**63 + 9, stream=4, backend=b) for b in ("native", "reference"))
    np.testing.assert_array_equal(ours, theirs)
    assert ours.sum() == total


def chi2_p_value(drawn, distribution):
    """Chi-squared test of counts, with cells of at least 10 expected."""
    edges = np.unique(distribution.ppf(np.linspace(0, 1, 40)[1:-1]))
    expected = np.diff(np.concatenate([[0], distribution.cdf(edges), [1]])) * len(drawn)
    observed = np.bincount(np.searchsorted(edges, drawn), minlength=len(edges) + 1)
    kept = expected > 10
    if kept.sum() < 2:
        return 1.0
    rest = np.array([expected[~kept].sum(), observed[~kept].sum()])
    expected, observed = expected[kept], observed[kept]
    if rest[0] > 0:
        expected, observed = np.append(expected, rest[0]), np.append(observed, rest[1])
    return stats.chi2.sf(((observed - expected) ** 2 / expected).sum(), len(expected) - 1)
