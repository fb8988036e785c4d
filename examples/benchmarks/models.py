"""CPU time per neuron and step of every neuron model, beside NEST's.

    python examples/benchmarks/models.py
    python examples/benchmarks/models.py --models iaf_cond_exp,aeif_cond_exp --threads 1 --repeat 5

Unconnected neurons, each with a current of its own, and one train of 400 spikes per second that excites all of them. Quiet:
currents that are too small for spikes; active: such currents that they fire at about 10 Hz. NEST gets the same numbers and
runs in a process of its own with as many threads. The first 100 ms, and as much as is timed after them, are not timed. Times
are those of the CPU, all threads together: on a machine that others use too, those of the clock say little.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

RATE, TRAIN = 10.0, 400.0  # Hz
WEIGHTS = {"pA": 20.0, "nS": 0.5, "mV": 0.1}
STRONGEST = 3000.0  # pA, of the currents among which those for 10 Hz are looked for


def drive(neurons: int, amplitude: float, spread: float, duration: float) -> tuple[np.ndarray, np.ndarray]:
    """Currents [pA] of the neurons, and times [ms] of the common train, in whole steps."""
    random = np.random.default_rng(1)
    currents = amplitude * random.uniform(1 - spread, 1 + spread, neurons)
    steps = np.flatnonzero(random.uniform(size=int(10 * duration)) < TRAIN * 1e-4) + 1
    return currents, steps / 10


def excited(model: str) -> tuple[int, float]:
    """Receptor type and weight of the common train."""
    from dist_sim.nest.neurons import NEURONS
    from dist_sim.nest.neurons.shape import default_shape, receptor_unit, routes_of

    kind = NEURONS[model]
    port = min(routes_of(kind, default_shape(kind)))
    return port, WEIGHTS[str(receptor_unit(kind, port))]


def simulator(model: str, currents: np.ndarray, times: np.ndarray, precision: int) -> tuple[Any, Any]:
    import brainunit as u

    import dist_sim as ds

    sim = ds.Simulator(dt=0.1 * u.ms, seed=1, devices=1, precision=precision)
    cells = sim.create(model, len(currents), params={"I_e": currents * u.pA})
    train = sim.create(ds.spike_generator, spike_times=times * u.ms)
    port, weight = excited(model)
    unit = {"pA": u.pA, "nS": u.nS, "mV": u.mV}[next(n for n, w in WEIGHTS.items() if w == weight)]
    sim.connect(train, cells, weight=weight * unit, delay=1.0 * u.ms, receptor_type=port)
    recorder = sim.create(ds.spike_recorder)
    sim.connect(cells, recorder)
    return sim, recorder


def ours(model: str, neurons: int, amplitude: float, duration: float, precision: int) -> dict[str, float]:
    import brainunit as u

    sim, _ = simulator(model, *drive(neurons, amplitude, 0.05, 2 * duration + 100), precision)
    sim.simulate(100 * u.ms)
    before = sim.cont(duration * u.ms).summary["spikes"]  # compiled for this length
    begin = time.process_time()
    spikes = sim.cont(duration * u.ms).summary["spikes"] - before
    return {"seconds": time.process_time() - begin, "spikes": spikes}


def nests(
    model: str, neurons: int, amplitude: float, duration: float, port: int, weight: float, threads: int
) -> dict[str, float]:
    import nest as installed

    nest: Any = installed

    nest.verbosity = nest.VerbosityLevel.ERROR
    nest.ResetKernel()
    nest.resolution, nest.local_num_threads = 0.1, threads
    currents, times = drive(neurons, amplitude, 0.05, 2 * duration + 100)
    cells = nest.Create(model, neurons)
    cells.I_e = currents
    train = nest.Create("spike_generator", params={"spike_times": times})
    nest.Connect(train, cells, syn_spec={"weight": weight, "delay": 1.0, "receptor_type": port})
    recorder = nest.Create("spike_recorder")
    nest.Connect(cells, recorder)
    nest.Simulate(100.0)
    nest.Simulate(duration)
    before = recorder.n_events
    begin = time.process_time()
    nest.Simulate(duration)
    return {"seconds": time.process_time() - begin, "spikes": recorder.n_events - before}


def amplitude(model: str) -> float:
    """The current [pA] with which neurons of a model fire at 10 Hz, once they are used to it."""
    import brainunit as u

    currents = np.geomspace(1.0, STRONGEST, 1024)
    sim, recorder = simulator(model, currents, drive(1, 1.0, 0.0, 1500.0)[1], 32)
    times, senders = sim.simulate(1500 * u.ms).events(recorder)
    rates = np.bincount(np.asarray(senders)[times.to_decimal(u.ms) > 500], minlength=len(currents))
    enough = np.flatnonzero(rates >= RATE)
    return float(currents[enough[0]]) if len(enough) else 0.0


def alone(which: str, threads: int, *arguments: Any) -> Any:
    """What a function returns in a process of its own that has so many cores."""
    cores = sorted(os.sched_getaffinity(0))[-threads:]
    line = [sys.executable, __file__, "--one", json.dumps([which, *arguments])]
    done = subprocess.run(line, stdout=subprocess.PIPE, text=True, preexec_fn=lambda: os.sched_setaffinity(0, cores))
    return json.loads(done.stdout.splitlines()[-1]) if done.returncode == 0 else None


def nanoseconds(found: list[dict[str, float] | None], neurons: int, duration: float) -> tuple[float, float]:
    """ns per neuron-step of the fastest run, and the rate in Hz."""
    done = [f for f in found if f is not None]
    if not done:
        return float("nan"), float("nan")
    best = min(done, key=lambda f: f["seconds"])
    return best["seconds"] / neurons / (10 * duration) * 1e9, best["spikes"] / neurons / duration * 1e3


def processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor()


def main() -> None:
    from rich.console import Console
    from rich.table import Table

    from dist_sim.nest.neurons import NEURONS

    able = [m for m, kind in NEURONS.items() if "I_e" in kind.parameter_declarations]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default=",".join(able))
    parser.add_argument("--neurons", type=int, default=10_000)
    parser.add_argument("--duration", type=float, default=200.0, help="ms")
    parser.add_argument("--threads", default="1,2")
    parser.add_argument("--repeat", type=int, default=3, help="the fastest counts")
    parser.add_argument("--without-nest", action="store_true")
    parser.add_argument("--json", help="file for the numbers")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        which, *rest = json.loads(given.one)
        print(json.dumps({"nest": nests, "ours": ours, "amplitude": amplitude}[which](*rest)))
        return
    threads = [int(t) for t in given.threads.split(",")]
    table = Table(title=f"ns of CPU time per neuron-step; {given.neurons} neurons; {processor()}, load {os.getloadavg()[0]:.1f}")
    for column in ("model", "drive", "threads", "Hz (NEST)", "NEST", "64 bits", "NEST / 64", "32 bits", "NEST / 32"):
        table.add_column(column, justify="left" if column in ("model", "drive") else "right")
    rows = []
    console = Console(width=120)
    for model in given.models.split(","):
        strength = alone("amplitude", 1, model)
        if not strength:
            console.print(f"{model}: no current makes it fire at {RATE:g} Hz")
            continue
        for name, current in (("quiet", 0.1 * strength), ("active", strength)):
            for count in threads:
                size = (model, given.neurons, current, given.duration)
                measured = {}
                runs: dict[str, tuple[str, tuple]] = {"64": ("ours", (64,)), "32": ("ours", (32,))}
                if not given.without_nest:
                    runs["NEST"] = ("nest", (*excited(model), count))
                found: dict[str, list[Any]] = {label: [] for label in runs}
                for _ in range(given.repeat):  # in turn, so that all have their share of a quiet machine
                    for label, (which, options) in runs.items():
                        found[label].append(alone(which, count, *size, *options))
                measured = {label: nanoseconds(f, given.neurons, given.duration) for label, f in found.items()}
                theirs, hertz = measured.get("NEST", (float("nan"), float("nan")))
                wide, narrow = measured["64"][0], measured["32"][0]
                rows.append([model, name, count, measured["64"][1], hertz, theirs, wide, narrow])
                figures = (f"{theirs:.0f}", f"{wide:.1f}", f"{theirs / wide:.1f}", f"{narrow:.1f}", f"{theirs / narrow:.1f}")
                table.add_row(model, name, str(count), f"{measured['64'][1]:.1f} ({hertz:.1f})", *figures)
                console.print(model, name, count, *figures)
    console.print(table)
    if given.json:
        Path(given.json).write_text(json.dumps(rows))


if __name__ == "__main__":
    main()
