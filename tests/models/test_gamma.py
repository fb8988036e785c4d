"""The networks of examples/gamma.py: a peak in the gamma band for each of the three mechanisms, and none for AI."""

import gamma
import pytest


# AI and PING are the same cells and connections, with other synapses.
@pytest.mark.parametrize("name", ["AI", "PING", *(pytest.param(name, marks=pytest.mark.slow) for name in ("ING", "CHING"))])
def test_the_three_mechanisms_oscillate_and_the_asynchronous_network_does_not(name):
    found = gamma.simulate(name, scale=0.2, seed=1, t_sim=800.0)
    frequency, ratio = gamma.gamma_peak(gamma.rate_of(found)[200:])
    for size, counts, _ in found.values():
        assert 0.3 < counts[2000:].sum() / (size * 0.6) < 20.0, "silent or saturated"
    assert ratio < 15 if name == "AI" else ratio > 25 and frequency < 60, (frequency, ratio)
