"""Integer weights of precision 32: their unit belongs to the neuron that they reach, and holds them to a thousandth."""

import warnings

import brainunit as u
import numpy as np
import pytest

import dist_sim as ds
from dist_sim.errors import ConnectError

STRONG, WEAK = 1e8 * u.pA, 20.3 * u.pA


def network(precision, *, strong_to, **options):
    """Three cells that a spike reaches weakly; one of four gets a strong synapse besides."""
    sim = ds.Simulator(precision=precision, **options)
    spike = sim.create(ds.spike_generator, params=dict(spike_times=[1.0] * u.ms))
    sender = sim.create(ds.parrot_neuron)
    cells = sim.create(ds.iaf_psc_exp, 4, params=dict(V_th=1e12 * u.mV))
    meter = sim.create(ds.voltmeter, interval=0.1 * u.ms)
    sim.connect(spike, sender, delay=0.1 * u.ms)
    sim.connect(sender, cells[:3], weight=WEAK, delay=1 * u.ms)
    if strong_to is not None:
        sim.connect(sender, cells[strong_to], weight=STRONG, delay=50 * u.ms)
    sim.connect(meter, cells[:3])
    return sim, meter


def voltages(precision, strong_to=None):
    sim, meter = network(precision, strong_to=strong_to)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = sim.simulate(20 * u.ms)
    return np.asarray(u.get_mantissa(result.trace(meter).in_unit(u.mV)))


@pytest.mark.parametrize("precision", [32, 64])
def test_a_strong_synapse_elsewhere_changes_nothing(precision):
    assert np.array_equal(voltages(precision, strong_to=3), voltages(precision))


def test_an_epsp_is_that_of_its_weight():
    assert np.ptp(voltages(64)) > 0.01
    assert np.allclose(voltages(32) + 70, voltages(64) + 70, rtol=1e-3, atol=1e-5)


def test_a_weight_that_its_neuron_cannot_hold_is_refused():
    sim, _ = network(32, strong_to=1)
    with pytest.raises(ConnectError, match="a weight of 20.3 pA is rounded by up to .* %.*precision=64"):
        sim.simulate(1 * u.ms)
    held, alone = voltages(64, strong_to=1), voltages(64)
    assert np.allclose(held, alone, rtol=0, atol=1e-9)


def test_synapses_that_may_grow_say_so():
    def plastic(Wmax):
        sim = ds.Simulator()
        cells = sim.create(ds.iaf_psc_delta, 1000)
        sim.connect(cells, cells, rule=ds.fixed_indegree(500), weight=0.05 * u.mV, synapse=ds.stdp_synapse(Wmax=Wmax * u.mV))
        return sim.simulate(1 * u.ms)

    with pytest.raises(ConnectError, match="may grow from 0.05 to 1000 mV. Lower their Wmax, or use precision=64"):
        plastic(1000.0)
    assert plastic(1.0).summary["synapses"] == 500_000
