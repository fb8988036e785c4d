"""Attributes of nodes: obeyed until the network is built, as if `create` had been told; else refused."""

from __future__ import annotations

import brainunit as u
import numpy as np
import pytest

import dist_sim as ds
from dist_sim.errors import ConnectError, ParameterError, UnitError, UnknownNameError


def run(build, **options):
    sim = ds.Simulator(seed=1, **options)
    cells, recorder = build(sim), sim.create(ds.spike_recorder)
    sim.connect(cells, recorder)
    return sim.simulate(100 * u.ms).digest


def told(**params):
    return lambda sim: sim.create(ds.iaf_psc_exp, 10, params=params)


def set_later(**params):
    def build(sim):
        cells = sim.create(ds.iaf_psc_exp, 10, dict(I_e=1 * u.pA))
        for name, value in params.items():
            setattr(cells, name, value)
        return cells

    return build


@pytest.mark.parametrize(
    "params",
    [
        dict(I_e=800 * u.pA),
        dict(I_e=np.linspace(400, 900, 10) * u.pA),
        dict(I_e=ds.dist.Normal(600 * u.pA, 50 * u.pA)),
        dict(I_e=800 * u.pA, V_m=ds.dist.Uniform(-70 * u.mV, -60 * u.mV), t_ref=1 * u.ms),
    ],
    ids=lambda p: ", ".join(p),
)
def test_an_attribute_is_what_create_is_told(params):
    wanted = run(told(**params))
    assert wanted != run(told(I_e=1 * u.pA))
    assert run(set_later(**params)) == wanted


def test_parts_and_unions():
    current = np.concatenate([np.full(4, 500.0), np.linspace(600, 900, 6), np.full(5, 700.0)])

    def whole(sim):
        a = sim.create(ds.iaf_psc_exp, 10, params=dict(I_e=current[:10] * u.pA))
        return a + sim.create(ds.iaf_psc_alpha, 5, params=dict(I_e=current[10:] * u.pA))

    def parts(sim):
        a, b = sim.create(ds.iaf_psc_exp, 10), sim.create(ds.iaf_psc_alpha, 5)
        (a + b).I_e = 1 * u.pA
        (a + b)[4:].set(I_e=current[4:] * u.pA)
        a[:4].I_e = 500 * u.pA
        return a + b

    assert run(parts) == run(whole)


def test_a_part_keeps_what_the_others_were_drawn():
    def values(*changes):
        sim = ds.Simulator(seed=1)
        cells = sim.create(ds.iaf_psc_exp, 6, params=dict(V_m=ds.dist.Normal(-65 * u.mV, 1 * u.mV)))
        for part, value in changes:
            cells[part].V_m = value
        meter = sim.create(ds.voltmeter, interval=0.1 * u.ms)
        sim.connect(meter, cells)
        return np.asarray(sim.simulate(0.1 * u.ms).trace(meter).mantissa)[0]

    before, after = values(), values((slice(2, 4), -60 * u.mV))
    np.testing.assert_array_equal(after[[0, 1, 4, 5]], before[[0, 1, 4, 5]])
    assert (after[2:4] > -60.2).all()
    again = values((slice(2, 4), -60 * u.mV), (slice(2, 4), ds.dist.Normal(-65 * u.mV, 1 * u.mV)))
    np.testing.assert_array_equal(again, before)


def test_devices_too_also_after_connect():
    def build(late):
        sim = ds.Simulator(seed=1)
        cells, noise = sim.create(ds.iaf_psc_exp, 5), sim.create(ds.poisson_generator, 3)
        recorder = sim.create(ds.spike_recorder)
        if not late:
            noise.rate = np.array([1000.0, 3000.0, 5000.0]) * u.Hz
            noise[1].start = 20 * u.ms
        sim.connect(noise, cells, weight=60 * u.pA)
        sim.connect(cells, recorder)
        if late:
            noise.set(rate=np.array([1000.0, 1.0, 5000.0]) * u.Hz, start=np.array([0.0, 20.0, 0.0]) * u.ms)
            noise[1].rate = 3000 * u.Hz
        result = sim.simulate(100 * u.ms)
        assert result.summary["spikes"] > 10
        return result.digest

    assert build(True) == build(False)


