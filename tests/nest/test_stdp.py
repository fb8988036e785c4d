"""stdp_synapse against NEST, in double precision: weights after protocols, and a network whose weights shape its spikes."""

from dataclasses import replace
from functools import partial

import brainunit as u
import numpy as np
import pytest
from reference.description import Current, Description, Population, assert_same_spikes
from reference.networks import on_grid, poisson_trains
from reference.oracle import run_nest
from reference.ours import run_dist_sim
from reference.protocols import DT, FIRED, intervals

import dist_sim as ds
from dist_sim.errors import ConnectError, ParameterError, UnitError, UnknownNameError

KINDS = (
    {"Wmax": 1.0, "lambda": 0.1},
    {"Wmax": 1.0, "lambda": 0.05, "mu_plus": 0.0, "mu_minus": 0.0, "alpha": 1.1, "tau_plus": 12.5},
    {"Wmax": 1.0, "lambda": 0.2, "mu_plus": 0.4, "mu_minus": 0.7, "Kplus": 1.5},
    {"Wmax": -1.0, "lambda": 0.1, "mu_plus": 0.02, "mu_minus": 0.4, "tau_plus": 33.0},
)


def protocols(pairs, *, duration):
    """Each pair is (pre times, post times, delay, kind, tau_minus): two neurons fired by generators, and a plastic synapse.

    (NEST joins no generator to a neuron by a plastic synapse.)
    """
    n = len(pairs)
    kind = np.array([p[3] for p in pairs])
    tau_minus = np.tile([p[4] for p in pairs], 2)
    fired = [on_grid(np.asarray(times) - DT) for side in (0, 1) for times in (p[side] for p in pairs)]
    return Description(
        populations=(Population(model="iaf_psc_delta", size=2 * n, params=FIRED | {"tau_minus": tau_minus}),),
        spike_times=tuple(fired),
        source=np.concatenate([2 * n + np.arange(2 * n), np.arange(n)]),
        target=np.concatenate([np.arange(2 * n), n + np.arange(n)]),
        weight=np.concatenate([np.full(2 * n, 1000.0), np.where(kind == 3, -0.5, 0.5)]),
        delay=np.concatenate([np.full(2 * n, DT), [p[2] for p in pairs]]),
        plastic=np.concatenate([np.full(2 * n, -1), kind]),
        stdp=KINDS,
        duration=duration,
        dt=DT,
    )


def assert_same_weights(ours, reference, rtol):
    assert ours.plastic.shape == reference.plastic.shape and len(ours.plastic)
    np.testing.assert_array_equal(ours.plastic[:, :3], reference.plastic[:, :3])
    np.testing.assert_allclose(ours.plastic[:, 3], reference.plastic[:, 3], rtol=rtol, atol=0)


def trains():
    """Random trains at low to high rates, with bursts; some synapses see thousands of pairs."""
    rng = np.random.default_rng(4)
    for k, (rate_pre, rate_post) in enumerate(((5, 40), (40, 5), (30, 30), (150, 150), (0.5, 300), (300, 1)) * 6):
        pre, post = (np.unique(np.concatenate(poisson_trains(rng, 1, rate, 1500.0))) for rate in (rate_pre, rate_post))
        post = np.unique(on_grid(np.concatenate([post[post > 2], 900 + 2 * DT * np.arange(20)])))
        yield np.append(pre, 1600.0), post, rng.integers(1, 40) * DT, k % len(KINDS), (20.0, 9.1, 50.0)[k % 3]


@pytest.mark.nest
@pytest.mark.parametrize(
    ("pairs", "duration"), [(partial(intervals, len(KINDS)), 720.0), (trains, 1620.0)], ids=["intervals", "trains"]
)
def test_weights_after_protocols_are_nests(pairs, duration):
    description = protocols(list(pairs()), duration=duration)
    reference = run_nest(description)
    ours = run_dist_sim(description, devices=2)
    assert_same_spikes(ours, reference, DT)
    assert len(np.unique(np.round(reference.plastic[:, 3], 6))) > 0.4 * len(reference.plastic)
    assert_same_weights(ours, reference, 1e-10)


