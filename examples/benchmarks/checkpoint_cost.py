"""What a checkpoint costs: bytes on the disk, the time that it takes from the run, memory, and the way back.

    python examples/benchmarks/checkpoint_cost.py --networks plastic,static
    python examples/benchmarks/checkpoint_cost.py --networks plastic --default-interval --mtbf 3600 --seconds 200

Each network runs in a process of its own, in turns without checkpoints and with one after the other. A save costs the run the
time in which the loop itself stands still, and what its chunks take longer (difference of medians) while the save goes on. The
default interval follows from the seconds that a save takes and a failure in 24 h (`best_interval`); the cost over the interval is
the fraction of the run that checkpoints take. The state is all arrays that a checkpoint holds, whole and uncompressed.

With `--default-interval` nothing is forced: the run takes its checkpoints when it finds that it is time to. All that they take
from the loop is summed up and divided by the time that the run lasted. The shortest default interval is a minute.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any
from unittest.mock import patch

NETWORKS = ("plastic", "static")
LINES = (  # title, key, digits
    ("neurons", "neurons", 0),
    ("plastic synapses", "plastic", 0),
    ("state [bytes]", "state", 0),
    ("on the disk [bytes]", "disk", 0),
    ("on the disk / state", "disk_ratio", 3),
    ("a save takes [s]", "save_s", 3),
    ("the loop stands still for a save [s]", "still_s", 4),
    ("a save costs the run [s]", "cost_s", 3),
    ("default interval [s]", "interval_s", 0),
    ("fraction of the run at that interval", "fraction", 5),
    ("more memory at its peak / state", "memory_ratio", 2),
    ("look for it, check it and go there [s]", "restore_s", 3),
)


AT_DEFAULT = (
    ("the run lasted [s]", "lasted_s", 1),
    ("chunks", "chunks", 0),
    ("checkpoints begun", "saves", 0),
    ("interval [s]", "interval_s", 1),
    ("a save takes [s]", "save_s", 3),
    ("the loop stands still, all saves [s]", "still_s", 4),
    ("longest standstill [s]", "longest_s", 4),
    ("chunks beside saves took longer, all [s]", "slower_s", 4),
    ("fraction of the run", "fraction", 5),
)


def network(name: str, neurons: int, indegree: int) -> Any:
    """Excitatory and inhibitory neurons with Poisson input; `plastic`: those among the excitatory ones learn."""
    import brainunit as u

    import dist_sim as ds

    sim = ds.Simulator(dt=0.1 * u.ms, seed=1, chunk=10 * u.ms)
    start = dict(V_m=ds.dist.Uniform(-65 * u.mV, -55 * u.mV))
    exc, inh = (sim.create(ds.iaf_psc_exp, n, params=start) for n in (neurons * 4 // 5, neurons // 5))
    noise, recorder = sim.create(ds.poisson_generator, rate=8000 * u.Hz), sim.create(ds.spike_recorder)
    learning: dict[str, Any] = dict(synapse=ds.stdp_synapse(Wmax=60 * u.pA)) if name == "plastic" else {}
    # Drawn, so that they do not compress.
    delay, weight = ds.dist.Uniform(1 * u.ms, 3 * u.ms), ds.dist.Uniform(1 * u.pA, 39 * u.pA)
    sim.connect(exc, exc, rule=ds.fixed_indegree(indegree * 4 // 5), weight=weight, delay=delay, **learning)
    sim.connect(exc, inh, rule=ds.fixed_indegree(indegree * 4 // 5), weight=20 * u.pA, delay=delay)
    for target in (exc, inh):
        sim.connect(noise, target, weight=22 * u.pA, delay=1.5 * u.ms)
        sim.connect(inh, target, rule=ds.fixed_indegree(indegree // 5), weight=-100 * u.pA, delay=delay)
        sim.connect(target, recorder)
    return sim


def resident(name: str) -> int:
    """`VmRSS` or `VmHWM` of this process, bytes."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name))
    return int(line.split()[1]) << 10


