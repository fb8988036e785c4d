"""Law 1: how a network is placed and run changes nothing, not one spike and not one bit of a trace."""

import brainunit as u
import numpy as np
import pytest
from laws.networks import NETWORKS, assert_conserved, brunel, mixed, projection_of, synapses_of, traces_of

import dist_sim as ds
from dist_sim.network import projection
from dist_sim.partition.mesh import neuron_mesh
from dist_sim.run.session import Session
from dist_sim.simulator.assembly import _threads

DURATION = 40 * u.ms
METHODS = ["block", "round_robin", "balanced"]
EXCHANGES = {"mask": ds.AllGather(), "ids": ds.AllGatherIds(capacity=4), "memory": "memory"}  # 4 ids: too few, chunks run again
CHUNKS = [None, 0.1, 0.7, 4.0]  # ms
# Every number of devices with every exchange; placements and chunk lengths take turns, so that each meets each device count.
PLACEMENTS = [
    (devices, METHODS[k % 3], exchange, CHUNKS[(k + k // 4) % 4])
    for k, (devices, exchange) in enumerate(
        [*((d, e) for e in ("mask", "ids") for d in (1, 2, 3, 4, 8)), (2, "memory"), (8, "memory")]
    )
]


def run(network, duration=DURATION, **options):
    sim = network(**options)
    return sim, sim.simulate(duration)


@pytest.fixture(scope="module", params=NETWORKS)
def on_one_device(request):
    """A network, and what it does on one device."""
    network = NETWORKS[request.param]
    sim, result = run(network, devices=1)
    rates = np.array(list(result.summary["rates"].values()))
    assert (rates > 0.1).all() and (rates < 120).all(), "a silent or saturated network proves nothing"
    assert_conserved(result)
    return network, result.digest, traces_of(sim, result), synapses_of(sim)


@pytest.mark.parametrize(("devices", "placement", "exchange", "chunk"), PLACEMENTS)
def test_spikes_traces_and_synapses_do_not_depend_on_the_placement(on_one_device, devices, placement, exchange, chunk):
    network, digest, traces, synapses = on_one_device
    chunk = None if chunk is None else chunk * u.ms
    sim, result = run(network, devices=devices, placement=placement, exchange=EXCHANGES[exchange], chunk=chunk)
    assert result.digest == digest
    for ours, theirs in zip(traces_of(sim, result), traces, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    np.testing.assert_array_equal(synapses_of(sim), synapses)
    assert_conserved(result)


@pytest.mark.parametrize("name", ["mixed", "brunel"])
def test_in_double_precision_too(name):
    network = NETWORKS[name]
    _, wanted = run(network, devices=2, precision=64)
    _, result = run(network, devices=3, precision=64, chunk=0.7 * u.ms, placement="round_robin")
    assert result.digest == wanted.digest
    assert_conserved(result)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("brunel", dict(devices=1, chunk=0.7 * u.ms)),
        ("mixed", dict(devices=2, exchange=ds.AllGatherIds(capacity=64), placement="round_robin")),
    ],
    ids=["brunel", "mixed"],
)
def test_the_reference_backend_gives_the_same_spikes(name, options):
    network, duration = NETWORKS[name], 16 * u.ms
    compiled, wanted = run(network, duration, devices=3)
    sim, result = run(network, duration, backend="reference", **options)
    np.testing.assert_array_equal(synapses_of(sim), synapses_of(compiled))
    assert result.digest == wanted.digest
    assert_conserved(result)


@pytest.mark.parametrize("name", ["mixed", "brunel"])
def test_pieces_of_a_run_are_the_run(name):
    network = NETWORKS[name]
    whole, wanted = run(network, devices=2)
    sim = network(devices=2, chunk=2.3 * u.ms)
    sim.simulate(7 * u.ms)  # a first try leaves nothing behind
    sim.simulate(0.4 * u.ms)
    for piece in (0.3, 0.0, 11.1, 28.2):
        result = sim.cont(piece * u.ms)
    assert result.digest == wanted.digest
    for ours, theirs in zip(traces_of(sim, result), traces_of(whole, wanted), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert_conserved(result)


def test_another_seed_is_another_network():
    assert run(brunel, seed=4)[1].digest != run(brunel, seed=5)[1].digest


def test_threads_are_those_that_the_command_line_gives_a_process():
    with Session(threads=6).active():
        assert [_threads(neuron_mesh(devices)) for devices in (1, 2, 8)] == [6, 3, 1]


def test_threads_change_nothing(monkeypatch):
    monkeypatch.setattr("dist_sim.simulator.assembly._threads", lambda mesh: 1)
    alone, wanted = run(mixed)
    monkeypatch.setattr("dist_sim.simulator.assembly._threads", lambda mesh: 5)
    together, result = run(mixed)
    assert result.digest == wanted.digest
    for name in ("present", "rank", "pointers", "synapses"):
        np.testing.assert_array_equal(*(np.asarray(getattr(projection_of(s), name).value) for s in (alone, together)))


def full_size(**options):
    """As many neurons as the full microcircuit, sparsely connected: blocks of vector code are cut at many places."""
    sim = ds.Simulator(seed=1, **options)
    start = dict(V_m=ds.dist.Uniform(-70 * u.mV, -55 * u.mV), I_e=ds.dist.Normal(300 * u.pA, 50 * u.pA))
    exc = sim.create(ds.iaf_psc_exp, 61_843, params=start)
    inh = sim.create(ds.iaf_psc_alpha, 15_326, params=start)
    noise, recorder = sim.create(ds.poisson_generator, rate=1000 * u.Hz), sim.create(ds.spike_recorder)
    for targets, weight in ((exc, 100 * u.pA), (inh, 40 * u.pA)):
        sim.connect(noise, targets, weight=ds.dist.Normal(weight, weight / 5), delay=1.5 * u.ms)
        sim.connect(targets, recorder)
    delay = ds.dist.Normal(1.5 * u.ms, 0.75 * u.ms, min=0.05 * u.ms)
    sim.connect(exc, exc, rule=ds.fixed_indegree(4), weight=ds.dist.Normal(90 * u.pA, 9 * u.pA), delay=delay)
    sim.connect(exc, inh, rule=ds.fixed_total_number(60_000), weight=ds.dist.Normal(40 * u.pA, 9 * u.pA), delay=delay)
    sim.connect(inh, exc, rule=ds.fixed_indegree(1), weight=-300 * u.pA, delay=0.1 * u.ms)
    return sim


def test_the_law_holds_at_the_size_of_the_full_microcircuit():
    results = [run(full_size, 15 * u.ms, devices=devices)[1] for devices in (1, 2, 3)]
    assert len({result.digest for result in results}) == 1
    assert results[0].summary["neurons"] == 77_169 and results[0].summary["spikes"] > 10_000
    for result in results:
        assert_conserved(result)


def test_keys_that_depend_on_the_device_are_seen(monkeypatch):
    """The law can be broken: a device that draws with a seed of its own gives another network and other spikes."""
    whole, wanted = run(mixed, devices=2)
    draw = projection.draw_table

    def of_this_device(connections, layout, device, *rest, seed, **options):
        return draw(connections, layout, device, *rest, seed=seed + device, **options)

    monkeypatch.setattr(projection, "draw_table", of_this_device)
    broken, result = run(mixed, devices=2)
    assert result.digest != wanted.digest
    assert synapses_of(broken).tolist() != synapses_of(whole).tolist()
    assert_conserved(result)