def plastic_network(duration=400.0, seed=1):
    """240 excitatory and 60 inhibitory neurons, E to E and I to E plastic, every synapse with its own weight and delay; autapses
    and multapses occur. A strong current silences all before the end, so that no spike is on its way then."""
    rng = np.random.default_rng(seed)
    exc, inh, generators = 240, 60, 40
    size = exc + inh
    populations = tuple(
        Population(
            model="iaf_psc_exp",
            size=n,
            params=dict(tau_m=20.0, E_L=0.0, V_reset=5.0, V_th=20.0, t_ref=2.0, tau_syn_ex=0.5, tau_syn_in=0.8,
                        V_m=rng.uniform(0.0, 20.0, n), I_e=rng.uniform(180.0, 260.0, n),
                        tau_minus=np.where(np.arange(n) % 2, 20.0, 30.0)),
        )
        for n in (exc, inh)
    )  # fmt: skip
    source = np.concatenate(
        [rng.integers(0, exc, size * 40), rng.integers(exc, size, size * 10), rng.integers(size, size + generators, size * 10)]
    )
    target = np.concatenate([np.repeat(np.arange(size), k) for k in (40, 10, 10)])
    weight = np.where((source >= exc) & (source < size), -250.0, 70.0) * rng.uniform(0.5, 1.5, len(source))
    to_exc = target < exc
    plastic = np.where(to_exc & (source < exc), 0, np.where(to_exc & (source < size), 1, -1))
    return Description(
        populations=populations,
        spike_times=poisson_trains(rng, generators, 60.0, duration - 30.0),
        source=source,
        target=target,
        weight=weight,
        delay=on_grid(rng.uniform(0.1, 3.0, len(source))),
        plastic=plastic,
        stdp=(
            {"Wmax": 150.0, "lambda": 0.05, "alpha": 1.05, "mu_plus": 0.4, "mu_minus": 0.4},
            {"Wmax": -500.0, "lambda": 0.02, "tau_plus": 15.0},
        ),
        currents=(Current(amplitude=-1e6, targets=np.arange(size), start=duration - 20.0, delay=1.0),),
        duration=duration,
        dt=DT,
    )


@pytest.fixture(scope="module")
def network_in_nest():
    description = plastic_network()
    reference = run_nest(description)
    rates = reference.rates(description)
    assert (rates > 5).all() and (rates < 80).all(), rates
    static = replace(description, stdp=(), plastic=np.zeros(0))
    assert len(run_nest(static).times) != len(reference.times), "plasticity was to matter"
    return description, reference


@pytest.mark.nest
@pytest.mark.parametrize("devices", [1, 3])
def test_a_plastic_network_is_nests(network_in_nest, devices):
    description, reference = network_in_nest
    ours = run_dist_sim(description, devices=devices)
    assert_same_spikes(ours, reference, DT)
    changed = np.abs(np.sort(reference.plastic[:, 3]) - np.sort(description.weight[description.plastic >= 0]))
    assert np.median(changed) > 0.1
    assert_same_weights(ours, reference, 1e-10)


@pytest.mark.nest
@pytest.mark.parametrize("network", ["pairs", "network"])
def test_a_weight_recorder_has_nests_events(network):
    """Steps, senders and targets are the same, weights to 1e-10; of spikes that have arrived in both."""
    description = plastic_network(150.0) if network == "network" else protocols(list(intervals(len(KINDS)))[::7], duration=720.0)
    description = replace(description, watched=True)
    ours, theirs = run_dist_sim(description, devices=2).passed, run_nest(description).passed
    latest = description.duration / description.dt - 50
    ours, theirs = (rows[rows[:, 0] < latest] for rows in (ours, theirs))
    assert len(ours) == len(theirs) > 200
    np.testing.assert_array_equal(ours[:, :3], theirs[:, :3])
    # Equal synapses of one pair: their weights are sorted, and differ in the last bits.
    np.testing.assert_allclose(ours[:, 3], theirs[:, 3], rtol=1e-10, atol=0)
    assert len(np.unique(ours[:, 3])) > 100


# ---- the interface ----


def two(**options):
    sim = ds.Simulator(**options)
    return sim, sim.create(ds.iaf_psc_exp, 3), sim.create(ds.iaf_psc_delta, 2)


WRONG = [
    (ParameterError, "tau_plus=0", lambda: dict(tau_plus=0 * u.ms)),
    (UnitError, "needs a time", lambda: dict(tau_plus=20.0)),
    (UnitError, "without unit", lambda: dict(lambda_=0.1 * u.ms)),
    (ParameterError, "given twice", lambda: dict(lambda_=0.1) | {"lambda": 0.2}),
    (ParameterError, "at least 0", lambda: dict(mu_plus=-1)),
    (ParameterError, "at least 0", lambda: dict(Kplus=-0.5)),
    (ParameterError, "one number", lambda: dict(alpha="two")),
    (ParameterError, "parameter of the target neurons", lambda: dict(tau_minus=20 * u.ms)),
    (UnknownNameError, "Did you mean 'tau_plus'", lambda: dict(tau_pluss=20 * u.ms)),
    (ParameterError, "same sign", lambda: dict(weight=-1 * u.pA)),
    (ParameterError, "same sign", lambda: dict(weight=1 * u.pA, Wmax=-5 * u.pA)),
    (ParameterError, "beyond Wmax", lambda: dict(weight=101 * u.pA)),
    (ParameterError, "a min and a max", lambda: dict(weight=ds.dist.Normal(50 * u.pA, 20 * u.pA))),
    (ParameterError, "not 0", lambda: dict(Wmax=0 * u.pA)),
    (UnitError, "needs a current", lambda: dict(Wmax=10 * u.mV)),
]


