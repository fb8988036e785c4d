"""The laws with plastic synapses: no placement, chunk, moment of bringing up to date or resumption changes them."""

import brainunit as u
import numpy as np
import pytest
from laws.networks import DT, assert_conserved
from laws.test_placement import EXCHANGES
from run.checkpointed import StopAt, copied

import dist_sim as ds
from dist_sim.core import transform
from dist_sim.kernels import plastic as plastic_kernels
from dist_sim.network import plasticity, projection
from dist_sim.run.checkpoint import CheckpointPolicy
from dist_sim.run.directory import RunDirectory
from dist_sim.run.session import Session
from dist_sim.run.stop import Stopped

DURATION = 40 * u.ms
PLACEMENTS = [
    (1, "block", "mask", 0.7), (2, "round_robin", "mask", 4.0), (3, "balanced", "ids", None), (8, "round_robin", "ids", 4.0),
]  # fmt: skip


def plastic(**options):
    """Three plastic connections with parameters of their own, and a static one, from neurons and from generators; autapses and
    multapses. Delays are from one step, shorter than t_ref, to 2 ms."""
    sim = ds.Simulator(dt=DT, **({"seed": 21} | options))
    start = dict(V_m=ds.dist.Uniform(-70 * u.mV, -55 * u.mV), I_e=480 * u.pA, t_ref=1.0 * u.ms)
    exc = sim.create(
        ds.iaf_psc_exp, 211, params=start | dict(tau_syn_in=4 * u.ms), tau_minus=ds.dist.Uniform(15 * u.ms, 25 * u.ms)
    )
    inh = sim.create(ds.iaf_psc_delta, 47, params=start | dict(I_e=300 * u.pA))
    trains = np.random.default_rng(5).integers(1, 600, (7, 40))
    clock = sim.create(ds.spike_generator, 7, params=dict(spike_times=[np.sort(train) * DT for train in trains]))
    noise, recorder = sim.create(ds.poisson_generator, rate=3000 * u.Hz), sim.create(ds.spike_recorder)
    sim.connect(noise, exc, weight=30 * u.pA, delay=1.5 * u.ms)
    sim.connect(
        exc, exc, rule=ds.fixed_indegree(30), delay=ds.dist.Uniform(0.1 * u.ms, 2 * u.ms),
        synapse=ds.stdp_synapse(weight=ds.dist.Uniform(10 * u.pA, 90 * u.pA), lambda_=0.1, mu_plus=0.4, mu_minus=0.3),
    )  # fmt: skip
    sim.connect(
        exc + clock, inh, rule=ds.fixed_indegree(40), delay=0.5 * u.ms,
        synapse=ds.stdp_synapse(weight=0.4 * u.mV, Wmax=1 * u.mV, tau_plus=10 * u.ms, mu_plus=0, mu_minus=0),
    )  # fmt: skip
    sim.connect(
        inh, exc, rule=ds.pairwise_bernoulli(0.2), delay=0.7 * u.ms,
        synapse=ds.stdp_synapse(weight=-60 * u.pA, Wmax=-200 * u.pA, lambda_=0.05),
    )  # fmt: skip
    sim.connect(exc, inh, rule=ds.fixed_total_number(500), weight=0.2 * u.mV, delay=1.2 * u.ms)
    for population in (exc, inh):
        sim.connect(population, recorder)
    return sim


def run(duration=DURATION, **options):
    sim = plastic(**options)
    return sim, sim.simulate(duration)


def synapses_of(sim):
    """Source, target, delay, weight and Kplus of every plastic synapse."""
    found = sim.get_connections(synapse="stdp_synapse")
    return [
        found.source,
        found.target,
        found.delay.mantissa,
        sim._simulation.network.projection.plastic["stdp_synapse"].synapses(),
    ]