def one(name: str, neurons: int, indegree: int, seconds: float) -> dict[str, Any]:
    """The figures of one network."""
    import brainunit as u
    import numpy as np

    from dist_sim.run.checkpoint import CheckpointPolicy, best_interval
    from dist_sim.run.checkpoint_files import checkpoint_path, checkpoint_steps
    from dist_sim.run.directory import RunDirectory
    from dist_sim.run.safe_point import SafePoint
    from dist_sim.run.session import Session
    from dist_sim.run.stop import Stop

    saving, still, ends = False, [], []

    def in_turns(point: SafePoint, save: Any, at: str) -> None:
        """After each chunk, in place of what looks whether a save is due."""
        checkpoints = point._checkpoints
        assert checkpoints is not None
        if saving and checkpoints.due():
            begin = time.perf_counter()
            save(checkpoints)
            still.append(time.perf_counter() - begin)
        ends.append(time.perf_counter())

    with tempfile.TemporaryDirectory() as folder, patch.object(SafePoint, "visit", in_turns):
        directory = RunDirectory(Path(folder) / "run")
        policy = CheckpointPolicy(every=0.0, keep_last=1)
        with Session(directory=directory, checkpoints=policy, stop=Stop()).active():
            sim = network(name, neurons, indegree)
            sim.simulate(50 * u.ms)
            simulation = sim._simulation
            begin = time.perf_counter()
            sim.cont(50 * u.ms)
            piece = max(5, round(5 * seconds / (time.perf_counter() - begin) / 6)) * 10 * u.ms
            Path("/proc/self/clear_refs").write_text("5")  # the highest mark begins anew
            quiet = resident("VmRSS")
            peak, times = {False: 0, True: 0}, {False: [], True: []}
            lasting: list[float] = []
            for turn in range(6):
                saving = turn % 2 == 1
                Path("/proc/self/clear_refs").write_text("5")
                ends.clear()
                sim.cont(piece)
                times[saving] += np.diff(ends).tolist()
                peak[saving] = max(peak[saving], resident("VmHWM") - quiet)
                lasting.append(simulation.checkpoints.save_seconds)
            steps = checkpoint_steps(simulation.checkpoints._folder)
            path = checkpoint_path(simulation.checkpoints._folder, steps[-1])
            disk = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
            begin = time.perf_counter()
            saved = simulation.checkpoints.newest(2**31)
            simulation.network.restore_portable(saved.parts(), saved.step)
            restore_s = time.perf_counter() - begin
            state = sum(array.nbytes for array in next(iter(simulation.checkpoints.newest(2**31).parts())).values())
        directory.close()
    save_s = lasting[-1]
    alone, beside = (float(np.median(times[flag])) for flag in (False, True))
    cost_s = float(np.mean(still)) + max(0.0, beside - alone) * save_s / beside
    interval_s = best_interval(save_s, policy.mtbf)
    plastic = simulation.network.projection.plastic
    return {
        "neurons": neurons, "plastic": plastic.num_synapses if plastic is not None else 0, "state": state, "disk": disk,
        "disk_ratio": disk / state, "save_s": save_s, "still_s": float(np.mean(still)), "cost_s": cost_s, "saves": len(still),
        "interval_s": interval_s, "fraction": cost_s / interval_s, "memory_ratio": max(0, peak[True] - peak[False]) / state,
        "restore_s": restore_s, "chunk_s": alone, "chunk_s_saving": beside,
    }  # fmt: skip


