"""A Run of Modules: what it records is what a loop gives, and cut anywhere it is the unbroken run, on any devices."""

from __future__ import annotations

import json
from typing import Any

import brainunit as u
import numpy as np
import pytest

import dist_sim as ds
from dist_sim.errors import NumericalError, ParameterError, UnitError, UnknownNameError
from dist_sim.run.checkpoint import CheckpointPolicy
from dist_sim.run.directory import RunDirectory
from dist_sim.run.session import Session
from dist_sim.run.stop import Stopped

from .checkpointed import StopAt, copied

DT, HALF = 0.1, 12.0  # ms
CHUNK = 3.7 * u.ms


class Net(ds.Module):
    """Recurrent neurons with a synaptic delay, short-term plasticity and random input: States of every sort."""

    def __init__(self, n: int = 90):
        super().__init__()
        self.cells = ds.LIFRef(
            n, V_rest=-60 * u.mV, V_th=-50 * u.mV, V_reset=-60 * u.mV, tau=20 * u.ms, tau_ref=2 * u.ms,
            V_initializer=ds.init.Uniform(-60.0, -50.0, unit=u.mV),
        )  # fmt: skip
        self.release = ds.STP(n, U=0.2, tau_f=100 * u.ms, tau_d=50 * u.ms)
        self.late = ds.nn.Delay(u.math.zeros(n), entries={"late": 1.5 * u.ms})
        self.exc = ds.AlignPostProj(
            comm=ds.nn.EventFixedProb(n, n, conn_num=0.1, conn_weight=0.5 * u.siemens),
            syn=ds.Expon.desc(n, tau=5 * u.ms), out=ds.COBA.desc(E=0 * u.mV), post=self.cells,
        )  # fmt: skip
        self.n = n

    def update(self, current):
        spikes = self.cells.get_spike()
        self.late.update(self.release(spikes))
        self.exc(self.late.at("late") != 0.0)
        return self.cells(current + 10 * u.mA * ds.random.uniform(0.0, 1.0, self.n))


def made(devices: int = 1, **options: Any) -> tuple[Net, ds.Run]:
    ds.random.seed(4)
    with ds.use_mesh(devices=devices), ds.environ.context(dt=DT * u.ms):
        net = ds.nn.init_all_states(Net())
        record = {"cells": net.cells, "V": lambda: net.cells.V.value[:7], "out": lambda out: out != 0.0}
        return net, ds.Run(lambda: net(12 * u.mA), record=record, **({"every": 0.3 * u.ms, "chunk": CHUNK} | options))


def outcome(result: ds.RunResult) -> dict[str, Any]:
    events = {name: result.events(name) for name in ("cells", "out")}
    found = {f"times of {n}": t.mantissa for n, (t, _) in events.items()} | {f"ids of {n}": ids for n, (_, ids) in events.items()}
    names = ("digest", "spikes", "rates", "cv", "model_time_ms", "neurons")
    found |= {"V": np.asarray(result.trace("V").mantissa), "times": result.times.mantissa}
    return found | {name: result.summary[name] for name in names}


def assert_same(found: dict[str, Any], wanted: dict[str, Any]) -> None:
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        assert np.array_equal(found[name], value) if isinstance(value, np.ndarray) else found[name] == value, name


@pytest.fixture(scope="module")
def unbroken():
    net, run = made()
    run.advance(HALF * u.ms)
    wanted = outcome(run.advance(HALF * u.ms))
    assert wanted["spikes"] > 200
    return wanted, [np.asarray(s) for s in (net.cells.V.value.mantissa, net.release.u.value)]


def test_it_records_what_a_loop_gives(unbroken):
    """Spikes at the ends of their steps, neurons in their order, samples at multiples of the interval."""
    ds.random.seed(4)
    with ds.environ.context(dt=DT * u.ms):
        net = ds.nn.init_all_states(Net())

        def step(i):
            with ds.environ.context(i=i, t=i * DT * u.ms):
                return net(12 * u.mA), net.cells.V.value[:7]

        spikes, V = ds.transform.for_loop(step, np.arange(240))
    wanted, _ = unbroken
    steps, ids = np.nonzero(np.asarray(spikes))
    np.testing.assert_array_equal(wanted["ids of cells"], ids)
    np.testing.assert_array_equal(wanted["ids of out"], ids)
    np.testing.assert_allclose(wanted["times of cells"], (steps + 1) * DT, rtol=1e-12)
    np.testing.assert_allclose(wanted["V"], np.asarray(V.mantissa)[2::3], rtol=1e-5)
    np.testing.assert_allclose(wanted["times"], np.arange(1, 81) * 0.3, rtol=1e-12)
    assert wanted["spikes"] == 2 * len(ids) and wanted["neurons"] == 180
    assert wanted["rates"]["cells"] == pytest.approx(len(ids) / (90 * 24e-3))


@pytest.mark.parametrize("options", [{"devices": 3}, {"chunk": 0.1 * u.ms}, {"chunk": None, "devices": 8}], ids=str)
def test_devices_and_chunks_change_nothing(unbroken, options):
    _, run = made(**options)
    run.advance(HALF * u.ms)
    assert_same(outcome(run.advance(HALF * u.ms)), unbroken[0])


