"""Recorders and meters: any number of them, the rule obeyed, windows, unions of models."""

from __future__ import annotations

import brainunit as u
import numpy as np
import pytest

import dist_sim as ds
from dist_sim.errors import ConnectError, ParameterError, UnknownNameError
from dist_sim.run.directory import RunDirectory
from dist_sim.run.session import Session

TRAINS = [[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], np.arange(1, 13) * 0.5, np.arange(1, 17) * 0.4]
SIZES = [6, 12, 16]


def sources(**options):
    """A simulator, three neurons, and three spike generators of 6, 12 and 16 spikes."""
    sim = ds.Simulator(seed=1, **options)
    cells = sim.create(ds.iaf_psc_delta, 3, params=dict(t_ref=0.1 * u.ms))
    clocks = sim.create(ds.spike_generator, 3, params=dict(spike_times=[np.asarray(t) * u.ms for t in TRAINS]))
    sim.connect(clocks, cells, "one_to_one", weight=100 * u.mV, delay=1 * u.ms)
    return sim, cells, clocks


def times(events):
    return np.round(events[0].to_decimal(u.ms), 6).tolist()


def test_one_to_one_is_one_train_each():
    sim, cells, clocks = sources()
    of_cells, of_clocks, together = (sim.create(ds.spike_recorder, n) for n in (3, 3, 1))
    sim.connect(cells, of_cells, rule="one_to_one")
    sim.connect(clocks, of_clocks, "one_to_one")
    sim.connect(cells + clocks, together)
    result = sim.simulate(10 * u.ms)
    assert [len(result.events(of_cells[k])[1]) for k in range(3)] == SIZES
    assert [len(result.events(of_clocks[k])[1]) for k in range(3)] == SIZES
    for k in range(3):
        assert set(result.events(of_cells[k])[1]) == {cells.ids[k]}
        # A spike of 5 ms arrives at 6 ms, and the neuron spikes then.
        np.testing.assert_allclose(times(result.events(of_cells[k])), np.asarray(TRAINS[k]) + 1.0)
    assert len(result.events(of_cells)[1]) == 34 and len(result.events(together)[1]) == 68


@pytest.mark.parametrize("p", [0.0, 0.5, 1.0])
def test_pairs_by_chance(p):
    sim, cells, clocks = sources()
    recorders = sim.create(ds.spike_recorder, 40)
    sim.connect(cells + clocks, recorders, rule=ds.pairwise_bernoulli(p))
    result = sim.simulate(10 * u.ms)
    recorded = [len(set(result.events(recorders[k])[1])) for k in range(40)]
    assert (sum(recorded) == 240 * p) if p in (0.0, 1.0) else 70 < sum(recorded) < 170
    assert p != 0.5 or len(set(recorded)) > 2


def test_two_connections_record_twice():
    sim, cells, _ = sources()
    recorder = sim.create(ds.spike_recorder)
    sim.connect(cells[:1], recorder)
    sim.connect(cells, recorder)
    assert len(sim.simulate(10 * u.ms).events(recorder)[1]) == 34 + 6


def test_windows_are_nests():
    """start < time <= stop, after the origin."""
    sim, cells, _ = sources()
    given = [dict(start=2 * u.ms, stop=4 * u.ms), dict(origin=1 * u.ms, start=2 * u.ms, stop=3 * u.ms), dict(start=6.5 * u.ms)]
    recorders = [sim.create(ds.spike_recorder, **window) for window in given]
    several = sim.create(ds.spike_recorder, 2, start=np.array([2.0, 5.0]) * u.ms)
    for recorder in (*recorders, several):
        sim.connect(cells[:1], recorder)
    result = sim.simulate(10 * u.ms)  # spikes at 2, 3, ..., 7
    assert [times(result.events(r)) for r in recorders] == [[3.0, 4.0], [4.0], [7.0]]
    assert times(result.events(several[0])) == [3.0, 4.0, 5.0, 6.0, 7.0] and times(result.events(several[1])) == [6.0, 7.0]
    # What no window holds is not kept, and of a part of the time there is no rate.
    assert result.summary["spikes"] == 5 and not result.summary["rates"]


