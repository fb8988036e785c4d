"""The vectorised statistics against the loops that define them."""

from __future__ import annotations

import time

import numpy as np
import pytest

from dist_sim.run.statistics import spike_statistics


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


@pytest.mark.parametrize("offset", [0, 2**45])
@pytest.mark.parametrize("count", [0, 5, 100, 5000])
def test_statistics_are_those_of_the_loops(random_spikes, count, offset):
    steps, ids = random_spikes(count)
    # Far steps take the way without a packed sort.
    steps, ids = steps + offset - (offset > 0) * 2, ids + offset
    populations = [("a", offset, 20), ("b", offset + 20, 5), ("c", offset + 25, 25), ("silent", offset + 50, 3)]
    shuffled = np.random.default_rng(0).permutation(count)
    found = spike_statistics(steps[shuffled], ids[shuffled], 0.1, populations, 100.0)
    for one, (spikes, rate, cv) in zip(found, by_loops(steps, ids, populations, 100.0), strict=True):
        assert one.spikes == spikes and one.rate == pytest.approx(rate)
        assert one.cv == (pytest.approx(cv, rel=1e-12) if cv is not None else None)


def test_a_regular_neuron_has_cv_0_and_a_burst_in_one_step_none():
    steps, ids = np.array([0, 10, 20, 30, 7, 7, 7, 1, 2]), np.array([0, 0, 0, 0, 1, 1, 1, 2, 2])
    regular, burst, two = spike_statistics(steps, ids, 0.1, [("r", 0, 1), ("b", 1, 1), ("t", 2, 1)], 10.0)
    assert (regular.cv, burst.cv, two.cv) == (0.0, None, None)
    assert regular.rate == 400.0


def test_a_poisson_population_has_cv_1():
    random = np.random.default_rng(1)
    steps, ids = np.nonzero(random.random((100_000, 20)) < 0.01)
    (found,) = spike_statistics(steps, ids, 0.1, [("p", 0, 20)], 10_000.0)
    assert found.rate == pytest.approx(100.0, rel=0.02) and found.cv == pytest.approx(1.0, abs=0.02)


def test_five_million_spikes_take_seconds(random_spikes):
    random = np.random.default_rng(2)
    steps, ids = random.integers(0, 100_000, 5_000_000), random.integers(0, 77_169, 5_000_000)
    begin = time.perf_counter()
    spike_statistics(steps, ids, 0.1, [("all", 0, 77_169)], 10_000.0)
    assert time.perf_counter() - begin < 10  # about 1 s; the bound leaves room for a loaded machine
