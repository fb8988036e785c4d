"""What connect draws and get_connections finds: pinned numbers, and the same synapses however they are asked for."""

import hashlib

import brainunit as u
import numpy as np
import pytest

import dist_sim as ds
from dist_sim.errors import ConnectError, ParameterError
from dist_sim.kernels import build, exact
from dist_sim.network import distributions

NORMAL, LOGNORMAL = ds.dist.Normal(80 * u.pA, 30 * u.pA, min=40 * u.pA), ds.dist.LogNormal(40 * u.pA, 30 * u.pA, max=90 * u.pA)


def columns(found):
    return np.stack([found.source, found.target, found.delay.to_decimal(u.ms), found.get("weight").to_decimal(u.pA)])


@pytest.mark.parametrize("weight, expected", [(NORMAL, "d98737d74b4cff12"), (LOGNORMAL, "a5202f13501a0881")])
def test_draws_are_those_of_earlier_versions(weight, expected):
    sim = ds.Simulator(seed=7)
    cells = sim.create("iaf_psc_exp", 20)
    delay = ds.dist.Normal(1.5 * u.ms, 0.75 * u.ms, min=0.1 * u.ms)
    for _ in range(2):
        sim.connect(cells, cells, "fixed_indegree", indegree=10, weight=weight, delay=delay)
    assert hashlib.sha256(columns(sim.get_connections()).tobytes()).hexdigest()[:16] == expected


def test_a_changed_distribution_gives_other_draws():
    def drawn(distribution):
        sim = ds.Simulator(seed=7)
        cells = sim.create("iaf_psc_exp", 20)
        sim.connect(cells, cells, weight=distribution)
        return sim.get_connections().get("weight").to_decimal(u.pA)

    given = {"mean": 80 * u.pA, "std": 30 * u.pA, "min": 40 * u.pA, "max": 200 * u.pA}
    before = drawn(ds.dist.Normal(**given))
    for name, value in {"mean": 81.0, "std": 29.0, "min": 60.0, "max": 90.0}.items():
        changed = drawn(ds.dist.Normal(**given | {name: value * u.pA}))
        assert (changed != before).any()
        assert changed.min() >= (value if name == "min" else 40) and changed.max() <= (value if name == "max" else 200)
    assert (drawn(ds.dist.LogNormal(**given)) != before).any()
    assert (drawn(ds.dist.Normal(**given)) == before).all()


@pytest.mark.parametrize("kind", [ds.dist.Normal, ds.dist.LogNormal])
def test_limits_out_of_reach_are_refused_beside_others_that_are_not(kind):
    sim = ds.Simulator()
    cells = sim.create("iaf_psc_exp", 2)
    for _ in range(2):
        sim.connect(cells, cells, weight=kind(10 * u.pA, 1 * u.pA, min=9 * u.pA, max=11 * u.pA))
        with pytest.raises(ParameterError, match="less than 0.1 %"):
            sim.connect(cells, cells, weight=kind(10 * u.pA, 1 * u.pA, min=20 * u.pA, max=21 * u.pA))
        with pytest.raises(ParameterError, match="less than 0.1 %"):
            sim.connect(cells, cells, weight=kind(10 * u.pA, 0.1 * u.pA, min=11 * u.pA))


def test_what_is_kept_of_a_distribution_is_what_its_quantiles_say():
    random = np.random.default_rng(0)
    quantiles = exact.normal_quantile(np.linspace(0, 2**32 - 1, 20001))
    for a, b, *limits in random.normal(size=(200, 4)):
        low, high = sorted(limits)
        for kind, values in ((build.NORMAL, a + abs(b) * quantiles), (build.LOGNORMAL, exact.exp(a + abs(b) * quantiles))):
            assert distributions._kept(kind, a, abs(b), low, high) == np.mean((values >= low) & (values <= high))


