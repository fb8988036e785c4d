"""The network of examples/mongillo_2008.py: only what was loaded comes back when no item is asked for."""

import brainunit as u
import jax.numpy as jnp
import mongillo_2008 as mongillo
import numpy as np
import pytest

import dist_sim as ds
from dist_sim.errors import ParameterError


@pytest.mark.parametrize("loaded", [True, False])
def test_the_loaded_item_alone_comes_back(monkeypatch, loaded):
    for name, time in dict(LOAD=(150.0, 500.0), READ=(1000.0, 1250.0), END=1300.0).items():
        monkeypatch.setattr(mongillo, name, time)
    monkeypatch.setattr(mongillo, "STRONGER", 0.15 * loaded)
    spikes, used, left = mongillo.simulate("active", scale=0.2, seed=1)
    # Twelve runs of six seeds gave 76 to 211 Hz to the loaded item, and at most 10 to the others.
    highest = mongillo.peaks(spikes, 500.0, 1300.0)
    assert (highest[1:] < 25).all() and (highest[0] > 50 if loaded else highest[0] < 25), highest
    at = round(1000.0 / mongillo.DT)
    assert (used[at, 1:] < 0.45).all() and (left[at, 1:] > 0.85).all()
    assert used[at, 0] > 0.6 if loaded else used[at, 0] < 0.45


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("mode", mongillo.BACKGROUND)
def test_at_full_size_an_item_waits_in_its_synapses_or_in_population_spikes(mode):
    spikes, used, left = mongillo.simulate(mode, scale=1.0, seed=2)
    begin, end = round(mongillo.LOAD[1] / mongillo.DT), round(mongillo.READ[0] / mongillo.DT)
    before, delay, asked = (
        mongillo.peaks(spikes, *time)
        for time in ((100.0, mongillo.LOAD[0]), (mongillo.LOAD[1], mongillo.READ[0]), (mongillo.READ[0], mongillo.END))
    )
    assert before.max() < 10 and delay[1:].max() < 10 and asked[1:].max() < 10
    # Five seeds with the smaller background gave 120 to 195 Hz when asked. With 400 ms more of delay, one of six gave none.
    assert asked[0] > 60 and (delay[0] < 15 if mode == "silent" else delay[0] > 100)
    # Resources are back after the load, the facilitation stays.
    assert used[begin, 0] > 0.7 and left[begin, 0] < 0.4 and used[end, 0] > (0.45 if mode == "silent" else 0.65)
    assert mode == "active" or left[end, 0] > 0.85
    assert (used[end, 1:] < 0.4).all() and (left[end, 1:] > 0.9).all()


def test_spikes_do_not_depend_on_the_devices(monkeypatch):
    monkeypatch.setattr(mongillo, "LOAD", (5.0, 60.0))
    found = []
    for devices in (1, 2, 3):
        ds.random.seed(5)
        with ds.use_mesh(devices=devices), ds.environ.context(dt=mongillo.DT * u.ms):
            net = ds.nn.init_all_states(mongillo.Memory("active", 0.1))
            found.append([np.asarray(one) for one in ds.transform.for_loop(net, jnp.arange(600))])
    spikes, used, left = found[0]
    assert spikes[:, :80].sum() > 80 and used[-1, 0] > 0.24 and left[-1, 0] < 0.9
    for others in found[1:]:
        assert np.array_equal(spikes, others[0]) and np.allclose(used, others[1], rtol=1e-5)


@pytest.mark.parametrize("given", [dict(mode="loud"), dict(scale=0.01)], ids=str)
def test_what_it_does_not_know_is_refused(monkeypatch, given):
    monkeypatch.setattr(ds, "param", lambda name, default: given.get(name, default))
    with pytest.raises(ParameterError, match="known are silent, active and both; 0.1 to 1"):
        mongillo.main()