def test_series_of_one_generator_of_several():
    sim = ds.Simulator(seed=1)
    clocks, recorder = sim.create(ds.spike_generator, 2, dict(spike_times=np.array([1.0]) * u.ms)), sim.create(ds.spike_recorder)
    sim.create(ds.iaf_psc_exp)
    clocks[1].spike_times = np.array([2.0, 3.0]) * u.ms
    sim.connect(clocks, recorder)
    times, senders = sim.simulate(5 * u.ms).events(recorder)
    assert times.to_decimal(u.ms).tolist() == [1.0, 2.0, 3.0] and senders.tolist() == [0, 1, 1]


def test_a_distribution_over_generators():
    sim = ds.Simulator(seed=1)
    noise = sim.create(ds.poisson_generator, 1000, rate=ds.dist.Normal(100 * u.Hz, 5 * u.Hz))
    rates = noise.node.device.rate
    assert abs(rates.mean() - 100) < 1 and abs(rates.std() - 5) < 0.5
    other = sim.create(ds.poisson_generator, 1000, rate=ds.dist.Normal(100 * u.Hz, 5 * u.Hz))
    assert (other.node.device.rate != rates).any()


REFUSED = {
    "unknown": (UnknownNameError, "unknown parameter 'nonsense'", lambda s, n: setattr(n["a"], "nonsense", 3)),
    "misspelt": (UnknownNameError, "'I_ee'. Did you mean 'I_e'", lambda s, n: setattr(n["a"], "I_ee", 3 * u.pA)),
    "misspelt of a device": (UnknownNameError, "'amplitud'. Did you mean", lambda s, n: setattr(n["dc"], "amplitud", 3 * u.pA)),
    "without unit": (UnitError, "needs a current", lambda s, n: setattr(n["a"], "I_e", 800)),
    "of another unit": (UnitError, "needs a current", lambda s, n: setattr(n["dc"], "amplitude", 800 * u.mV)),
    "too many": (ParameterError, "3 values for 10", lambda s, n: setattr(n["a"], "I_e", np.ones(3) * u.pA)),
    "too many of a union": (ParameterError, "3 values for 12", lambda s, n: setattr(n["a"] + n["b"], "I_e", np.ones(3) * u.pA)),
    "bounds": (ParameterError, "above 0", lambda s, n: setattr(n["a"], "C_m", 0 * u.pF)),
    "together": (ParameterError, "V_reset must be below", lambda s, n: setattr(n["a"], "V_th", -80 * u.mV)),
    "of one of a union": (UnknownNameError, "tau_syn_ex", lambda s, n: setattr(n["b"] + n["c"], "tau_syn_ex", 3 * u.ms)),
    "what a view is of": (ParameterError, "does not change", lambda s, n: setattr(n["a"], "ids", np.arange(3))),
    "connected": (ConnectError, "is connected already", lambda s, n: setattr(n["meter"], "record_from", ["I_syn_ex"])),
    "built": (ConnectError, "built.*new Simulator", lambda s, n: (s.simulate(0 * u.ms), setattr(n["a"], "I_e", 1 * u.pA))),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_obeyed_is_refused(case):
    error, words, change = REFUSED[case]
    sim = ds.Simulator(seed=1)
    nodes = {
        "a": sim.create("iaf_psc_exp", 10), "b": sim.create("iaf_psc_alpha", 2), "c": sim.create("iaf_psc_delta", 2),
        "dc": sim.create("dc_generator"), "meter": sim.create("voltmeter"),
    }  # fmt: skip
    sim.connect(nodes["meter"], nodes["a"])
    before = {name: (view.node.draws, view.node.device) for name, view in nodes.items()}
    with pytest.raises(error, match=words):
        change(sim, nodes)
    assert before == {name: (view.node.draws, view.node.device) for name, view in nodes.items()}


def test_params_and_rule_by_position():
    sim = ds.Simulator(seed=1)
    a = sim.create("iaf_psc_exp", 5, {"I_e": 800 * u.pA})
    b = sim.create("iaf_psc_exp", 5)
    sim.connect(a, b, "one_to_one", weight=np.arange(5.0) * u.pA)
    assert sim.get_connections(a, b).get("weight").to_decimal(u.pA).tolist() == [0, 1, 2, 3, 4]
