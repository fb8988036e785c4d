"""Results are values: they stay, they are pickled, and other packages take them in."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys

import brainunit as u
import numpy as np
import pytest

import dist_sim as ds
from dist_sim.errors import ConnectError, MissingPackageError, ParameterError, UnknownNameError
from dist_sim.run.directory import RunDirectory
from dist_sim.run.session import Session

RECORDERS = "spikes", "weights", "meter"
READ = """
import pickle, sys
result, views = pickle.load(open(sys.argv[1], "rb"))
before = set(sys.modules)
found = {"digest": result.digest, "rates": result.summary["rates"]}
for name, view in views.items():
    by_view = {key: column.tolist() for key, column in result.to_numpy(view).items()}
    assert by_view == {key: column.tolist() for key, column in result.to_numpy(name).items()}
    found[name] = by_view
pickle.dump(found, sys.stdout.buffer)
"""


@pytest.fixture(params=["memory", "directory"])
def session(request, tmp_path):
    """None, or the session of a run with a directory."""
    if request.param == "memory":
        yield None
        return
    directory = RunDirectory(tmp_path / "run")
    with Session(directory=directory).active() as session:
        yield session
    directory.close()


@pytest.fixture
def network(session):
    """A small network with one recorder of each kind, two of spikes, and generators that are recorded too."""
    sim = ds.Simulator(seed=5, chunk=7 * u.ms)
    cells = sim.create("iaf_psc_exp", 30, params={"I_e": 420 * u.pA}, name="cells")
    clock = sim.create("spike_generator", spike_times=np.arange(3.0, 90.0, 10.0) * u.ms)
    spikes, weights = sim.create("spike_recorder", 2, name="spikes"), sim.create("weight_recorder", name="weights")
    meter = sim.create("multimeter", record_from=["V_m", "I_syn_ex"], interval=2 * u.ms, name="meter")
    sim.connect(clock, cells, weight=30 * u.pA)
    sim.connect(cells, cells, "fixed_indegree", indegree=3, weight=20 * u.pA, synapse=ds.stdp_synapse(weight_recorder=weights))
    sim.connect(cells[:20], spikes[0])
    sim.connect(clock, spikes[0])
    sim.connect(cells[20:], spikes[1])
    sim.connect(meter, cells[:4])
    return sim, {"spikes": spikes, "weights": weights, "meter": meter}


def columns(result, what):
    return {key: column.tolist() for key, column in result.to_numpy(what).items()}


def test_a_result_stays_when_the_simulation_goes_on(network):
    sim, views = network
    early = sim.simulate(50 * u.ms)
    before = {name: columns(early, view) for name, view in views.items()}
    late = sim.cont(40 * u.ms)
    assert {name: columns(early, view) for name, view in views.items()} == before
    assert all(len(columns(late, view)["times"]) > len(before[name]["times"]) > 10 for name, view in views.items())
    assert early.digest != late.digest


@pytest.mark.parametrize("later", [False, True])
def test_a_result_is_read_in_another_process(network, tmp_path, later):
    sim, views = network
    result = sim.simulate(50 * u.ms)
    wanted = {name: columns(result, view) for name, view in views.items()}
    if later:
        sim.cont(40 * u.ms)
    (tmp_path / "result.pickle").write_bytes(pickle.dumps((result, views)))
    done = subprocess.run([sys.executable, "-c", READ, tmp_path / "result.pickle"], capture_output=True, timeout=200)
    assert done.returncode == 0, done.stderr.decode()
    assert pickle.loads(done.stdout) == {"digest": result.digest, "rates": result.summary["rates"], **wanted}


def test_a_copy_is_the_same(network):
    sim, views = network
    result = sim.simulate(50 * u.ms)
    copied, view = copy.deepcopy(result), copy.deepcopy(views["spikes"])
    assert columns(copied, view[1]) == columns(result, views["spikes"][1]) != columns(result, views["spikes"])
    np.testing.assert_array_equal(copied.trace("meter").to_decimal(u.mV), result.trace(views["meter"]).to_decimal(u.mV))
    with pytest.raises(ConnectError, match="is a copy"):
        copy.deepcopy(views["meter"]).interval = 1 * u.ms


def test_what_was_not_recorded_is_refused(network):
    sim, _ = network
    result = sim.simulate(5 * u.ms)
    with pytest.raises(UnknownNameError, match="unknown recorder 'spike'. Did you mean 'spikes'"):
        result.to_numpy("spike")
    with pytest.raises(ConnectError, match="another Simulator"):
        result.events(ds.Simulator().create("spike_recorder", 2, name="spikes"))
    with pytest.raises(ConnectError, match="as `create` returned it"):
        result.events(3)


def test_pandas_takes_every_recorder(network):
    sim, views = network
    result = sim.simulate(50 * u.ms)
    times, senders = result.events(views["spikes"])
    table = result.to_pandas(views["spikes"])
    assert list(table.columns) == ["times", "senders"] and table.attrs["units"] == {"times": "ms"}
    np.testing.assert_array_equal(table["times"], times.to_decimal(u.ms))
    np.testing.assert_array_equal(table.groupby("senders").size().index, np.unique(senders))
    weights = result.to_pandas("weights")
    assert list(weights.columns) == ["times", "senders", "targets", "weights", "receptors"]
    assert weights.attrs["units"] == {"times": "ms", "weights": "pA"} and len(weights) > 10
    meter = result.to_pandas(views["meter"])
    assert list(meter.columns) == ["times", "senders", "V_m", "I_syn_ex"]
    assert meter.attrs["units"] == {"times": "ms", "V_m": "mV", "I_syn_ex": "pA"}
    wide = meter.pivot(index="times", columns="senders", values="V_m")
    np.testing.assert_array_equal(wide, result.trace("meter").to_decimal(u.mV))
    np.testing.assert_array_equal(wide.index, result.times("meter").to_decimal(u.ms))


def test_neo_takes_spikes_and_samples(network):
    sim, views = network
    result = sim.simulate(50 * u.ms)
    trains = result.to_neo(views["spikes"][0])
    times, senders = result.events(views["spikes"][0])
    assert [train.annotations["sender"] for train in trains] == [*range(20), 30]
    for train in trains:
        mine = times.to_decimal(u.ms)[senders == train.annotations["sender"]]
        np.testing.assert_array_equal(train.rescale("ms").magnitude, mine)
        assert (float(train.t_start), float(train.t_stop), str(train.units)) == (0.0, 50.0, "1.0 ms")
    V, current = result.to_neo("meter")
    assert (V.name, str(V.units), current.name, str(current.units)) == ("V_m", "1.0 mV", "I_syn_ex", "1.0 pA")
    np.testing.assert_array_equal(V.magnitude, result.trace("meter").to_decimal(u.mV))
    np.testing.assert_allclose(V.times.rescale("ms").magnitude, result.times("meter").to_decimal(u.ms))
    assert V.array_annotations["senders"].tolist() == [0, 1, 2, 3]
    with pytest.raises(ParameterError, match="no form for recorded weights"):
        result.to_neo("weights")


@pytest.mark.parametrize("package", ["pandas", "neo"])
def test_a_package_that_is_missing_is_named(network, monkeypatch, package):
    sim, _ = network
    result = sim.simulate(5 * u.ms)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingPackageError, match=f"needs {package}, .*: pip install {package}") as found:
        getattr(result, f"to_{package}")("spikes")
    assert isinstance(found.value, ImportError)


@pytest.fixture
def run(session):
    """A Run of ten cells, their spikes and two of their potentials."""
    with ds.environ.context(dt=0.5 * u.ms):
        cells = ds.nn.init_all_states(ds.LIF(10, tau=10 * u.ms, V_th=15 * u.mV))
        current = np.linspace(20, 40, 10) * u.mA
        record = {"cells": cells, "V": lambda: cells.V.value[:2], "all": lambda: cells.V.value.sum()}
        return ds.Run(lambda: cells.update(current), record=record, every=2 * u.ms, chunk=3 * u.ms)


def test_results_of_modules_are_values(run, tmp_path):
    early = run.advance(60 * u.ms)
    names = "cells", "V", "all"
    before = {name: columns(early, name) for name in names}
    V, times = early.trace("V"), early.times
    run.advance(60 * u.ms)
    assert {name: columns(early, name) for name in names} == before and len(before["cells"]["times"]) > 20
    assert {name: columns(copy.deepcopy(early), name) for name in names} == before
    (tmp_path / "result.pickle").write_bytes(pickle.dumps((early, {name: name for name in names})))
    done = subprocess.run([sys.executable, "-c", READ, tmp_path / "result.pickle"], capture_output=True, timeout=200)
    assert done.returncode == 0, done.stderr.decode()
    assert pickle.loads(done.stdout) == {"digest": early.digest, "rates": early.summary["rates"], **before}
    other = pickle.loads((tmp_path / "result.pickle").read_bytes())[0]
    assert u.math.array_equal(other.trace("V"), V) and u.math.array_equal(other.times, times)
    table = early.to_pandas("V")
    assert list(table.columns) == ["times", "senders", "V"] and table.attrs["units"] == {"times": "ms", "V": "mV"}
    np.testing.assert_array_equal(table.pivot(index="times", columns="senders", values="V"), V.to_decimal(u.mV))
    assert early.to_pandas("all")["senders"].tolist() == [0] * 30
    trains = early.to_neo("cells")
    assert len(trains) == 10 and sum(map(len, trains)) == len(before["cells"]["times"])
    (signal,) = early.to_neo("V")
    assert signal.shape == (30, 2) and float(signal.sampling_period.rescale("ms")) == 2.0
    with pytest.raises(UnknownNameError, match="Known: V, all, cells"):
        early.to_numpy("W")
