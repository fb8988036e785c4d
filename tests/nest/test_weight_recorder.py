"""weight_recorder: the same events on any placement, chunk and interruption. (`test_stdp` compares them with NEST's.)"""

from __future__ import annotations

import brainunit as u
import numpy as np
import pytest
from laws.networks import DT
from run.checkpointed import StopAt

import dist_sim as ds
from dist_sim.errors import ConnectError, ParameterError, UnknownNameError
from dist_sim.network import weight_log
from dist_sim.run.checkpoint import CheckpointPolicy
from dist_sim.run.directory import RunDirectory
from dist_sim.run.session import Session
from dist_sim.run.stop import Stopped

DURATION = 25 * u.ms


def watched(**options):
    """Plastic and static synapses with one recorder, from neurons and from generators that send two spikes in one step; and a
    second recorder that hears a few."""
    sim = ds.Simulator(dt=DT, **({"seed": 4} | options))
    cells = sim.create(ds.iaf_psc_exp, 90, params=dict(V_m=ds.dist.Uniform(-70 * u.mV, -55 * u.mV), I_e=480 * u.pA))
    trains = [np.sort(np.random.default_rng(k).integers(1, 250, 30)) * DT for k in range(3)]
    clock = sim.create(ds.spike_generator, 3, params=dict(spike_times=[np.repeat(train, 2) for train in trains]))
    recorder, spikes = sim.create(ds.weight_recorder), sim.create(ds.spike_recorder)
    few = sim.create(ds.weight_recorder, senders=cells[:40], targets=[3, 50, 51])
    plastic = ds.stdp_synapse(weight=ds.dist.Uniform(1 * u.pA, 90 * u.pA), lambda_=0.1, weight_recorder=recorder)
    delay = ds.dist.Uniform(0.1 * u.ms, 2 * u.ms)
    sim.connect(cells + clock, cells, rule=ds.fixed_indegree(8), delay=delay, synapse=plastic)
    weight = ds.dist.Normal(-20 * u.pA, 5 * u.pA)
    static = ds.static_synapse(weight=weight, delay=delay, weight_recorder=recorder)
    sim.connect(cells + clock, cells, rule=ds.fixed_indegree(6), synapse=static)
    sim.connect(cells, cells, rule=ds.fixed_indegree(9), synapse=ds.stdp_synapse(weight=5 * u.pA, weight_recorder=few))
    sim.connect(cells, cells, rule=ds.fixed_indegree(3), synapse=ds.stdp_synapse(weight=5 * u.pA))
    sim.connect(cells, spikes)
    return sim, recorder, few, spikes


def run(duration=DURATION, **options):
    sim, *recorders = watched(**options)
    result = sim.simulate(duration)
    return sim, recorders, result


def columns(events):
    return [np.asarray(getattr(column, "mantissa", column)) for column in events]


def assert_same(result, recorders, wanted):
    for recorder, other in zip(recorders[:2], wanted, strict=True):
        for ours, theirs in zip(columns(result.events(recorder)), other, strict=True):
            np.testing.assert_array_equal(ours, theirs)


@pytest.fixture(scope="module")
def on_one_device():
    sim, recorders, result = run(devices=1)
    found = [columns(result.events(r)) for r in recorders[:2]]
    assert len(found[0][0]) > 2000 and len(found[1][0]) > 20
    return sim, recorders, result, found


def test_every_spike_that_has_arrived_is_there_once_with_the_weight_at_the_time(on_one_device):
    sim, (recorder, few, spikes), result, _ = on_one_device
    times, senders, targets, weights, receptors = columns(result.events(recorder))
    assert (np.lexsort((targets, senders, times)) == np.arange(len(times))).all() and not receptors.any()
    step, delay = (np.rint(np.asarray(x) / 0.1).astype(int) for x in (times, sim.get_connections().delay.mantissa))
    found = sim.get_connections()
    at, ids = result.events(spikes)
    at = np.rint(at.to_decimal(u.ms) / 0.1).astype(int)
    generated = [(int(t) + 1, 90 + k) for k, train in enumerate(sim._description().trains[sim._nodes[1]]) for t in train]
    at, ids = (np.concatenate([a, b]) for a, b in zip((at, ids), np.array(generated).T, strict=True))
    # 6 static synapses of each target have weights below 0, and 8 plastic ones are the recorder's: 1 to 90 pA at first.
    mine = (found.get("synapse_model") == "static_synapse") | (found._first != 5.0)
    expected = []
    for source, target, d in zip(found.source[mine], found.target[mine], delay[mine], strict=True):
        sent = at[ids == source]
        expected += [(t, source, target) for t in sent if t - 1 + d < 250]
    assert sorted(expected) == sorted(zip(step, senders, targets, strict=True))
    static = sim.get_connections(synapse="static_synapse")
    assert set(weights[weights < 0]) <= set(static.get("weight").mantissa)


def test_of_a_plastic_synapse_the_last_weight_is_the_one_it_has():
    """Postsynaptic spikes after the last presynaptic one are not in yet."""
    sim, (recorder, _, _), result = run(devices=2)
    times, senders, targets, weights, _ = columns(result.events(recorder))
    found = sim.get_connections(synapse="stdp_synapse")
    now = found.get("weight").mantissa
    pairs = list(zip(found.source, found.target, strict=True))
    single = [k for k, pair in enumerate(pairs) if pairs.count(pair) == 1]
    seen = 0
    for k in single:
        mine = (senders == pairs[k][0]) & (targets == pairs[k][1]) & (weights > 0)
        if mine.any() and found._first[k] != 5.0:
            seen += 1
            assert weights[mine][-1] == now[k]
    assert seen > 200


