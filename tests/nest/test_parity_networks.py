"""The same network in NEST and in dist_sim, double precision: every spike of one is in the other, in the same step."""

import numpy as np
import pytest
from reference.description import assert_same_spikes
from reference.networks import brunel, microcircuit, sonata
from reference.oracle import run_nest
from reference.ours import run_dist_sim

pytestmark = pytest.mark.nest

# Each with bounds of the rates (spikes/s) of its populations: a silent network, or one at saturation, would prove nothing.
NETWORKS = {
    "brunel_delta": (lambda: brunel("iaf_psc_delta"), 20.0, 80.0),
    "brunel_alpha": (lambda: brunel("iaf_psc_alpha"), 5.0, 40.0),
    "microcircuit": (microcircuit, 0.3, 20.0),
    "sonata": (sonata, 5.0, 150.0),
}


@pytest.fixture(scope="module", params=NETWORKS)
def in_nest(request):
    """A description, and NEST's run of it."""
    make, lowest, highest = NETWORKS[request.param]
    description = make()
    reference = run_nest(description)
    rates = reference.rates(description)
    assert (rates > lowest).all() and (rates < highest).all(), rates
    return description, reference


@pytest.mark.parametrize("devices", [1, 3])
def test_every_spike_is_nests(in_nest, devices):
    description, reference = in_nest
    ours = run_dist_sim(description, devices=devices)
    assert_same_spikes(ours, reference, description.dt)
    for name, trace in reference.traces.items():
        np.testing.assert_allclose(ours.traces[name], trace, rtol=0, atol=1e-9)


def test_the_sum_over_threads_does_not_move_nests_spikes(in_nest):
    """NEST adds in another order on 2 threads: no spike of these networks hangs on the last bit, so none may differ in ours."""
    description, reference = in_nest
    assert_same_spikes(run_nest(description, threads=2), reference, description.dt)


def test_the_sonata_network_is_whole():
    description = sonata()
    assert description.num_neurons == 300
    assert len(description.source) == 27_588 + 20_844
    assert set(np.rint(description.delay / description.dt).astype(int).tolist()) == {10, 20}