@pytest.fixture(scope="module")
def network():
    """Populations connected by every kind of rule, with generators; some of the synapses change."""
    sim = ds.Simulator(seed=3)
    cells = [sim.create("iaf_psc_exp", 5 + k, I_e=600 * u.pA) for k in range(4)]
    generators = sim.create("spike_generator", 3, spike_times=[1.0, 4.0] * u.ms)
    rules = [ds.fixed_indegree(3), ds.fixed_total_number(9), ds.pairwise_bernoulli(0.4), ds.all_to_all(), ds.fixed_outdegree(2)]
    for k, (pre, post) in enumerate((a, b) for a in (*cells, generators) for b in cells):
        weight = ds.dist.Normal(50 * u.pA, 10 * u.pA, min=20 * u.pA, max=90 * u.pA)
        sim.connect(pre, post, rules[k % 5], weight=weight, synapse=["static_synapse", "stdp_synapse"][k % 2])
    sim.connect(cells[0][::-1] + cells[2], cells[1][1:4] + cells[3], ds.fixed_indegree(4))
    return sim, cells, generators


@pytest.mark.parametrize("simulated", [False, True], ids=["described", "simulated"])
def test_some_synapses_are_those_of_all_with_these_ends(network, simulated):
    sim, cells, generators = network
    if simulated:
        sim.simulate(20 * u.ms)
    everything = columns(sim.get_connections())
    sides = [None, *cells, generators, cells[0] + cells[3], cells[1][::-2], cells[2][:0]]
    for source in sides:
        for target in sides:
            mine = np.full(everything.shape[1], True)
            for row, side in enumerate((source, target)):
                mine &= True if side is None else np.isin(everything[row], side.ids)
            found = sim.get_connections(source, target)
            np.testing.assert_array_equal(columns(found), everything[:, mine])
            np.testing.assert_array_equal(columns(found[::2]), everything[:, mine][:, ::2])


def test_weights_of_changing_synapses_to_a_union_of_models():
    sim = ds.Simulator(seed=3)
    a, b = sim.create("iaf_psc_exp", 6), sim.create("iaf_psc_alpha", 4)
    weight = ds.dist.Uniform(1 * u.pA, 20 * u.pA)
    sim.connect(a, a + b, ds.fixed_indegree(3), weight=weight, synapse="stdp_synapse")
    sim.connect(b, a, ds.fixed_indegree(2), weight=weight, synapse="stdp_synapse")
    drawn = columns(sim.get_connections())
    sim.simulate(0.1 * u.ms)
    np.testing.assert_allclose(columns(sim.get_connections()), drawn, rtol=1e-6)


def test_synapses_found_before_others_were_connected_keep_their_weights():
    sim = ds.Simulator(seed=3)
    cells = sim.create("iaf_psc_exp", 6)
    sim.connect(cells, cells, ds.fixed_indegree(3), weight=ds.dist.Uniform(1 * u.pA, 20 * u.pA), synapse="stdp_synapse")
    found = sim.get_connections()
    drawn = columns(found)
    sim.connect(cells, cells, ds.fixed_indegree(3), weight=50 * u.pA, synapse="stdp_synapse")
    sim.simulate(0.1 * u.ms)
    np.testing.assert_allclose(columns(found), drawn, rtol=1e-6)


@pytest.mark.parametrize("rule", ["explicit_edges", ds.explicit_edges])
def test_edges_are_given_by_name(rule):
    """The options of this rule are called as the sides of connect are."""

    def edges(*sides, **given):
        sim = ds.Simulator()
        cells = {"a": sim.create("iaf_psc_exp", 3), "b": sim.create("iaf_psc_exp", 2)}
        given = {name: cells[value] if isinstance(value, str) and value in cells else value for name, value in given.items()}
        sim.connect(*(cells[side] for side in sides), **given)
        found = sim.get_connections()
        return sorted(zip(found.source.tolist(), found.target.tolist(), strict=True))

    wanted = [(0, 4), (1, 4), (2, 3)]
    assert edges("a", "b", rule=rule, pre=[0, 1, 2], post=[1, 1, 0]) == wanted
    assert edges("a", "b", rule=ds.explicit_edges([0, 1, 2], [1, 1, 0])) == wanted
    assert edges(pre="a", post="b") == edges("a", post="b") == edges("a", "b")
    with pytest.raises(ConnectError, match="explicit_edges: missing 1 required positional argument: 'post'"):
        edges("a", "b", rule=rule, pre=[0])
    with pytest.raises(ConnectError, match=r"connect\(post=NoneType\): what `create` returned is needed"):
        edges("a")