@pytest.mark.parametrize(("error", "words", "wrong"), WRONG)
def test_wrong_parameters_are_refused(error, words, wrong):
    sim, cells, _ = two()
    with pytest.raises(error, match=words):
        sim.connect(cells, cells, synapse=ds.stdp_synapse(**wrong()))


def test_wrong_connections_are_refused():
    sim, cells, jumpers = two()
    noise, recorder = sim.create(ds.poisson_generator, rate=1 * u.Hz), sim.create(ds.spike_recorder)
    with pytest.raises(ConnectError, match="no synapses that could change"):
        sim.connect(noise, cells, synapse="stdp_synapse")
    with pytest.raises(ConnectError, match="no synapses that could change"):
        sim.connect(cells, recorder, synapse=ds.stdp_synapse)
    with pytest.raises(ConnectError, match="weight is given twice"):
        sim.connect(cells, cells, weight=1 * u.pA, synapse=ds.stdp_synapse(weight=1 * u.pA))
    with pytest.raises(UnknownNameError, match="Did you mean 'stdp_synapse'"):
        sim.connect(cells, cells, synapse="stpd_synapse")
    with pytest.raises(UnknownNameError, match="Did you mean 'lambda_'"):
        sim.connect(cells, cells, synapse={"synapse_model": "stdp_synapse", "lamda": 0.1})
    with pytest.raises(ParameterError, match="tau_minus"):
        sim.create(ds.iaf_psc_alpha, tau_minus=0 * u.ms)
    with pytest.raises(UnknownNameError, match="synapse"):
        sim.get_connections(synapse="tsodyks3_synapse")
    with pytest.raises(ConnectError, match="get_connections"):
        sim.get_connections(target=two()[1])


def test_all_ways_of_naming_the_synapse_are_one():
    found = []
    ways = (
        "stdp_synapse", ds.stdp_synapse, ds.stdp_synapse(lambda_=0.01), {"synapse_model": "stdp_synapse", "lambda": 0.01},
        ds.stdp_synapse(weight=1 * u.pA, delay=1 * u.ms),
    )  # fmt: skip
    for way in ways:
        sim, cells, _ = two()
        sim.connect(cells, cells, synapse=way)
        found.append(sim._connections[0].plasticity)
    assert all(f == found[0] for f in found) and found[0].parameters["Wmax"] == 100.0


def test_connections_are_found_by_source_target_and_model():
    sim, cells, jumpers = two(seed=5)
    rule = ds.explicit_edges([2, 0, 0, 1, 0], [1, 1, 0, 1, 1])
    sim.connect(cells, cells, rule=rule, weight=np.arange(1.0, 6) * u.pA, delay=2 * u.ms, synapse="stdp_synapse")
    sim.connect(cells[:1], jumpers, weight=0.5 * u.mV)
    found = sim.get_connections()
    assert found.source.tolist() == [0, 0, 0, 1, 2, 0, 0] and found.target.tolist() == [0, 1, 1, 1, 1, 3, 4]
    plastic = sim.get_connections(target=cells, synapse=ds.stdp_synapse)
    np.testing.assert_array_equal(plastic.get("weight").to_decimal(u.pA), [3, 2, 5, 4, 1])
    np.testing.assert_array_equal(plastic.delay.to_decimal(u.ms), [2] * 5)
    np.testing.assert_array_equal(plastic[[1, 4]].get("Kplus"), [0, 0])
    assert len(sim.get_connections(cells[2:], cells)) == 1 and len(sim.get_connections(jumpers)) == 0
    assert sim.get_connections(cells, jumpers).get("synapse_model").tolist() == ["static_synapse"] * 2
    with pytest.raises(ConnectError, match="pA and in mV"):
        found.get("weight")
    with pytest.raises(ConnectError, match="static synapses have none"):
        found.get("Kplus")
    with pytest.raises(UnknownNameError, match="weight"):
        found.get("wieght")