def assert_same(sim, result, other, wanted):
    assert result.digest == wanted.digest
    for ours, theirs in zip(synapses_of(sim), synapses_of(other), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.fixture(scope="module")
def on_one_device():
    sim, result = run(devices=1)
    rates = np.array(list(result.summary["rates"].values()))
    assert (rates > 5).all() and (rates < 160).all(), rates
    assert_conserved(result)
    weights = synapses_of(sim)[3][:, 0]
    assert len(np.unique(weights)) > 0.9 * len(weights), "nearly every weight was to change"
    return sim, result


@pytest.mark.parametrize(("devices", "placement", "exchange", "chunk"), PLACEMENTS)
def test_spikes_and_weights_do_not_depend_on_the_placement(on_one_device, devices, placement, exchange, chunk):
    chunk = None if chunk is None else chunk * u.ms
    sim, result = run(devices=devices, placement=placement, exchange=EXCHANGES[exchange], chunk=chunk)
    assert_same(sim, result, *on_one_device)
    assert_conserved(result)


def test_nor_in_double_precision():
    (one, wanted), (three, result) = run(devices=1, precision=64), run(devices=3, precision=64, placement="round_robin")
    assert_same(three, result, one, wanted)


def test_the_reference_backend_gives_the_same_spikes():
    compiled, wanted = run(3 * u.ms, devices=2)
    sim, result = run(3 * u.ms, devices=1, backend="reference")
    assert result.digest == wanted.digest and result.summary["delivered_events"] > 300
    ours, theirs = synapses_of(sim)[3], synapses_of(compiled)[3]
    np.testing.assert_allclose(ours, theirs, rtol=30 * np.finfo(ours.dtype).eps, atol=0)


def test_threads_change_nothing(monkeypatch, on_one_device):
    monkeypatch.setattr("dist_sim.simulator.assembly._threads", lambda mesh: 5)
    assert_same(*run(), *on_one_device)


def test_bringing_synapses_up_to_date_earlier_changes_nothing(monkeypatch, on_one_device):
    monkeypatch.setattr(plastic_kernels, "PERIOD", 7)
    sim, result = run(devices=2)
    assert_same_when_settled(sim, result, *on_one_device)


def assert_same_when_settled(sim, result, other, wanted):
    """Weights that hold more spikes of the targets now are the same once the next presynaptic spike has come."""
    assert result.digest == wanted.digest
    ours, theirs = synapses_of(sim)[3], synapses_of(other)[3]
    np.testing.assert_array_equal(ours[:, 1], theirs[:, 1])
    assert (ours[:, 0] == theirs[:, 0]).mean() > 0.05


def test_rings_that_overflow_are_made_larger(monkeypatch, on_one_device):
    monkeypatch.setattr(plasticity, "_FIRST_CAPACITY", 2)
    sim, result = run(devices=3, chunk=4 * u.ms)
    assert sim._simulation.network.projection.plastic["stdp_synapse"].post_steps.value.shape[1] > 2
    assert_same(sim, result, *on_one_device)


@pytest.mark.parametrize(("before", "after"), [(1, 3), (8, 2)])
def test_a_run_goes_on_on_other_devices(tmp_path, on_one_device, before, after):
    stopped_and_gone_on(tmp_path, before, [after], on_one_device)


@pytest.mark.slow
@pytest.mark.parametrize("before", [1, 2, 3, 4, 8])
def test_a_run_goes_on_on_any_devices(tmp_path, on_one_device, before):
    stopped_and_gone_on(tmp_path, before, [1, 2, 3, 4, 8], on_one_device)


def stopped_and_gone_on(path, before, after, wanted):
    """Stopped in the middle of it, with spikes in flight, and gone on from its checkpoint."""
    policy = CheckpointPolicy(every=0.0, keep_last=1)
    directory = RunDirectory(path / "run")
    with pytest.raises(Stopped), Session(directory=directory, checkpoints=policy, stop=StopAt(3)).active():
        run(devices=before, placement="round_robin", chunk=7.3 * u.ms)
    directory.close()
    for devices in after:
        directory = copied(path / "run", path / f"on-{devices}")
        with Session(directory=directory, checkpoints=policy).active():
            sim, result = run(devices=devices, chunk=5 * u.ms)
        directory.close()
        assert_same(sim, result, *wanted)


def test_pieces_of_a_run_are_the_run(on_one_device):
    sim = plastic(devices=2)
    sim.simulate(7 * u.ms)
    sim.simulate(0.4 * u.ms)
    for piece in (0.3, 11.1, 28.2):
        result = sim.cont(piece * u.ms)
    assert_same(sim, result, *on_one_device)


def test_one_compilation_for_a_run_of_any_length():
    transform.forget_programs()
    sim = plastic(devices=2, chunk=3.7 * u.ms)
    sim.simulate(0 * u.ms)
    for duration in (0.1, 3.7, 11.0):
        sim.cont(duration * u.ms)
    assert sim._simulation.loop.advance.compilations == 1


def test_a_generator_is_as_good_as_a_neuron_that_it_fires():
    """A source from outside and a relay give a synapse the same weight."""
    sim = ds.Simulator(dt=DT, precision=64)
    fired = dict(E_L=0 * u.mV, V_reset=0 * u.mV, V_th=500 * u.mV, t_ref=0 * u.ms, tau_m=1 * u.ms)
    relay, post = (sim.create(ds.iaf_psc_delta, n, params=fired) for n in (1, 2))
    times = np.array([3, 10, 11, 50, 52, 53, 90])
    early, late, clock = (
        sim.create(ds.spike_generator, params=dict(spike_times=t * DT)) for t in (times - 1, times, np.arange(5, 95, 7))
    )
    sim.connect(early, relay, weight=1000 * u.mV, delay=DT)
    sim.connect(clock, post, weight=1000 * u.mV, delay=DT)
    for source, target in ((relay, post[:1]), (late, post[1:])):
        sim.connect(source, target, synapse=ds.stdp_synapse(weight=30 * u.mV, delay=0.4 * u.ms, lambda_=0.1))
    sim.simulate(11 * u.ms)
    relayed, direct = sim.get_connections(synapse="stdp_synapse").get("weight").to_decimal(u.mV)
    assert relayed == direct and relayed not in (0.0, 30.0)


def test_a_device_that_keeps_its_own_time_is_seen(monkeypatch, on_one_device):
    """The law can be broken: weights that depend on where the synapse lies give other spikes."""
    draw = projection.draw_table

    def shifted(*args, **options):
        table, share = draw(*args, **options)
        of_model = share["stdp_synapse"]
        of_model.weight[of_model.target < 10] *= 0.5
        return table, share

    monkeypatch.setattr(projection, "draw_table", shifted)
    (one, first), (two, second) = run(devices=1), run(devices=2)
    assert not np.array_equal(synapses_of(one)[3], synapses_of(two)[3]) and first.digest != second.digest
