"""What every connection rule promises: ranges, degrees, autapses, multapses, distributions; on any number of devices.

After NEST's `testsuite/pytests/connect/connect_test_base.py`.
"""

import brainunit as u
import numpy as np
import pytest
from scipy import stats

import dist_sim as ds
from dist_sim import kernels
from dist_sim.errors import ConnectError
from dist_sim.kernels import build
from dist_sim.network.channels import Channels
from dist_sim.network.connection import Connection, on_device
from dist_sim.network.distributions import as_draw, bounds
from dist_sim.network.rules import RULES
from dist_sim.partition.layout import Ids, Layout

DT = 0.1  # ms
NUM_IDS = 130
# Neither side in order of ids; 30 neurons are on both.
PRE = np.random.default_rng(0).permutation(np.arange(10, 70))
POST = np.random.default_rng(1).permutation(np.arange(40, 120))
SAME = np.random.default_rng(2).permutation(np.arange(20, 80))

EXPLICIT = np.random.default_rng(3).integers(0, 60, (2, 500))
EXAMPLES = {
    "one_to_one": ds.one_to_one(),
    "all_to_all": ds.all_to_all(),
    "fixed_indegree": ds.fixed_indegree(23),
    "fixed_outdegree": ds.fixed_outdegree(23),
    "fixed_total_number": ds.fixed_total_number(1500),
    "pairwise_bernoulli": ds.pairwise_bernoulli(0.3),
    "pairwise_poisson": ds.pairwise_poisson(0.3),
    "explicit_edges": ds.explicit_edges(*EXPLICIT),
}
RANDOM = ["fixed_indegree", "fixed_outdegree", "fixed_total_number", "pairwise_bernoulli", "pairwise_poisson"]
WITHOUT_MULTAPSES = ["one_to_one", "all_to_all", "fixed_indegree", "fixed_outdegree", "pairwise_bernoulli"]


def one_channel(layout):
    """Both signs of weights in one channel, a millionth of a pA each unit."""
    quantum = np.full((1, layout.num_devices * layout.block[0]), 2.0**-20)
    return Channels(count=1, offset=0, routes={0: (0, 0)}, counting=frozenset(), quantum=quantum)


def draw(
    rule, pre=SAME, post=SAME, *, autapses=True, multapses=True, weight=1.0 * u.pA, delay=1.0 * u.ms, seed=1, devices=1, stream=0,
    backend="reference",
):  # fmt: skip
    """(n, 4) source id, target id, weight (pA, to 1e-6), delay (steps) of every synapse, in order of the devices."""
    connection = Connection(
        pre_ids=pre, post_ids=post, group=0, rule=rule, weight=as_draw(weight, "pA", ""), delay=as_draw(delay, "ms", ""),
        autapses=autapses, multapses=multapses, stream=stream, where="connect(a, b)",
    )  # fmt: skip
    connection.check(DT)
    layout = Layout(owner=np.arange(NUM_IDS) % devices, groups=[Ids(range(NUM_IDS))], num_devices=devices)
    parts = []
    for device in range(devices):
        share = on_device(connection, layout, device, one_channel(layout), device, seed=seed, backend=backend, threads=1)
        slot, place, units, steps = build.draw_synapses(share, seed=seed, dt=DT)
        target = layout.ids_on(device)[place]
        parts.append(np.stack([layout.id_of_slot[slot], target, units * 2.0**-20, steps], axis=1))
    return np.concatenate(parts)


def pairs(synapses, pre=SAME, post=SAME):
    """How many synapses each pair has, (post, pre), in the order of the sides."""
    matrix = np.zeros((NUM_IDS, NUM_IDS), int)
    np.add.at(matrix, (synapses[:, 1].astype(int), synapses[:, 0].astype(int)), 1)
    assert matrix.sum() == matrix[np.ix_(post, pre)].sum(), "a synapse outside the two sides"
    return matrix[np.ix_(post, pre)]


def multiset(synapses):
    return synapses[np.lexsort(synapses.T)]


def test_every_rule_is_here():
    assert set(EXAMPLES) == set(RULES)


