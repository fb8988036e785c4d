"""Neurons of two states: how often they turn, and that a field is the sum of the weights of the sources that are up."""

import brainunit as u
import numpy as np
import pytest
from reference.neurons import run_nest

import dist_sim as ds

N, TIME = 400, 400.0


def states(times, senders, size, first=0):
    """(steps, size) 0 or 1 after every step, from what a recorder saw: two spikes at once up, one down."""
    steps = np.rint(np.asarray(times) / 0.1).astype(int)
    seen = np.zeros((steps.max(initial=0) + 2, size), int)
    np.add.at(seen, (steps, np.asarray(senders) - first), 1)
    return np.cumsum(np.where(seen == 2, 1, np.where(seen == 1, -1, 0)), axis=0)


@pytest.mark.parametrize(("model", "params"), [("ginzburg_neuron", {"theta": 9.0}), ("mcculloch_pitts_neuron", {"theta": 9.0})])
@pytest.mark.parametrize("options", [dict(), dict(devices=3, exchange="ids"), dict(backend="reference", devices=2)], ids=str)
def test_a_field_is_the_sum_of_the_sources_that_are_up(model, params, options):
    sim = ds.Simulator(seed=3, precision=64, **options)
    drive = sim.create("ginzburg_neuron", 60)
    cells = sim.create(model, 40, theta=params["theta"] * u.mV)
    rng = np.random.default_rng(0)
    weight = rng.normal(0.3, 0.5, (40, 60))
    sim.connect(drive, cells, weight=weight * u.mV, delay=1.3 * u.ms)
    recorder, meter = sim.create(ds.spike_recorder), sim.create(ds.multimeter, record_from=["S", "h"], interval=0.1 * u.ms)
    sim.connect(drive + cells, recorder)
    sim.connect(meter, cells)
    res = sim.simulate(80 * u.ms)
    times, senders = res.events(recorder)
    times = times.to_decimal(u.ms)
    up = states(times[senders < 60], senders[senders < 60], 60)
    mine = states(times[senders >= 60], senders[senders >= 60], 40, first=60)
    h, S = (np.asarray(u.get_magnitude(res.trace(meter, name))) for name in ("h", "S"))
    assert set(np.unique(up)) == {0, 1} and np.abs(np.diff(mine, axis=0)).sum() > 50
    # A change in the step that ends at n dt acts 13 steps later.
    last = min(len(up) - 1 + 13, len(h))
    np.testing.assert_allclose(h[13 : last - 1], up[1 : last - 13] @ weight.T, rtol=0, atol=1e-9)
    np.testing.assert_array_equal(S[: len(mine) - 1], mine[1:])


@pytest.mark.nest
@pytest.mark.parametrize(
    ("model", "params", "probability"),
    [("ginzburg_neuron", {"theta": -0.4, "tau_m": 5.0}, 0.5 * (1 + np.tanh(0.4))),
     ("ginzburg_neuron", {"theta": 1.0, "c_2": 0.6, "c_3": 0.5, "tau_m": 8.0}, 0.3 * (1 + np.tanh(-0.5)))],
)  # fmt: skip
def test_they_turn_as_often_as_nests_and_as_theory_says(model, params, probability):
    asked = {"model": model, "dt": 0.1, "duration": TIME, "neurons": [params] * N, "stimuli": [], "currents": []}
    theirs = run_nest(asked | {"recordables": []})
    sim = ds.Simulator(seed=1)
    units = {"theta": u.mV, "tau_m": u.ms, "c_3": 1 / u.mV, "c_2": 1.0}
    cells = sim.create(model, N, params={n: v * units[n] for n, v in params.items()})
    recorder = sim.create(ds.spike_recorder)
    sim.connect(cells, recorder)
    times, senders = sim.simulate(TIME * u.ms).events(recorder)
    # Turns up: once per interval in which it was down and becomes up.
    wanted = N * TIME / params["tau_m"] * probability * (1 - probability)
    for steps, who in ((times.to_decimal(u.ms) / 0.1, senders), (theirs["steps"], theirs["senders"])):
        _, counts = np.unique(np.rint(steps).astype(int) * N + who, return_counts=True)
        assert abs((counts == 2).sum() - wanted) < 5 * np.sqrt(wanted) + 0.02 * wanted
