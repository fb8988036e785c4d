"""With a run directory, the memory of the host does not grow with the length of a run, nor do its results at the end."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.alone

SCRIPT = """
import brainunit as u
import numpy as np
import dist_sim as ds

duration = ds.param("seconds", 1.0) * u.second
if ds.param("program", "Run") == "Run":
    with ds.environ.context(dt=0.1 * u.ms):
        cells = ds.nn.init_all_states(ds.LIFRef(500, tau=10 * u.ms, V_th=15 * u.mV, tau_ref=2 * u.ms))
        current = np.linspace(25, 60, 500) * u.mA
        record = {"cells": cells, "V": lambda: cells.V.value[:100]}
        ds.Run(lambda: cells.update(current), record=record, every=0.5 * u.ms).advance(duration)
else:
    sim = ds.Simulator(dt=0.1 * u.ms, seed=1)
    cells = sim.create("iaf_psc_exp", 500, params={"I_e": 600 * u.pA, "V_m": ds.dist.Uniform(-70 * u.mV, -56 * u.mV)})
    weights = ds.static_synapse(weight_recorder=sim.create("weight_recorder"))
    sim.connect(cells, cells[:20], "fixed_indegree", indegree=5, weight=1 * u.pA, synapse=weights)
    sim.connect(cells, sim.create("spike_recorder"))
    sim.connect(sim.create("voltmeter", interval=0.5 * u.ms), cells[:100])
    sim.simulate(duration)
"""
GROWTH = 20 * 2**20  # bytes: of the allocator; spikes and samples of the longer run are at least 50 MiB


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak memory of a process as Linux counts it")
@pytest.mark.parametrize(("program", "seconds", "spikes"), [("Run", (5, 50), 3_900_000), ("Simulator", (4, 40), 1_600_000)])
def test_memory_does_not_follow_the_length_of_a_run(checkout, tmp_path, program, seconds, spikes):
    (tmp_path / "script.py").write_text(SCRIPT)
    peaks = []
    for length in seconds:
        command = [sys.executable, "-m", "dist_sim", "run", "script.py", "--out", f"run-{length}"]
        command += ["--set", f"program={program}", "--set", f"seconds={length}"]
        environment = os.environ | {"JAX_PLATFORMS": "cpu", "PYTHONPATH": str(checkout)}
        process = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.DEVNULL)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        assert process.returncode == 0
        peaks.append(1024 * used.ru_maxrss)
    summary = json.loads((tmp_path / f"run-{seconds[1]}" / "summary.json").read_text())
    assert summary["spikes"] > spikes
    assert peaks[1] - peaks[0] < GROWTH, [f"{peak / 2**20:.0f} MiB" for peak in peaks]