@pytest.mark.parametrize(
    ("devices", "placement", "exchange", "chunk"),
    [(2, "round_robin", "mask", 4.0), (3, "balanced", "ids", None), (8, "block", "mask", 0.7)],
)
def test_placement_and_chunks_change_nothing(on_one_device, devices, placement, exchange, chunk):
    chunk = None if chunk is None else chunk * u.ms
    _, recorders, result = run(devices=devices, placement=placement, exchange=exchange, chunk=chunk)
    assert_same(result, recorders, on_one_device[3])


def test_threads_change_nothing(monkeypatch, on_one_device):
    monkeypatch.setattr("dist_sim.simulator.assembly._threads", lambda mesh: 5)
    _, recorders, result = run()
    assert_same(result, recorders, on_one_device[3])


def test_the_reference_backend_records_the_same():
    (_, ours, one), (_, theirs, other) = (run(4 * u.ms, backend=backend, precision=64) for backend in ("reference", "native"))
    a, b = columns(one.events(ours[0])), columns(other.events(theirs[0]))
    assert len(a[0]) > 100
    for left, right in zip(a[:3], b[:3], strict=True):
        np.testing.assert_array_equal(left, right)
    np.testing.assert_allclose(a[3], b[3], rtol=1e-11)


def test_a_log_that_overflows_is_made_larger(monkeypatch, on_one_device):
    monkeypatch.setattr(weight_log, "_FIRST_ROOM", 4)
    sim, recorders, result = run(devices=3)
    assert sim._simulation.network.projection.plastic["stdp_synapse"].log.room > 4
    assert_same(result, recorders, on_one_device[3])
    assert result.digest == on_one_device[2].digest


def test_recording_changes_no_spike_and_costs_nothing_where_there_is_none(on_one_device, monkeypatch):
    monkeypatch.setattr("dist_sim.simulator.simulator.read_recorder", lambda *_: None)
    sim, recorders, result = run(devices=2)
    assert result.digest == on_one_device[2].digest
    assert sim._simulation.network.projection.plastic["stdp_synapse"].log is None
    assert len(result.events(recorders[0]).times) == 0


@pytest.mark.parametrize(("before", "after"), [(1, 3), (4, 2)])
def test_it_goes_on_after_a_checkpoint(tmp_path, on_one_device, before, after):
    policy = CheckpointPolicy(every=0.0, keep_last=1)
    directory = RunDirectory(tmp_path / "run")
    with pytest.raises(Stopped), Session(directory=directory, checkpoints=policy, stop=StopAt(5)).active():
        run(devices=before, chunk=2.3 * u.ms)
    directory.close()
    directory = RunDirectory.resume(tmp_path / "run")
    with Session(directory=directory, checkpoints=policy).active():
        _, recorders, result = run(devices=after, placement="round_robin")
        assert_same(result, recorders, on_one_device[3])
    directory.close()


def test_pieces_of_a_run_are_the_run(on_one_device):
    sim, *recorders = watched(devices=2)
    sim.simulate(3 * u.ms)
    early = sim.simulate(1.1 * u.ms)
    for piece in (8.3, 0.1, 15.5):
        result = sim.cont(piece * u.ms)
    assert_same(result, recorders, on_one_device[3])
    times, before = columns(result.events(recorders[0]))[0], len(early.events(recorders[0]).times)
    assert 0 < before <= (times <= 1.1 + 1e-9).sum()


def test_wrong_uses_are_refused():
    sim = ds.Simulator(dt=DT)
    cells, jumpers = sim.create(ds.iaf_psc_exp, 3), sim.create(ds.iaf_psc_delta, 2)
    recorder, noise = sim.create(ds.weight_recorder), sim.create(ds.poisson_generator, rate=1 * u.Hz)
    other = ds.Simulator(dt=DT).create(ds.weight_recorder)
    wrong = [
        ("is given to synapses", cells, recorder, None),
        ("is given to synapses", recorder, cells, None),
        ("what create", cells, cells, ds.stdp_synapse(weight_recorder=cells)),
        ("another Simulator", cells, cells, ds.stdp_synapse(weight_recorder=other)),
        ("no synapses whose weights", noise, cells, ds.static_synapse(weight_recorder=recorder)),
    ]
    for words, pre, post, synapse in wrong:
        with pytest.raises(ConnectError, match=words):
            sim.connect(pre, post, synapse=synapse or "static_synapse")
    sim.connect(cells, cells, synapse={"synapse_model": "stdp_synapse", "weight_recorder": recorder})
    with pytest.raises(ConnectError, match="records weights in pA"):
        sim.connect(cells, jumpers, synapse=ds.static_synapse(weight_recorder=recorder))
    with pytest.raises(ParameterError, match="neurons are needed"):
        sim.create(ds.weight_recorder, senders="all")
    with pytest.raises(UnknownNameError, match="senders"):
        sim.create(ds.weight_recorder, sender=cells)
    with pytest.raises(ConnectError, match="recorder of spikes or weights"):
        sim.simulate(1 * u.ms).events(cells)
