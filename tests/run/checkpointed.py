"""A small network with everything that is in flight at a checkpoint, and runs of it that stop and go on."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import brainunit as u
import numpy as np

import dist_sim as ds
from dist_sim.run.checkpoint import CheckpointPolicy
from dist_sim.run.directory import RunDirectory
from dist_sim.run.session import Session
from dist_sim.run.stop import Stopped
from dist_sim.simulator import NodeView, SimulationResult

TOTAL, CHUNK = 40.0, 3.7


def small(**options: Any) -> ds.Simulator:
    """Two models, delays of 0.7 to 3 ms (an interval of 7 steps, which no chunk of 37 steps fits), Poisson and direct input."""
    given = {"seed": 5, "chunk": CHUNK * u.ms} | options
    drive = given.pop("drive", 1200.0)
    sim = ds.Simulator(dt=0.1 * u.ms, **given)
    start = dict(V_m=ds.dist.Uniform(-68 * u.mV, -56 * u.mV))
    exp = sim.create(ds.iaf_psc_exp, 61, params=start, name="exp")
    delta = sim.create(ds.iaf_psc_delta, 37, params=start, name="delta")
    clock = sim.create(ds.spike_generator, 2, params=dict(spike_times=[np.arange(1.0, 40.0, 1.3) * u.ms, [2.0, 9.0] * u.ms]))
    noise = sim.create(ds.poisson_generator, rate=drive * u.Hz)
    current = sim.create(ds.dc_generator, amplitude=250 * u.pA, start=5 * u.ms, stop=33 * u.ms)
    recorder = sim.create(ds.spike_recorder)
    sim.connect(noise, exp, weight=200 * u.pA, delay=1.5 * u.ms)
    sim.connect(noise, delta, weight=1.5 * u.mV, delay=1.5 * u.ms)
    sim.connect(current, exp)
    late = ds.dist.Uniform(0.7 * u.ms, 3.0 * u.ms)
    sim.connect(exp, exp, rule=ds.fixed_indegree(9), weight=90 * u.pA, delay=late)
    sim.connect(exp, delta, rule=ds.fixed_indegree(9), weight=0.6 * u.mV, delay=late)
    sim.connect(delta, exp, rule=ds.pairwise_bernoulli(0.2), weight=-60 * u.pA, delay=0.7 * u.ms)
    sim.connect(clock, exp, rule=ds.fixed_indegree(1), weight=300 * u.pA, delay=0.9 * u.ms)
    sim.connect(exp, recorder)
    sim.connect(delta, recorder)
    sim.connect(sim.create(ds.multimeter, record_from=("V_m", "I_syn_ex"), interval=0.3 * u.ms), exp[::7])
    return sim


def sim_recorder(sim: ds.Simulator) -> NodeView:
    """Its recorder of spikes."""
    node = next(n for n in sim._nodes if n.model is ds.spike_recorder)
    return NodeView((node,), np.arange(1))


class StopAt:
    """Asks to stop after a number of chunks."""

    def __init__(self, chunks: int):
        self.left = chunks

    def reason(self, margin: float = 0.0) -> str | None:
        self.left -= 1
        return "test" if self.left <= 0 else None

    def poll(self) -> None: ...


def go(
    directory: RunDirectory, *, chunks: int = 10**9, allow_changed: bool = False, keep: int = 9,
    network: Callable[..., ds.Simulator] = small, **options: Any,
):  # fmt: skip
    """Runs in a directory, with a checkpoint after every chunk; the result, or None if it was stopped after `chunks`."""
    policy = CheckpointPolicy(every=0.0, keep_last=keep)
    session: Any = Session(directory=directory, checkpoints=policy, stop=StopAt(chunks), allow_changed=allow_changed)  # pyright: ignore
    with session.active():
        try:
            return network(**options).simulate(TOTAL * u.ms)
        except Stopped:
            return None
        finally:
            directory.close()


def copied(source: Path, target: Path) -> RunDirectory:
    """A run directory to go on in, and the old one as it was."""
    shutil.copytree(source, target)
    return RunDirectory.resume(target)


def told(result: SimulationResult) -> dict[str, Any]:
    """All that a run must say the same, however it was cut: digest, counts, rates, samples."""
    (meter,) = result._meters
    trace = result.to_numpy(meter)
    names = ("digest", "spikes", "emitted_events", "delivered_events", "in_flight_events", "rates", "cv", "model_time_ms")
    return {name: result.summary[name] for name in names} | {name: value.tobytes() for name, value in trace.items()}