def test_meters_of_any_number_and_over_models():
    sim = ds.Simulator(seed=1, precision=64)
    exp = sim.create(ds.iaf_psc_exp, 3, params=dict(V_m=np.array([-61.0, -62.0, -63.0]) * u.mV))
    alpha = sim.create(ds.iaf_psc_alpha, 2, params=dict(V_m=np.array([-64.0, -65.0]) * u.mV))
    more = sim.create(ds.iaf_psc_exp, 1, params=dict(V_m=-66.0 * u.mV))
    each, over, late = (sim.create(ds.voltmeter, n, interval=0.1 * u.ms) for n in (3, 1, 1))
    by_kind = sim.create(ds.multimeter, 2, record_from=["V_m", "I_syn_ex"], interval=0.5 * u.ms)
    sim.connect(each, exp, "one_to_one")
    sim.connect(over, exp + alpha + more)
    sim.connect(by_kind, alpha + more)
    sim.connect(late, more)
    sim.connect(late, alpha[1:])
    result = sim.simulate(5 * u.ms)

    def first(meter, name="V_m"):
        return np.round(result.trace(meter, name)[0].to_decimal(u.mV), 0).tolist()

    assert [first(each[k]) for k in range(3)] == [[-61.0], [-62.0], [-63.0]] and first(each) == [-61.0, -62.0, -63.0]
    assert first(over) == [-61.0, -62.0, -63.0, -64.0, -65.0, -66.0]
    assert first(late) == [-66.0, -65.0]
    assert result.trace(by_kind).shape == (10, 6) and result.trace(by_kind[1], "I_syn_ex").shape == (10, 3)
    np.testing.assert_array_equal(result.trace(by_kind[0]).mantissa, result.trace(over)[4::5, 3:].mantissa)


@pytest.mark.parametrize(
    ("window", "expected"),
    [
        (dict(start=2.0, stop=4.0), [2.1, 2.8, 3.5]),
        (dict(origin=0.5, start=2.0, stop=4.0), [2.8, 3.5, 4.2]),
        (dict(start=2.1), [2.8, 3.5, 4.2, 4.9, 5.6, 6.3, 7.0, 7.7, 8.4, 9.1, 9.8]),
        (dict(stop=1.4), [0.7, 1.4]),
        (dict(start=3.0, stop=3.0), []),
    ],
    ids=str,
)
@pytest.mark.parametrize("chunk", [None, 0.3, 1.1])
def test_windows_of_meters_are_nests(window, expected, chunk):
    """Multiples of the interval with start < time <= stop (NEST 3.10 gives the first two)."""
    sim = ds.Simulator(seed=1, chunk=chunk and chunk * u.ms)
    cell = sim.create(ds.iaf_psc_exp, params=dict(I_e=300 * u.pA))
    meter, always = sim.create(ds.voltmeter, interval=0.7 * u.ms), sim.create(ds.voltmeter, interval=0.1 * u.ms)
    meter.set({name: value * u.ms for name, value in window.items()})
    sim.connect(meter, cell)
    sim.connect(always, cell)
    result = sim.simulate(10 * u.ms)
    np.testing.assert_allclose(result.times(meter).to_decimal(u.ms), expected)
    steps = np.rint(np.array(expected) / 0.1).astype(int) - 1
    np.testing.assert_array_equal(result.trace(meter).mantissa, result.trace(always).mantissa[steps])


def test_weight_recorders_of_any_number():
    sim, cells, clocks = sources()
    targets = sim.create(ds.iaf_psc_exp, 2)
    watchers = sim.create(ds.weight_recorder, 2, start=np.array([0.0, 2.0]) * u.ms, stop=np.array([np.inf, 4.0]) * u.ms)
    for k in range(2):
        sim.connect(clocks[k], targets[k], weight=(k + 1) * u.pA, synapse=ds.static_synapse(weight_recorder=watchers[k]))
    result = sim.simulate(10 * u.ms)
    assert result.events(watchers[0]).weights.to_decimal(u.pA).tolist() == [1.0] * 6
    assert result.events(watchers[1]).times.to_decimal(u.ms).tolist() == [2.5, 3.0, 3.5, 4.0]
    assert len(result.events(watchers).senders) == 10
    with pytest.raises(ConnectError, match="2 weight_recorders; a synapse has one"):
        ds_sim = sources()[0]
        two = ds_sim.create(ds.weight_recorder, 2)
        a = ds_sim.create(ds.iaf_psc_exp)
        ds_sim.connect(a, a, synapse=ds.static_synapse(weight_recorder=two))


@pytest.mark.parametrize("given", [dict(weight=2 * u.mV), dict(delay=1 * u.ms), dict(synapse=ds.static_synapse(delay=1 * u.ms))])
def test_what_means_nothing_to_a_recorder_is_refused(given):
    sim, cells, _ = sources()
    for side in ((cells, sim.create(ds.spike_recorder)), (sim.create(ds.voltmeter), cells)):
        with pytest.raises(ConnectError, match="means nothing between neurons and a recorder"):
            sim.connect(*side, **given)