def test_a_result_stays_when_the_run_goes_on():
    _, run = made()
    first = run.advance(HALF * u.ms)
    before = outcome(first)
    assert run.advance(HALF * u.ms).summary["spikes"] > before["spikes"]
    assert_same(outcome(first), before)


def go(directory: RunDirectory, *, devices: int, chunks: int = 10**9, allow_changed: bool = False, **options: Any):
    """Two calls of `advance` in a directory, with a checkpoint after every chunk; None if it was stopped after `chunks`."""
    policy = CheckpointPolicy(every=0.0, keep_last=9)
    session: Any = Session(directory=directory, checkpoints=policy, stop=StopAt(chunks), allow_changed=allow_changed)  # pyright: ignore
    with session.active():
        try:
            net, run = made(devices=devices, **options)
            halfway = outcome(run.advance(HALF * u.ms))
            return halfway, outcome(run.advance(HALF * u.ms)), net
        except Stopped:
            return None
        finally:
            directory.close()


@pytest.mark.parametrize(("old", "new", "chunks"), [(1, 3, 2), (3, 1, 6), (2, 8, 5)])
def test_cut_anywhere_it_is_the_unbroken_run(tmp_path, unbroken, old, new, chunks):
    """Stopped in the first or in the second call, and resumed on other devices."""
    assert go(RunDirectory(tmp_path / "run"), devices=old, chunks=chunks) is None
    halfway, whole, net = go(RunDirectory.resume(tmp_path / "run"), devices=new)
    _, run = made()
    assert_same(halfway, outcome(run.advance(HALF * u.ms)))
    assert_same(whole, unbroken[0])
    for found, wanted in zip((net.cells.V.value.mantissa, net.release.u.value), unbroken[1], strict=True):
        np.testing.assert_allclose(np.asarray(found), wanted, rtol=1e-6)


def test_another_program_is_refused_with_what_differs(tmp_path, monkeypatch):
    assert go(RunDirectory(tmp_path / "run"), devices=1, chunks=3) is None
    known = Net.__init__
    monkeypatch.setattr(Net, "__init__", lambda self, n=80: known(self, n))
    with pytest.raises(ParameterError, match=r"'STP.u'\(float32\[90\]\) then, .*\(float32\[80\]\) now.*--allow-changed"):
        go(copied(tmp_path / "run", tmp_path / "other"), devices=1)
    with pytest.raises(ParameterError, match=r"state 0: .* does not fit .*\(80,\)"):
        go(copied(tmp_path / "run", tmp_path / "forced"), devices=1, allow_changed=True)


def test_two_runs_in_one_script_each_go_on(tmp_path, unbroken):
    """The first has ended when the second is stopped."""

    def script(directory: RunDirectory, chunks: int) -> list[dict[str, Any]] | None:
        policy = CheckpointPolicy(every=0.0, keep_last=2)
        session: Any = Session(directory=directory, checkpoints=policy, stop=StopAt(chunks))  # pyright: ignore
        with session.active():
            try:
                return [outcome(made(devices=2)[1].advance(2 * HALF * u.ms)) for _ in range(2)]
            except Stopped:
                return None
            finally:
                directory.close()

    assert script(RunDirectory(tmp_path / "run"), 9) is None
    found = script(RunDirectory.resume(tmp_path / "run"), 99)
    assert found is not None
    for one in found:
        assert one["digest"] == unbroken[0]["digest"]
    assert json.loads((tmp_path / "run/summary.json").read_text())["digest"] == unbroken[0]["digest"]


# ---- errors ----


def run_of(step=lambda: None, **options: Any) -> ds.Run:
    with ds.environ.context(dt=DT * u.ms):
        return ds.Run(step, **options)


def test_what_is_not_finite_is_found_with_its_state():
    gate = ds.State(u.math.ones(5), name="gate")

    def step():
        gate.value = gate.value.at[3].multiply(1e30)

    with pytest.raises(NumericalError, match=r"State 'gate': became NaN or infinite between 0 and 100 ms, at \(3,\)"):
        run_of(step).advance(200 * u.ms)


@pytest.mark.parametrize(
    ("error", "words", "call"),
    [
        (ParameterError, "step must be a function; got 3", lambda: run_of(3)),
        (ParameterError, "'x': Linear.*has no get_spike", lambda: run_of(record={"x": ds.nn.Linear(2, 2)})),
        (ParameterError, r"record\['x'\] must be a function; got 7", lambda: run_of(record={"x": 7})),
        (ParameterError, "'x'.*gives 2 arrays", lambda: run_of(record={"x": lambda: (np.ones(2), np.ones(3))})),
        (ParameterError, "every=.*0.25 ms must be a multiple of dt=0.1 ms", lambda: run_of(every=0.25 * u.ms)),
        (ParameterError, "at least one step", lambda: run_of(every=0 * u.ms)),
        (ParameterError, "advance: -1 ms must be one finite time of at least 0 ms", lambda: run_of().advance(-1 * u.ms)),
        (UnitError, "advance.*a time", lambda: run_of().advance(3)),
        (UnknownNameError, "'cell'.*'cells'", lambda: made()[1].advance(0 * u.ms).events("cell")),
        (UnknownNameError, "unknown trace 'W'. Known: V", lambda: made()[1].advance(0 * u.ms).trace("W")),
    ],
)
def test_errors_say_what_is_needed(error, words, call):
    with pytest.raises(error, match=words):
        call()