def at_default_interval(name: str, neurons: int, indegree: int, seconds: float, mtbf: float) -> dict[str, Any]:
    """What checkpoints took from a run that was left to itself."""
    import brainunit as u
    import numpy as np

    from dist_sim.run.checkpoint import CheckpointPolicy
    from dist_sim.run.directory import RunDirectory
    from dist_sim.run.safe_point import SafePoint
    from dist_sim.run.session import Session
    from dist_sim.run.stop import Stop, Stopped

    look = SafePoint.visit
    begins, ends, begun, beside = [], [], [], []  # of each chunk: times; whether a save was begun after it, and went on then

    def looked(point: SafePoint, save: Any, at: str) -> None:
        """After each chunk: what the run does then, with the times."""
        end, checkpoints = time.perf_counter(), point._checkpoints
        assert checkpoints is not None
        before = checkpoints._begun
        look(point, save, at)
        begun.append(checkpoints._begun != before)
        beside.append(checkpoints._running is not None and not checkpoints._running.done())
        ends.append(end)
        begins.append(time.perf_counter())

    with tempfile.TemporaryDirectory() as folder, patch.object(SafePoint, "visit", looked):
        directory, policy = RunDirectory(Path(folder) / "run"), CheckpointPolicy(mtbf=mtbf)
        with Session(directory=directory, checkpoints=policy, stop=Stop(seconds)).active(), suppress(Stopped):
            sim = network(name, neurons, indegree)
            sim.simulate(1e6 * u.ms)
        checkpoints = sim._simulation.checkpoints
        directory.close()
    lengths, saving = np.subtract(ends[1:], begins[:-1]), np.array(beside[:-1])
    first = np.flatnonzero(np.diff(saving, prepend=False) & saving)
    last = np.flatnonzero(np.diff(saving, append=False) & saving) + 1
    # Beside the chunks just before: activity, and with it the time of a chunk, goes up and down.
    slower = [(lengths[a:b] - lengths[max(0, a - 50) : a].mean()).sum() for a, b in zip(first, last, strict=True)]
    still, lasted_s = np.subtract(begins, ends)[begun], begins[-1] - ends[0]
    return {
        "lasted_s": lasted_s, "chunks": len(lengths), "saves": len(still), "interval_s": checkpoints._interval,
        "save_s": checkpoints.save_seconds, "still_s": float(still.sum()), "longest_s": float(still.max(initial=0.0)),
        "slower_s": float(sum(slower)), "fraction": (float(still.sum()) + max(0.0, float(sum(slower)))) / lasted_s,
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", default=",".join(NETWORKS))
    parser.add_argument("--neurons", default="10000,100000", help="of each network")
    parser.add_argument("--indegree", default="125,100", help="of each network; 4 of 5 synapses are excitatory")
    parser.add_argument("--seconds", type=float, default=20.0, help="that each network runs")
    parser.add_argument("--default-interval", action="store_true", help="checkpoints when the run finds that it is time to")
    parser.add_argument("--mtbf", type=float, default=24 * 3600.0, help="seconds between failures, for --default-interval")
    parser.add_argument("--out", type=Path, help="a JSON file for the figures")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    given = parser.parse_args()
    names = given.networks.split(",")
    sizes = dict(zip(NETWORKS, zip(given.neurons.split(","), given.indegree.split(","), strict=True), strict=True))
    if given.one:
        neurons, indegree = (int(text) for text in sizes[given.one])
        if given.default_interval:
            print(json.dumps(at_default_interval(given.one, neurons, indegree, given.seconds, given.mtbf)))
        else:
            print(json.dumps(one(given.one, neurons, indegree, given.seconds)))
        return
    found = {}
    for name in names:
        line = [sys.executable, __file__, *sys.argv[1:], "--one", name]
        done = subprocess.run(line, stdout=subprocess.PIPE, text=True, check=True)
        found[name] = json.loads(done.stdout.splitlines()[-1])
    print(f"{'':40}" + "".join(f"{name:>16}" for name in names))
    for title, key, digits in AT_DEFAULT if given.default_interval else LINES:
        print(f"{title:40}" + "".join(f"{found[name][key]:>16,.{digits}f}" for name in names))
    if given.out:
        given.out.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
