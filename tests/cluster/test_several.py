"""`dist-sim run` on several processes: one run, one message, one exit code."""

import json
import os
import re
import socket
import subprocess
import sys

import numpy as np
import pytest

from dist_sim.run.digest import digest_of

pytestmark = pytest.mark.alone

SCRIPT = """
import atexit
import threading
import brainunit as u
import jax
import dist_sim as ds

stage, culprit = ds.param("stage", "none"), ds.param("culprit", 1)

def perhaps(now):
    if stage == now and jax.process_index() == culprit:
        raise ValueError("this one raises")

@atexit.register
def which_threads():
    open(f"threads-{jax.process_index()}", "w").write(" ".join(t.name for t in threading.enumerate() if "dist_sim" in t.name))

perhaps("begin")
sim = ds.Simulator(dt=0.1 * u.ms, seed=3)
cells = sim.create(ds.iaf_psc_delta, 200, name="cells")
noise, recorder = sim.create(ds.poisson_generator, rate=25_000 * u.Hz), sim.create(ds.spike_recorder)
sim.connect(noise, cells, weight=0.1 * u.mV, delay=1.5 * u.ms)
sim.connect(cells, cells, rule=ds.fixed_indegree(20), weight=0.4 * u.mV, delay=1.5 * u.ms)
sim.connect(cells, recorder)
perhaps("built")
sim.simulate(15 * u.ms)
perhaps("between")
times, senders = sim.cont(15 * u.ms).events(recorder)
perhaps("end")
open(f"seen-{jax.process_index()}", "w").write(str(len(senders)))
print(len(senders), "spikes")
"""


@pytest.fixture(autouse=True)
def written(tmp_path):
    (tmp_path / "script.py").write_text(SCRIPT)
    (tmp_path / "other.py").write_text(SCRIPT + "\n# another one\n")


LONG = """
import os, signal
import brainunit as u
import jax
import dist_sim as ds
from dist_sim.simulator.simulation import Simulation

collect = Simulation.collect

def then_stop(self, first, last):
    rate = collect(self, first, last)
    if first >= 120 and os.environ.get("STOP") == str(jax.process_index()):
        os.kill(os.getpid(), signal.SIGTERM)
    return rate

Simulation.collect = then_stop
sim = ds.Simulator(dt=0.1 * u.ms, seed=3, chunk=1 * u.ms)
cells = sim.create(ds.iaf_psc_delta, 200, name="cells")
noise, recorder = sim.create(ds.poisson_generator, rate=25_000 * u.Hz), sim.create(ds.spike_recorder)
meter = sim.create(ds.voltmeter, interval=0.5 * u.ms)
sim.connect(noise, cells, weight=0.1 * u.mV, delay=1.5 * u.ms)
sim.connect(cells, cells, rule=ds.fixed_indegree(20), weight=0.4 * u.mV, delay=1.5 * u.ms)
passed = sim.create(ds.weight_recorder)
plastic = ds.stdp_synapse(weight=0.2 * u.mV, Wmax=0.5 * u.mV, lambda_=0.1, weight_recorder=passed)
late = ds.dist.Uniform(1 * u.ms, 3 * u.ms)
sim.connect(cells, cells, rule=ds.fixed_indegree(10), delay=late, synapse=plastic)
sim.connect(cells, recorder)
sim.connect(meter, cells[:5])
result = sim.simulate(25 * u.ms)
weights = sim.get_connections(synapse="stdp_synapse").get("weight").mantissa
events = result.events(passed)
assert len(events.times) > 200 and len(set(weights.tolist())) > 200
if jax.process_index() == 0:
    arrays = result.trace(meter).mantissa, weights, events.times.mantissa, events.senders, events.targets, events.weights.mantissa
    open(os.environ["TRACE"], "w").write(str([array.tolist() for array in arrays]))
"""


