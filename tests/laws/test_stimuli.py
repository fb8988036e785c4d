"""Laws 1, 2 and 9 for stimulating devices: what they send depends on no placement, backend or interruption."""

from __future__ import annotations

import brainunit as u
import numpy as np
import pytest
from run.checkpointed import CHUNK, copied, go, told

import dist_sim as ds
from dist_sim.nest.devices import DEVICES, CurrentGenerator, Generator, RateGenerator
from dist_sim.run.directory import RunDirectory

GIVEN = {
    "ac_generator": dict(amplitude=300 * u.pA, frequency=np.array([40.0, 90.0]) * u.Hz, offset=250 * u.pA, phase=20.0),
    "dc_generator": dict(amplitude=np.array([200.0, 150.0]) * u.pA, start=np.array([1.0, 9.0]) * u.ms),
    "gamma_sup_generator": dict(rate=60 * u.Hz, n_proc=np.array([150.0, 60.0]), gamma_shape=np.array([3.0, 2.0])),
    "inhomogeneous_poisson_generator": dict(
        rate_times=[[1.0, 20.0] * u.ms, [15.0] * u.ms], rate_values=[[4000.0, 9000.0] * u.Hz, [5000.0] * u.Hz]
    ),
    "mip_generator": dict(rate=9000 * u.Hz, p_copy=np.array([0.7, 0.3])),
    "noise_generator": dict(mean=300 * u.pA, std=300 * u.pA, dt=0.7 * u.ms),
    "poisson_generator": dict(rate=np.array([6000.0, 3000.0]) * u.Hz),
    "ppd_sup_generator": dict(
        rate=60 * u.Hz, n_proc=120, dead_time=np.array([4.0, 2.0]) * u.ms, frequency=40 * u.Hz, relative_amplitude=0.7
    ),
    "pulsepacket_generator": dict(pulse_times=[10.0, 30.0] * u.ms, activity=150, sdev=3 * u.ms),
    "sinusoidal_poisson_generator": dict(rate=6000 * u.Hz, amplitude=4000 * u.Hz, frequency=60 * u.Hz),
    "spike_generator": dict(spike_times=np.arange(1, 40) * 1.0 * u.ms, spike_weights=np.resize([2.0, 1.0, -0.5, 6.0], 39)),
    "step_current_generator": dict(amplitude_times=[1.0, 20.0] * u.ms, amplitude_values=[500.0, 250.0] * u.pA),
}


def test_every_generator_is_here():
    assert set(GIVEN) == {n for n, d in DEVICES.items() if issubclass(d, Generator) and not issubclass(d, RateGenerator)}


def network(model, **options):
    """Two generators on parts of two models, with different weights, over two connections; the neurons talk to each other."""
    sim = ds.Simulator(**({"seed": 7} | options))
    at_rest = dict(V_m=ds.dist.Uniform(-65 * u.mV, -56 * u.mV))
    exp = sim.create(ds.iaf_psc_exp, 203, params=at_rest | dict(tau_syn_ex=0.5 * u.ms))
    alpha = sim.create(ds.iaf_psc_alpha, 97, params=at_rest)
    generators, recorder, meter = sim.create(model, 2, GIVEN[model]), sim.create(ds.spike_recorder), sim.create(ds.voltmeter)
    current = issubclass(DEVICES[model], CurrentGenerator)
    weight = {} if current else dict(weight=ds.dist.Normal(90 * u.pA, 40 * u.pA))
    sim.connect(generators, exp + alpha, delay=0.3 * u.ms, **weight)
    sim.connect(generators[1], (exp + alpha)[50:250], delay=2.1 * u.ms, **({"weight": 0.3} if current else {"weight": 40 * u.pA}))
    sim.connect(exp, alpha, rule=ds.fixed_indegree(5), weight=20 * u.pA, delay=1.1 * u.ms)
    sim.connect(exp + alpha, recorder)
    sim.connect(meter, (exp + alpha)[::9])
    return sim, meter


def run(model, **options):
    sim, meter = network(model, **options)
    result = sim.simulate(40 * u.ms)
    return result.digest, result.trace(meter).mantissa, result.summary["spikes"]


@pytest.fixture(scope="module", params=GIVEN)
def wanted(request):
    digest, trace, spikes = run(request.param)
    assert 100 < spikes < 300 * 40, "a silent or saturated network proves nothing"
    return request.param, digest, trace


@pytest.mark.parametrize(
    "options",
    [
        dict(devices=2, placement="round_robin"),
        dict(devices=3, chunk=0.7 * u.ms),
    ],
    ids=["2", "3"],
)
def test_placement_changes_nothing(wanted, options):
    model, digest, trace = wanted
    found, traced, _ = run(model, **options)
    np.testing.assert_array_equal(traced, trace)
    assert found == digest


