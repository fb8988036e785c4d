"""Processes whose scripts have made different programs are refused before the first step, with what differs."""

import json
import re

import numpy as np
import pytest

from dist_sim.errors import DeviceError
from dist_sim.partition.processes import Processes

pytestmark = pytest.mark.alone

NETWORK = """
import json, os
import brainunit as u
import dist_sim as ds

own = json.loads(os.environ.get("OWN", "{}"))
options = {name: own[name] for name in ("backend", "precision") if name in own}
sim = ds.Simulator(dt=own.get("dt", 0.1) * u.ms, seed=own.get("seed", 5), **options)
cells = sim.create(ds.iaf_psc_delta, 200, tau_m=own.get("tau_m", 10) * u.ms, name="cells")
noise, recorder = sim.create(ds.poisson_generator, rate=25_000 * u.Hz), sim.create(ds.spike_recorder)
sim.connect(noise, cells, weight=0.1 * u.mV, delay=1.5 * u.ms)
sim.connect(cells, cells, rule=ds.fixed_indegree(own.get("indegree", 20)), weight=0.4 * u.mV, delay=1.5 * u.ms)
sim.connect(cells, recorder)
sim.simulate(own.get("time", 15) * u.ms)
"""

MODULES = """
import json, os
import brainunit as u
import jax.numpy as jnp
import dist_sim as ds

own = json.loads(os.environ.get("OWN", "{}"))
ds.environ.set(dt=0.1 * u.ms)
ds.random.seed(own.get("seed", 5))
trained = ds.ParamState(jnp.full(own.get("weights", 3), own.get("weight", 1.0)))
with ds.use_mesh():
    cells = ds.LIF(own.get("size", 100), tau=10 * u.ms)
    ds.nn.init_all_states(cells)
    for item in ds.resumable(range(2), trained=trained):
        trained.value = trained.value + 1
    step = lambda: cells.update(40 * u.mA * ds.random.uniform(size=()))
    ds.Run(step, record={"cells": cells} if own.get("record", True) else {}).advance(own.get("time", 10) * u.ms)
"""


def slow(*values):
    return pytest.param(*values, marks=pytest.mark.slow)


@pytest.mark.parametrize(
    ("script", "own", "said"),
    [
        (NETWORK, {"seed": 7}, r"differ in seed: 5 on process 0, 7 on process 1\. "),
        (NETWORK, {"indegree": 21}, r"differ in connect\(cells, cells\) \[0\]: .*indegree=20\).* on process 0, .*indegree=21\)"),
        slow(NETWORK, {"tau_m": 11}, r"differ in create cells: .*10.* on process 0, .*11.* on process 1"),
        slow(NETWORK, {"dt": 0.5}, r"differ in dt: 0.1 ms on process 0, 0.5 ms on process 1"),
        slow(NETWORK, {"backend": "reference"}, r"differ in backend: native on process 0, reference on process 1"),
        slow(NETWORK, {"precision": 64}, r"differ in precision: 32 bits on process 0, 64 bits on process 1"),
        slow(NETWORK, {"time": 20}, r"differ in steps from here: 150 of 0.1 ms on process 0, 200 of 0.1 ms on process 1"),
        (MODULES, {"seed": 7}, r"differ in value 0 of state \d \(RandomState 'random.DEFAULT'\): \w+ on process 0, \w+ on"),
        slow(MODULES, {"size": 101}, r"differ in a value that every process gives a State: float32\[100\]#"),
        slow(MODULES, {"record": False}, r"differ in recorded cells: .*100.* on process 0, nothing on process 1"),
        slow(MODULES, {"time": 20}, r"differ in steps from here: 100 of 0.1 ms on process 0, 200 of 0.1 ms on process 1"),
        slow(MODULES, {"weights": 4}, r"differ in trained: ParamState.*\[3\].* on process 0, ParamState.*\[4\].* on process 1"),
        slow(MODULES, {"weight": 2.0}, r"differ in value 0 of state 0 \(ParamState\): \w+ on process 0, \w+ on process 1"),
    ],
)  # fmt: skip
def test_programs_that_differ_are_refused(start, tmp_path, script, own, said):
    (tmp_path / "script.py").write_text(script)
    codes, errors, _ = start("--out run", "--out run", more=({}, {"OWN": json.dumps(own)}))
    assert codes == [64, 64], errors
    assert errors.count("dist-sim: ") == 1 and "Traceback" not in errors and re.search(said, errors), errors


@pytest.mark.slow
@pytest.mark.parametrize("script", [NETWORK, MODULES])
def test_programs_that_are_the_same_are_run(start, tmp_path, script):
    (tmp_path / "script.py").write_text(script)
    codes, errors, _ = start("--out run", "--out run")
    assert codes == [0, 0], errors


def test_double_precision_from_the_environment_is_told_and_changes_no_network(start, tmp_path):
    (tmp_path / "script.py").write_text(NETWORK)
    switch = {"JAX_ENABLE_X64": "1"}
    codes, errors, _ = start("--out one", "--out one", more=({}, switch))
    assert codes == [64, 64] and "differ in JAX_ENABLE_X64: False on process 0, True on process 1." in errors, errors
    assert start("--out plain")[0] == [0]
    codes, errors, _ = start("--out double", "--out double", more=(switch,))
    assert codes == [0, 0] and errors.count("JAX_ENABLE_X64") == 1, errors
    plain, double = (json.loads((tmp_path / name / "summary.json").read_text()) for name in ("plain", "double"))
    assert plain["spikes"] > 100 and plain["precision"] == double["precision"] == 32 and plain["digest"] == double["digest"]
    recorded = [json.loads((tmp_path / name / "provenance.json").read_text())["jax_enable_x64"] for name in ("plain", "double")]
    assert recorded == [False, True]


def test_one_process_has_nobody_to_differ_from():
    Processes().check_same({"seed": "5"}, "Give it.")


def test_what_differs_is_shown_with_its_processes(monkeypatch):
    said = [
        {"seed": "5", "long": "x" * 100 + "5"},
        {"seed": "7", "long": "x" * 100 + "7"},
        {"seed": "5", "long": "x" * 100 + "5"},
    ]
    monkeypatch.setattr(Processes, "gather", lambda self, values: np.arange(24).reshape(3, 8))
    monkeypatch.setattr(Processes, "_all", lambda self, text: [json.dumps(lines) for lines in said])
    with pytest.raises(
        DeviceError, match=r"seed: 5 on process 0 and 2, 7 on process 1; long: \.\.\.x{20}5 on process 0 and 2, \.\.\.x{20}7 "
    ):
        Processes(0, 3).check_same(said[0], "Give one.")