@pytest.mark.parametrize(
    ("stopped_by", "resumed_by"), [(2, 1), *(pytest.param(*p, marks=pytest.mark.slow) for p in ((1, 2), (2, 2), (2, 3)))]
)
def test_a_run_stopped_on_some_processes_goes_on_with_others(start, tmp_path, monkeypatch, stopped_by, resumed_by):
    """With plastic synapses; each process has written its own part of the checkpoint."""
    (tmp_path / "script.py").write_text(LONG)
    monkeypatch.setenv("TRACE", str(tmp_path / "wanted"))
    assert start("--out whole")[0] == [0]
    monkeypatch.setenv("STOP", str(stopped_by - 1))
    codes, said, _ = start(*["--out run --devices 2"] * stopped_by)
    assert codes == [75] * stopped_by and said.count("to be resumed") == 1, said
    (saved,) = (tmp_path / "run" / "checkpoints" / "spikes").iterdir()
    parts = json.loads((saved / "manifest.json").read_text())["arrays"]
    assert len(parts) == stopped_by and sum(part["plastic.stdp_synapse.weight"]["shape"][0] for part in parts) == 2000
    monkeypatch.delenv("STOP")
    monkeypatch.setenv("TRACE", str(tmp_path / "found"))
    codes, said, _ = start(*[f"--devices {resumed_by}"] * resumed_by, script=("run",), command="resume")
    assert codes == [0] * resumed_by, said
    assert "resumed at 13 ms" in said
    whole, run = (json.loads((tmp_path / name / "summary.json").read_text()) for name in ("whole", "run"))
    same = ("digest", "spikes", "rates", "cv", "emitted_events", "delivered_events", "in_flight_events", "model_time_ms")
    assert {name: run[name] for name in same} == {name: whole[name] for name in same} and run["processes"] == resumed_by
    assert (tmp_path / "found").read_text() == (tmp_path / "wanted").read_text()
    assert digest_of(tmp_path / "run") == whole["digest"]


MODULES = """
import os, signal
import brainunit as u
import jax
import jax.numpy as jnp
import numpy as np
import dist_sim as ds

def perhaps_stop(stage):
    if os.environ.get("STOP") == f"{stage} {jax.process_index()}":
        os.kill(os.getpid(), signal.SIGTERM)

ds.random.seed(3)
with ds.use_mesh(), ds.environ.context(dt=0.1 * u.ms):
    cells = ds.nn.init_all_states(ds.LIF(300, V_th=15 * u.mV, tau=10 * u.ms, V_initializer=ds.init.Uniform(0.0, 15.0, unit=u.mV)))
    run = ds.Run(lambda: cells(20 * u.mA + 5 * u.mA * ds.random.normal(size=300)), record={"cells": cells}, chunk=1 * u.ms)
    run.advance(12 * u.ms)
    perhaps_stop("run")
    result = run.advance(13 * u.ms)
    weights, losses = ds.ParamState(jnp.linspace(0.0, 1.0, 300), axes=("neuron",)), ds.State(jnp.zeros(6))
    opt = ds.optim.Adam(lr=1e-2)
    opt.register_trainable_weights({"w": weights})

    @ds.transform.jit
    def step():
        away = lambda: ((weights.value - ds.random.uniform()) ** 2).sum()
        grads, loss = ds.transform.grad(away, {"w": weights}, return_value=True)()
        opt.update(grads)
        return loss

    for k in ds.resumable(range(6), weights=weights, opt=opt, losses=losses):
        losses.value = losses.value.at[k].set(step())
        if k == 3:
            perhaps_stop("loop")
    found = ds.transform.jit(lambda: (weights.value, losses.value))()
if jax.process_index() == 0:
    np.savez(os.environ["TRACE"], losses=np.asarray(found[1]), weights=np.asarray(found[0]))
"""


@pytest.mark.parametrize(("stage", "by", "resumed_by"), [("run", 2, 1), ("loop", 1, 2)])
def test_modules_and_training_stopped_on_some_processes_go_on_with_others(start, tmp_path, monkeypatch, stage, by, resumed_by):
    (tmp_path / "script.py").write_text(MODULES)
    monkeypatch.setenv("TRACE", str(tmp_path / "wanted.npz"))
    assert start("--out whole")[0] == [0]
    monkeypatch.setenv("STOP", f"{stage} {by - 1}")
    codes, said, _ = start(*[f"--out run --devices {by}"] * by)
    assert codes == [75] * by and said.count("to be resumed") == 1, said
    monkeypatch.delenv("STOP")
    monkeypatch.setenv("TRACE", str(tmp_path / "found.npz"))
    codes, said, _ = start(*[f"--devices {resumed_by}"] * resumed_by, script=("run",), command="resume")
    assert codes == [0] * resumed_by, said
    assert ("resumed at 13 ms" if stage == "run" else "resumed after item 4") in said
    assert digest_of(tmp_path / "run") == digest_of(tmp_path / "whole")
    wanted, found = (np.load(tmp_path / f"{name}.npz") for name in ("wanted", "found"))
    for name in ("losses", "weights"):
        np.testing.assert_allclose(found[name], wanted[name], rtol=1e-6)
    assert len(np.unique(wanted["losses"])) == 6


