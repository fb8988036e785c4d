"""What the campaigns of raising and of stalling processes run: a small network, and a fault at one stage of one process."""

import atexit
import importlib
import os
import signal
import time
from pathlib import Path

import brainunit as u
import jax

import dist_sim as ds
from dist_sim.commands import script
from dist_sim.run import checkpoint, loop, recording
from dist_sim.simulator import assembly
from dist_sim.simulator.simulation import Simulation

SIGNALS = {"stop": signal.SIGSTOP, "kill": signal.SIGKILL}
stage, kind, culprit = ds.param("stage", "none"), ds.param("kind", "raise"), ds.param("culprit", 1)


def fault(now):
    """Here the fault happens, if this is its stage and its process."""
    if stage != now or jax.process_index() != culprit:
        return
    if kind == "stop":
        time.sleep(3)  # what it says of itself is heard by then
    Path(os.environ["STRUCK"]).write_text(str(time.time()))
    if kind == "raise":
        raise ValueError("this one raises")
    if kind in SIGNALS:
        os.kill(os.getpid(), SIGNALS[kind])
    while kind == "loop":
        pass
    time.sleep(1000)


def before(owner, name, now, call=1):
    """The fault happens in the given call of a function."""
    function, calls = getattr(owner, name), [0]

    def faulty(*args, **kwargs):
        calls[0] += 1
        if calls[0] == call:
            fault(now)
        return function(*args, **kwargs)

    setattr(owner, name, faulty)


fault("first line")
before(assembly, "layout_on", "build")
before(loop.ChunkedLoop, "compile", "compile")
before(loop.ChunkedLoop, "_run", "first chunk", call=2)
before(Simulation, "collect", "late chunk", call=12)
before(recording.Recording, "append", "recording", call=5)
before(Simulation, "save", "checkpoint")
before(checkpoint, "write_checkpoint", "disk of a checkpoint")
before(script, "write_spikes", "results")
atexit.register(fault, "atexit")
if stage == "imports" and jax.process_index() == culprit:
    Path(os.environ["STRUCK"]).write_text(str(time.time()))
    importlib.import_module("a_module_of_the_other_node")

sim = ds.Simulator(dt=0.1 * u.ms, seed=3, chunk=1 * u.ms, backend=ds.param("backend", "") or None)
cells = sim.create(ds.iaf_psc_delta, 200, name="cells")
fault("create")
noise, recorder = sim.create(ds.poisson_generator, rate=25_000 * u.Hz), sim.create(ds.spike_recorder)
sim.connect(noise, cells, weight=0.1 * u.mV, delay=1.5 * u.ms)
fault("connect")
sim.connect(cells, cells, rule=ds.fixed_indegree(20), weight=0.4 * u.mV, delay=1.5 * u.ms)
sim.connect(cells, recorder)
sim.simulate(20 * u.ms)
fault("last line")
if stage == "after the others" and jax.process_index() == culprit:
    time.sleep(3)
fault("after the others")
