"""The network of examples/joglekar.py: a signal dies out on its way up with weak amplification; with strong it arrives."""

from functools import partial

import joglekar
import numpy as np
import pytest

import dist_sim as ds
from dist_sim.errors import ParameterError


def top(rates):
    """Peak rate of the upper quarter of the areas together."""
    return rates[round(joglekar.ON) :, -7:].mean(1).max()


def test_of_the_spikes_of_an_area_each_other_one_hears_after_the_delay_between_them():
    delays = np.where(np.eye(joglekar.AREAS), joglekar.LOCAL, joglekar.distances() / joglekar.SPEED)
    axons = ds.nn.init_all_states(joglekar.Axons(2, np.broadcast_to(np.arange(joglekar.AREAS), delays.shape), delays))
    spikes = np.zeros((200, joglekar.AREAS, 2), bool)
    spikes[0, :, 1] = True
    arrived = np.asarray(ds.transform.for_loop(axons, spikes))
    assert not arrived[..., 0].any() and (arrived[..., 1].sum(0) == 1).all()
    # Those of the step before arrive in the first step after one step.
    late = arrived[..., 1].argmax(0) + 1
    np.testing.assert_allclose(late * joglekar.DT, delays, atol=joglekar.DT / 2 + 1e-9)


def test_fractions_of_the_input_add_up_to_one_and_only_amplification_differs():
    weak, strong = joglekar.weights("weak"), joglekar.weights("strong")
    gain = 1 + joglekar.GRADIENT * np.linspace(0, 1, joglekar.AREAS)
    for pair, local in joglekar.WITHIN.items():
        if pair[0] == "E":
            between = joglekar.BETWEEN.get(pair, joglekar.GBA["weak"][0])
            np.testing.assert_allclose(weak[pair].sum(1), gain * (local + between))
    changed = {pair for pair in weak if not np.array_equal(weak[pair], strong[pair])}
    assert changed == {("E", "E"), ("I", "E")}


def test_strong_amplification_carries_the_signal_to_the_top(monkeypatch):
    for name, time in dict(ON=100.0, OFF=250.0, END=260.0).items():
        monkeypatch.setattr(joglekar, name, time)
    weak, strong = joglekar.simulate(scale=0.08, seed=4).values()
    for rates in (weak, strong):
        before, peak = joglekar.answers(rates)
        assert 0.7 < before.mean() < 2 and 50 < peak[0] < 75
    # Ten seeds gave 1.8 to 3.0 Hz with weak and 3.7 to 8.4 with strong amplification; what runs away gets to hundreds.
    assert top(weak) < 3.4 < top(strong) < 50, (top(weak), top(strong))


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_at_full_size_it_grows_again_on_its_way_to_the_top():
    weak, strong = (peak - before for before, peak in map(joglekar.answers, joglekar.simulate(scale=1.0, seed=2).values()))
    # Of two seeds: 0.7 and 0.8 of weak in the last five, 3.3 and 4.2 of strong, 2.4 and 2.7 halfway.
    assert weak[-5:].mean() < 1.2 < 2 < strong[-5:].mean() < 10
    assert strong[-5:].mean() > 1.15 * strong[10:20].mean() and weak[-5:].mean() < weak[1:6].mean() / 3


@pytest.mark.slow
def test_devices_change_nothing(monkeypatch):
    for name, time in dict(ON=10.0, OFF=40.0, END=60.0).items():
        monkeypatch.setattr(joglekar, name, time)
    one = joglekar.simulate(scale=0.1, seed=1)
    monkeypatch.setattr(ds, "use_mesh", partial(ds.use_mesh, devices=3))
    three = joglekar.simulate(scale=0.1, seed=1)
    for condition, rates in one.items():
        assert rates[-1, 0] > 20
        np.testing.assert_array_equal(three[condition], rates)


def test_scales_that_leave_too_few_neurons_are_refused(monkeypatch):
    monkeypatch.setattr(ds, "param", lambda name, default: {"scale": 0.01}.get(name, default))
    with pytest.raises(ParameterError, match="scales"):
        joglekar.main()