@pytest.mark.parametrize("kept_in", ["memory", "files"])
def test_a_result_stays_when_the_run_goes_on(kept_in, tmp_path):
    sim = ds.Simulator(seed=2)
    clock = sim.create(ds.spike_generator, spike_times=np.arange(5.0, 95.0, 10.0) * u.ms)
    cells = sim.create(ds.iaf_psc_exp, 3, params=dict(I_e=600 * u.pA))
    parrot = sim.create(ds.parrot_neuron)
    spikes, meter, weights = (sim.create(m) for m in (ds.spike_recorder, ds.voltmeter, ds.weight_recorder))
    sim.connect(clock, parrot)
    sim.connect(parrot, cells, synapse=ds.static_synapse(weight_recorder=weights))
    sim.connect(cells, spikes)
    sim.connect(clock, spikes)
    sim.connect(meter, cells)

    def seen(result):
        times, senders = result.events(spikes)
        return [times.mantissa, senders, result.trace(meter).mantissa, result.events(weights).times.mantissa, result.digest]

    def go():
        first = sim.simulate(40 * u.ms)
        before = seen(first)
        second = sim.cont(40 * u.ms)
        for a, b in zip(seen(first), before, strict=True):
            np.testing.assert_array_equal(a, b)
        assert len(seen(second)[1]) > len(before[1]) > 5
        assert second.summary["spikes"] > first.summary["spikes"]

    if kept_in == "memory":
        go()
    else:
        with Session(directory=RunDirectory(tmp_path / "run")).active():
            go()


def test_what_cannot_be_met_is_refused():
    sim, cells, _ = sources()
    with pytest.raises(ConnectError, match="3 sources and 2 targets"):
        sim.connect(cells, sim.create(ds.spike_recorder, 2), "one_to_one")
    with pytest.raises(ParameterError, match="interval.*one for all meters"):
        sim.create(ds.voltmeter, 2, interval=np.array([0.1, 0.2]) * u.ms)
    with pytest.raises(ParameterError, match="start=0.25 ms.*multiple of dt"):
        sim.create(ds.spike_recorder, start=0.25 * u.ms)
    with pytest.raises(UnknownNameError, match="iaf_psc_delta: unknown recordable 'I_syn_ex'"):
        meter = sim.create(ds.multimeter, record_from=["V_m", "I_syn_ex"])
        sim.connect(meter, sim.create(ds.iaf_psc_exp) + cells)


@pytest.mark.parametrize("devices", [2, 3])
def test_placement_changes_nothing(devices):
    def run(devices):
        sim, cells, clocks = sources(devices=devices, placement="round_robin")
        more = sim.create(ds.iaf_psc_exp, 300, params=dict(I_e=ds.dist.Normal(500 * u.pA, 50 * u.pA)))
        recorders = sim.create(ds.spike_recorder, 5, start=3 * u.ms)
        meters = sim.create(ds.voltmeter, 3, interval=0.3 * u.ms, start=1 * u.ms)
        sim.connect(cells + more, recorders, ds.fixed_indegree(60))
        sim.connect(meters, cells + more, ds.pairwise_bernoulli(0.2))
        result = sim.simulate(30 * u.ms)
        traces = [result.trace(m).mantissa.tolist() for m in meters]
        return [result.events(r)[1].tolist() for r in recorders], traces, result.digest

    assert run(devices) == run(1)


def test_meters_that_ask_for_the_same_sample_together_what_each_would_alone():
    sim = ds.Simulator(seed=1)
    cells = sim.create("iaf_psc_exp", 12, I_e=ds.dist.Uniform(300 * u.pA, 700 * u.pA))
    of_all = sim.create("voltmeter", interval=0.1 * u.ms)
    sim.connect(of_all, cells)
    meters = []
    for k in range(8):
        window = {"start": 1 * u.ms, "stop": 3 * u.ms} if k % 4 == 3 else {}
        meters.append((sim.create("voltmeter", interval=[0.1, 0.2][k % 2] * u.ms, **window), slice(k, k + 1 + k % 3)))
        sim.connect(meters[-1][0], cells[meters[-1][1]])
    sim.simulate(2 * u.ms)
    result = sim.cont(3 * u.ms)
    everything, times = (x.mantissa for x in (result.trace(of_all), result.times(of_all)))
    assert len(sim._simulation.network.meters) == 2 and len(np.unique(everything[-1])) == 12
    for meter, columns in meters:
        rows = np.flatnonzero(np.isclose(times[:, None], result.times(meter).mantissa).any(axis=1))
        np.testing.assert_array_equal(result.trace(meter).mantissa, everything[rows][:, columns])
