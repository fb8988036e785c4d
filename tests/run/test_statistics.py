"""The vectorised statistics against the loops that define them."""

from __future__ import annotations

import time

import numpy as np
import pytest

from dist_sim.run.statistics import SpikeStatistics, _by_neuron, spike_statistics


def by_loops(steps, ids, populations, duration_ms):
    for _, first, size in populations:
        cvs, spikes = [], 0
        for neuron in range(first, first + size):
            mine = np.sort(steps[ids == neuron])
            spikes += len(mine)
            intervals = np.diff(mine)
            if len(mine) >= 3 and intervals.mean() > 0:
                cvs.append(intervals.std() / intervals.mean())
        yield spikes, spikes / size / (duration_ms / 1000), np.mean(cvs) if cvs else None


@pytest.mark.parametrize("count", [0, 5, 100, 5000])
def test_statistics_are_those_of_the_loops(random_spikes, count):
    steps, ids = random_spikes(count)
    populations = [("a", 0, 20), ("b", 20, 5), ("c", 25, 25), ("silent", 50, 3)]
    shuffled = np.random.default_rng(0).permutation(count)
    found = spike_statistics(steps[shuffled], ids[shuffled], populations, 100.0)
    for one, (spikes, rate, cv) in zip(found, by_loops(steps, ids, populations, 100.0), strict=True):
        assert one.spikes == spikes and one.rate == pytest.approx(rate)
        assert one.cv == (pytest.approx(cv, rel=1e-12) if cv is not None else None)


def test_a_regular_neuron_has_cv_0_and_a_burst_in_one_step_none():
    steps, ids = np.array([0, 10, 20, 30, 7, 7, 7, 1, 2]), np.array([0, 0, 0, 0, 1, 1, 1, 2, 2])
    regular, burst, two = spike_statistics(steps, ids, [("r", 0, 1), ("b", 1, 1), ("t", 2, 1)], 10.0)
    assert (regular.cv, burst.cv, two.cv) == (0.0, None, None)
    assert regular.rate == 400.0


def test_a_poisson_population_has_cv_1():
    random = np.random.default_rng(1)
    steps, ids = np.nonzero(random.random((100_000, 20)) < 0.01)
    (found,) = spike_statistics(steps, ids, [("p", 0, 20)], 10_000.0)
    assert found.rate == pytest.approx(100.0, rel=0.02) and found.cv == pytest.approx(1.0, abs=0.02)


def test_five_million_spikes_take_seconds(random_spikes):
    random = np.random.default_rng(2)
    steps, ids = random.integers(0, 100_000, 5_000_000), random.integers(0, 77_169, 5_000_000)
    begin = time.perf_counter()
    spike_statistics(steps, ids, [("all", 0, 77_169)], 10_000.0)
    assert time.perf_counter() - begin < 10  # about 1 s; the bound leaves room for a loaded machine


@pytest.mark.parametrize("chunk", [1, 10, 333])
def test_statistics_do_not_depend_on_the_chunks(random_spikes, chunk):
    steps, ids = random_spikes(3000)
    populations = [("a", 0, 20), ("b", 20, 40)]
    statistics = SpikeStatistics()
    for step0 in range(0, 1000, chunk):
        low, high = np.searchsorted(steps, (step0, step0 + chunk))
        statistics.update(steps[low:high], ids[low:high])
    assert statistics.of(populations, 100.0) == spike_statistics(steps, ids, populations, 100.0)


@pytest.mark.parametrize("far", [0, 2**62 - 1000])
def test_the_order_by_neuron(random_spikes, far):
    # With steps far apart a packed key has no room, and the plain sort is used.
    steps, ids = random_spikes(500)
    steps = np.where(steps > 500, steps + far, steps)
    shuffled = np.random.default_rng(0).permutation(500)
    order = np.lexsort((steps, ids))
    found_ids, found_steps = _by_neuron(steps[shuffled], ids[shuffled])
    np.testing.assert_array_equal(found_ids, ids[order])
    np.testing.assert_array_equal(found_steps, steps[order])