@pytest.mark.parametrize("rule", EXAMPLES)
@pytest.mark.parametrize("sides", ["same", "overlapping"])
def test_the_devices_share_one_network(rule, sides):
    pre, post = (SAME, SAME) if sides == "same" else (PRE, POST[:60])
    options = dict(weight=ds.dist.Normal(1 * u.pA, 1 * u.pA), delay=ds.dist.Uniform(0.1 * u.ms, 3 * u.ms))
    alone = draw(EXAMPLES[rule], pre, post, **options)
    pairs(alone, pre, post)
    for devices in (2, 7):
        spread = draw(EXAMPLES[rule], pre, post, devices=devices, **options)
        np.testing.assert_array_equal(multiset(spread), multiset(alone))
    fastest = draw(EXAMPLES[rule], pre, post, backend=kernels.choose(None, "cpu"), **options)
    np.testing.assert_array_equal(fastest, alone)


@pytest.mark.parametrize("rule", RANDOM)
def test_another_seed_and_another_connection_draw_anew(rule):
    first = pairs(draw(EXAMPLES[rule]))
    assert (pairs(draw(EXAMPLES[rule], seed=2)) != first).any()
    assert (pairs(draw(EXAMPLES[rule], stream=1)) != first).any()


@pytest.mark.parametrize("rule", [name for name in EXAMPLES if name != "explicit_edges"])
def test_no_autapses_where_they_are_forbidden(rule):
    assert np.trace(pairs(draw(EXAMPLES[rule], seed=3))) > 0
    assert np.trace(pairs(draw(EXAMPLES[rule], seed=3, autapses=False))) == 0


@pytest.mark.parametrize("autapses", [True, False])
@pytest.mark.parametrize("rule", WITHOUT_MULTAPSES)
def test_no_multapses_where_they_are_forbidden(rule, autapses):
    sides = PRE, POST[:60]
    assert pairs(draw(EXAMPLES[rule], *sides, autapses=autapses, multapses=False), *sides).max() == 1
    if rule.startswith("fixed"):
        assert pairs(draw(EXAMPLES[rule], autapses=autapses)).max() > 1


@pytest.mark.parametrize("rule", ["fixed_total_number", "pairwise_poisson"])
def test_rules_that_cannot_forbid_multapses_say_so(rule):
    assert pairs(draw(EXAMPLES[rule])).max() > 1
    with pytest.raises(ConnectError, match=f"{rule}.* multapses"):
        draw(EXAMPLES[rule], multapses=False)


@pytest.mark.parametrize("multapses", [True, False])
@pytest.mark.parametrize("autapses", [True, False])
def test_exact_degrees(autapses, multapses):
    options = dict(autapses=autapses, multapses=multapses)
    assert (pairs(draw(ds.fixed_indegree(23), PRE, POST, **options), PRE, POST).sum(axis=1) == 23).all()
    assert (pairs(draw(ds.fixed_outdegree(23), PRE, POST, **options), PRE, POST).sum(axis=0) == 23).all()
    everything = pairs(draw(ds.all_to_all(), PRE, POST, **options), PRE, POST)
    np.testing.assert_array_equal(everything, autapses | (POST[:, None] != PRE))
    np.testing.assert_array_equal(pairs(draw(ds.one_to_one(), PRE, POST[:60]), PRE, POST[:60]), np.eye(60))
    assert len(draw(ds.fixed_total_number(1500), PRE, POST, autapses=autapses)) == 1500


@pytest.mark.parametrize("autapses", [True, False])
def test_every_possible_source_once(autapses):
    """The largest in-degree and out-degree there can be."""
    most, options = 60 - (not autapses), dict(autapses=autapses, multapses=False)
    wanted = autapses | ~np.eye(60, dtype=bool)
    np.testing.assert_array_equal(pairs(draw(ds.fixed_indegree(most), **options)), wanted)
    np.testing.assert_array_equal(pairs(draw(ds.fixed_outdegree(most), **options)), wanted)
    np.testing.assert_array_equal(pairs(draw(ds.pairwise_bernoulli(1.0), **options)), wanted)
    for rule in (ds.fixed_indegree(most + 1), ds.fixed_outdegree(most + 1)):
        with pytest.raises(ConnectError, match=f"{most + 1} of only {most} possible"):
            draw(rule, **options)


@pytest.mark.parametrize(
    "rule",
    [
        ds.fixed_indegree(0), ds.fixed_outdegree(0), ds.fixed_total_number(0), ds.pairwise_bernoulli(0.0),
        ds.pairwise_poisson(0.0), ds.explicit_edges([], []),
    ],
    ids=lambda rule: rule.name,
)  # fmt: skip
def test_rules_of_no_synapse(rule):
    assert len(draw(rule)) == 0
    nobody = np.zeros(0, np.int64)
    assert len(draw(rule, nobody, nobody)) == 0