def test_two_processes_are_one_run(start, tmp_path):
    assert start("--out one")[0] == [0]
    codes, said, _ = start("--out two --devices 4", "--out two --devices 4")
    assert codes == [0, 0], said
    one, two = (json.loads((tmp_path / name / "summary.json").read_text()) for name in ("one", "two"))
    assert one["digest"] == two["digest"] and one["spikes"] > 100
    assert (two["devices"], two["processes"]) == (4, 2)
    memory = two["peak_rss_bytes_of_processes"]
    assert len(memory) == 2 and min(memory) > 2**20 and two["peak_rss_bytes"] == max(memory)
    # What the script prints is seen once: that of process 1 is in a file.
    assert (tmp_path / "two" / "stdout-1.txt").read_text() == f"{one['spikes']} spikes\n"
    assert sorted(path.name for path in (tmp_path / "two" / "spikes").iterdir()) == ["seg-00000-00000.bin", "seg-00001-00000.bin"]
    assert {(tmp_path / f"seen-{k}").read_text() for k in range(2)} == {str(one["spikes"])}
    # A thread that were inside jaxlib now could end the process with SIGABRT.
    assert {(tmp_path / f"threads-{k}").read_text() for k in range(2)} == {""}
    told = subprocess.run(
        [sys.executable, "-m", "dist_sim", "digest", "two"], cwd=tmp_path, capture_output=True, text=True, timeout=100
    )
    assert told.stdout.strip() == one["digest"]


@pytest.mark.parametrize("stage", ["between", *(pytest.param(s, marks=pytest.mark.slow) for s in ("begin", "built", "end"))])
@pytest.mark.parametrize("culprit", [1, pytest.param(0, marks=pytest.mark.slow)])
def test_one_that_raises_ends_all_with_one_message(start, tmp_path, stage, culprit):
    options = f"--out run --set stage={stage} --set culprit={culprit}"
    codes, said, _ = start(options, options)
    assert codes == [70, 70]
    assert said.count("ValueError: this one raises") == 1 and said.count("Traceback") == 1, said
    status = json.loads((tmp_path / "run" / "status.json").read_text())
    assert (status["state"], status["exit_code"]) == ("failed", 70)


SHORT_OF_PATIENCE = """
import sys
from functools import partial
from dist_sim.cluster import bootstrap
from dist_sim.commands import app, meeting

meeting._LAST_WORD_S = 1
bootstrap.connect = partial(bootstrap.connect, connect_s=1)
sys.exit(app.main())
"""


@pytest.mark.parametrize(
    ("option", "said"), [("--checkpoint-every soon", "must be a time"), ("", r"had not (come|called all together) within 1 s")]
)
def test_processes_that_the_others_never_come_to_say_why_they_end(checkout, tmp_path, option, said):
    (tmp_path / "script.py").touch()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = os.environ | {"JAX_PLATFORMS": "cpu", "PYTHONPATH": str(checkout)}
    alone = [
        subprocess.Popen(
            [sys.executable, "-c", SHORT_OF_PATIENCE, "run", "script.py", *option.split(),
             "--coordinator", f"127.0.0.1:{port + k}", "--processes", "2", "--process", str(k)],
            cwd=tmp_path, env=environment, text=True, stderr=subprocess.PIPE,
        )
        for k in range(2)
    ]  # fmt: skip
    for process in alone:
        errors = process.communicate(timeout=100)[1]
        assert process.returncode == 64 and re.search(said, errors) and errors.count("dist-sim: ") == 1, errors


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "scripts", "said"),
    [
        (
            ("--out a --set culprit=1", "--out a --set culprit=2"),
            ("script.py",),
            r"differ in parameters: .*culprit.* on process 0, .* on process 1",
        ),
        (("--out a", "--out a"), ("script.py", "other.py"), r"differ in script: \w+ on process 0, \w+ on process 1"),
        (("--out a --devices 3",) * 2, ("script.py",), "Give a multiple of 2"),
    ],
)
def test_wrong_starts_are_refused_with_what_to_do(start, options, scripts, said):
    codes, errors, _ = start(*options, script=scripts)
    assert codes == [64, 64]
    assert len(re.findall(said, errors)) == 1 and errors.count("dist-sim: ") == 1, errors