@pytest.mark.parametrize("model", GIVEN)
def test_the_backend_changes_nothing(model):
    """What arrives, in neurons that only add it up: of them the reference may contract, and differ in a last bit."""

    def received(**options):
        sim = ds.Simulator(seed=7, precision=64, **options)
        cells = sim.create(ds.iaf_psc_delta, 30, dict(tau_m=1e4 * u.ms, C_m=1 * u.pF, V_th=1e9 * u.mV))
        generators, meter = sim.create(model, 2, GIVEN[model]), sim.create(ds.voltmeter, interval=0.1 * u.ms)
        current = issubclass(DEVICES[model], CurrentGenerator)
        sim.connect(generators, cells, **({} if current else dict(weight=ds.dist.Normal(90 * u.mV, 40 * u.mV))))
        sim.connect(meter, cells)
        return sim.simulate(40 * u.ms).trace(meter).mantissa

    compiled = received(devices=3)
    assert compiled.std() > 1
    np.testing.assert_allclose(received(devices=2, backend="reference"), compiled, rtol=1e-11)


@pytest.mark.parametrize("model", ["gamma_sup_generator", "ppd_sup_generator", "noise_generator", "mip_generator"])
def test_a_resumed_run_is_the_unbroken_one(model, tmp_path):
    def build(**options):
        return network(model, chunk=CHUNK * u.ms, **options)[0]

    wanted = told(build().simulate(40 * u.ms))
    directory = RunDirectory(tmp_path / "run")
    assert go(directory, chunks=4, network=build, devices=2) is None
    for devices in (1, 3):
        result = go(copied(directory.path, tmp_path / str(devices)), network=build, devices=devices)
        assert told(result) == wanted


@pytest.mark.parametrize("number", [3, 70])
def test_many_trains_of_different_weights_on_one_neuron(number, monkeypatch):
    """More than the kernels take one by one go through one loop, of the same numbers."""

    def run(kernels):
        monkeypatch.setattr("dist_sim.simulator.stimuli._KERNELS", kernels)
        sim = ds.Simulator(seed=1)
        exp, delta = sim.create(ds.iaf_psc_exp, 40), sim.create(ds.iaf_psc_alpha, 30)
        noise = sim.create(ds.poisson_generator, number, rate=np.linspace(1, 9000 / number, number) * u.Hz, start=2 * u.ms)
        meter = sim.create(ds.voltmeter, interval=0.1 * u.ms)
        sim.connect(noise, exp + delta, weight=ds.dist.Normal(40 * u.pA, 40 * u.pA))
        sim.connect(meter, exp + delta)
        return sim.simulate(15 * u.ms).trace(meter).mantissa

    one_by_one, together = run(100), run(1)
    assert one_by_one.std() > 0.1
    np.testing.assert_array_equal(together, one_by_one)


def test_a_thousand_generators_of_different_weights():
    """The mean input of a neuron is the sum over its generators."""
    sim = ds.Simulator(seed=1, precision=64)
    cells = sim.create(ds.iaf_psc_delta, 20, dict(tau_m=1e4 * u.ms, C_m=1 * u.pF, V_th=1e9 * u.mV))
    noise = sim.create(ds.poisson_generator, 1000, rate=20 * u.Hz)
    meter = sim.create(ds.voltmeter, interval=0.1 * u.ms)
    weights = np.linspace(0.5, 1.5, 20 * 1000).reshape(20, 1000)
    sim.connect(noise, cells, weight=weights * u.mV)
    sim.connect(meter, cells)
    rise = sim.simulate(50 * u.ms).trace(meter).to_decimal(u.mV)[-1] + 70.0
    expected = weights.sum(axis=1) * 20 * 48.9e-3
    np.testing.assert_allclose(rise, expected, atol=5 * (1.1 * expected.max()) ** 0.5)


@pytest.mark.parametrize("precision", [32, 64])
def test_spikes_of_one_step_add_up(precision):
    """As many as a generator holds for one step: their sum must fit the integers of the input."""
    sim = ds.Simulator(seed=1, precision=precision)
    cell = sim.create(ds.iaf_psc_delta, 1, dict(tau_m=1e4 * u.ms, C_m=1 * u.pF, V_th=1e9 * u.mV))
    clock = sim.create(ds.spike_generator, spike_times=np.full(5000, 1.0) * u.ms)
    meter = sim.create(ds.voltmeter, interval=0.1 * u.ms)
    sim.connect(clock, cell, weight=1 * u.mV)
    sim.connect(meter, cell)
    assert sim.simulate(3 * u.ms).trace(meter).to_decimal(u.mV).max() == pytest.approx(4930, abs=0.1)