@pytest.mark.parametrize("autapses", [True, False])
@pytest.mark.parametrize("rule", RANDOM)
def test_pairs_and_degrees_have_the_distribution(rule, autapses):
    """Sums over 60 networks against the mean and the variance that each rule gives a pair, a source and a target."""
    runs, n = 60, 60
    counts = np.stack([pairs(draw(EXAMPLES[rule], autapses=autapses, seed=100 + seed)) for seed in range(runs)]).astype(float)
    pool = n if autapses else n - 1
    allowed = np.full((n, n), True) if autapses else ~np.eye(n, dtype=bool)
    mean = {"fixed_total_number": 1500 / n / pool, "pairwise_bernoulli": 0.3, "pairwise_poisson": 0.3}.get(rule, 23 / pool)
    variance = mean * (1 - mean) if rule == "pairwise_bernoulli" else mean * (1 - 1 / pool) if rule.startswith("fixed") else mean

    z = (counts.sum(axis=0)[allowed] - runs * mean) / (runs * variance) ** 0.5
    assert_standard(z)
    spread = {"fixed_indegree": (0, 1), "fixed_outdegree": (1, 0)}.get(rule, (1, 1))
    for axis, free in ((2, spread[0]), (1, spread[1])):
        z = (counts.sum(axis=axis) - pool * mean) / (pool * variance) ** 0.5
        if free:
            assert_standard(z.ravel())
        else:
            assert not z.any()


def assert_standard(z):
    """Mean 0 and variance 1 to 4.5 standard errors, and no value that would not occur."""
    assert abs(z.mean()) < 4.5 / len(z) ** 0.5
    assert abs(z.var() - 1) < 4.5 * (3 / len(z)) ** 0.5
    assert np.abs(z).max() < 6


@pytest.mark.parametrize(("rule", "axis"), [("pairwise_bernoulli", 1), ("pairwise_bernoulli", 0), ("pairwise_poisson", 1)])
def test_degrees_fit_by_chi_squared(rule, axis):
    degrees = np.concatenate([pairs(draw(EXAMPLES[rule], seed=seed)).sum(axis=axis) for seed in range(50)])
    law = stats.binom(60, 0.3) if rule == "pairwise_bernoulli" else stats.poisson(18)
    edges = np.arange(11, 26)
    expected = np.diff(np.concatenate([[0], law.cdf(edges), [1]])) * len(degrees)
    observed = np.bincount(np.searchsorted(edges, degrees), minlength=len(edges) + 1)
    assert stats.chisquare(observed, expected).pvalue > 1e-4


def test_samples_without_replacement_are_uniform():
    """Each pair as likely as any other, the last of a sample as much as the first."""
    total = sum(pairs(draw(ds.fixed_indegree(5), multapses=False, seed=seed)) for seed in range(200))
    z = (total - 200 * 5 / 60) / (200 * 5 / 60 * (1 - 5 / 60)) ** 0.5
    assert_standard(z.ravel())


# ---- weights and delays per synapse ----


@pytest.mark.parametrize("devices", [1, 3])
def test_arrays_land_on_their_synapses(devices):
    rng = np.random.default_rng(4)

    def check(rule, size, sources, targets, pre=PRE, post=POST, **options):
        weight, steps = rng.integers(-99, 99, size) * 1.0, rng.integers(1, 50, size)
        found = draw(rule, pre, post, weight=weight * u.pA, delay=steps * DT * u.ms, devices=devices, **options)
        wanted = np.stack([np.broadcast_to(a, size).reshape(-1) for a in (sources, targets, weight, steps)], axis=1)
        if options.get("autapses") is False:
            wanted = wanted[wanted[:, 0] != wanted[:, 1]]
        np.testing.assert_array_equal(multiset(found), multiset(wanted))

    for autapses in (True, False):
        check(ds.one_to_one(), (60,), PRE, POST[:60], post=POST[:60], autapses=autapses)
        check(ds.one_to_one(), (60,), SAME, SAME, SAME, SAME, autapses=autapses)
        check(ds.all_to_all(), (80, 60), PRE, POST[:, None], autapses=autapses)
    check(ds.explicit_edges(EXPLICIT[0], EXPLICIT[1]), (500,), PRE[EXPLICIT[0]], POST[EXPLICIT[1]])


@pytest.mark.parametrize("devices", [1, 3])
@pytest.mark.parametrize("multapses", [True, False])
def test_arrays_of_fixed_indegree_are_rows_of_targets(multapses, devices):
    weight = np.arange(80 * 5).reshape(80, 5) * 1.0
    found = draw(ds.fixed_indegree(5), PRE, POST, weight=weight * u.pA, multapses=multapses, devices=devices)
    for target, row in zip(POST, weight, strict=True):
        assert sorted(found[found[:, 1] == target, 2]) == row.tolist()


@pytest.mark.parametrize("rule", ["fixed_outdegree", "fixed_total_number", "pairwise_bernoulli", "pairwise_poisson"])
def test_rules_without_an_order_take_no_arrays(rule):
    with pytest.raises(ConnectError, match=f"weight is an array.*{rule}"):
        draw(EXAMPLES[rule], weight=np.ones(1500) * u.pA)


def drawn(distribution):
    """20,000 weights of a distribution, and the law that they are held against."""
    return draw(ds.fixed_total_number(20_000), weight=distribution)[:, 2]


@pytest.mark.parametrize(
    ("distribution", "law"),
    [
        (ds.dist.Normal(2 * u.pA, 3 * u.pA), stats.norm(2, 3)),
        (ds.dist.Normal(0.002 * u.nA, 3 * u.pA), stats.norm(2, 3)),
        (ds.dist.Normal(1 * u.pA, 1 * u.pA, min=0.5 * u.pA), stats.truncnorm(-0.5, np.inf, 1, 1)),
        (ds.dist.Normal(1 * u.pA, 2 * u.pA, min=-1 * u.pA, max=2 * u.pA), stats.truncnorm(-1, 0.5, 1, 2)),
        (ds.dist.LogNormal(3 * u.pA, 2 * u.pA), stats.lognorm(np.log1p(4 / 9) ** 0.5, scale=3 / (1 + 4 / 9) ** 0.5)),
        (ds.dist.Uniform(-1 * u.pA, 4 * u.pA), stats.uniform(-1, 5)),
    ],
    ids=["normal", "other unit", "from below", "both sides", "lognormal", "uniform"],
)
def test_distributions(distribution, law):
    x = drawn(distribution)
    assert stats.kstest(x, law.cdf).pvalue > 1e-4
    error = law.std() / len(x) ** 0.5
    assert abs(x.mean() - law.mean()) < 4.5 * error
    assert x.std() == pytest.approx(law.std(), rel=0.06)
    low, high = bounds(distribution.draw("pA", ""))
    assert low - 1e-6 <= x.min() and x.max() <= high + 1e-6


def test_a_lognormal_is_cut_by_drawing_again():
    x = drawn(ds.dist.LogNormal(3 * u.pA, 2 * u.pA, min=1 * u.pA, max=5 * u.pA))
    law = stats.lognorm(np.log1p(4 / 9) ** 0.5, scale=3 / (1 + 4 / 9) ** 0.5)
    below, above = law.cdf(1), law.cdf(5)
    assert x.min() >= 1 - 1e-6 and x.max() <= 5 + 1e-6
    assert stats.kstest(x, lambda v: np.clip((law.cdf(v) - below) / (above - below), 0, 1)).pvalue > 1e-4


def test_delays_are_rounded_to_the_nearest_step():
    delay = ds.dist.Normal(0.75 * u.ms, 0.375 * u.ms, min=0.05 * u.ms)
    steps = draw(ds.fixed_total_number(20_000), delay=delay)[:, 3]
    law = stats.truncnorm((0.05 - 0.75) / 0.375, np.inf, 0.75, 0.375)
    edges = (np.arange(1, 18) + 0.5) * DT
    expected = np.diff(np.concatenate([[0], law.cdf(edges), [1]])) * len(steps)
    observed = np.bincount(np.minimum(steps.astype(int), 18), minlength=19)[1:]
    assert steps.min() == 1
    assert stats.chisquare(observed, expected).pvalue > 1e-4


def test_weights_delays_and_sources_are_independent():
    options = dict(weight=ds.dist.Uniform(0 * u.pA, 1 * u.pA), delay=ds.dist.Uniform(0.1 * u.ms, 9 * u.ms))
    x = draw(ds.fixed_total_number(20_000), **options)
    correlation = np.corrcoef(x.T)
    assert np.abs(correlation - np.eye(4)).max() < 4.5 / 20_000**0.5
