"""What calls cost however small a network is: connect, get_connections, building, short simulations; beside NEST.

    python examples/benchmarks/overheads.py
    python examples/benchmarks/overheads.py --cases connect,cont --repeat 5 --without-nest

Milliseconds of CPU time, all threads together, the least of some repetitions. NEST gets the same calls, and runs in a process of
its own as each of our cases does. What XLA compiles has a row of its own where a network is built.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any
from unittest.mock import patch

POPULATIONS, PAIRS = 254, 30  # of the 64,516 connects, and of the 900 before get_connections
SCANNED = 100  # points


def least(call: Callable[[], Any], times: int, of: int = 1) -> float:
    """ms of CPU time of one of `of` calls that `call` makes."""
    found = []
    for _ in range(times):
        begin = time.process_time()
        call()
        found.append(time.process_time() - begin)
    return min(found) / of * 1e3


# ---- dist_sim ----


def simulator() -> Any:
    import dist_sim as ds

    return ds.Simulator(seed=1, devices=1)


def drawn() -> dict[str, Any]:
    import brainunit as u

    import dist_sim as ds

    normal = ds.dist.Normal
    return {
        "weight": normal(80 * u.pA, 8 * u.pA, min=0 * u.pA),
        "delay": normal(1.5 * u.ms, 0.75 * u.ms, min=0.1 * u.ms),
    }


def given() -> dict[str, Any]:
    import brainunit as u

    return {"weight": 80 * u.pA, "delay": 1.5 * u.ms}


def ours_connect() -> dict[str, float]:
    sim = simulator()
    a, b = (sim.create("iaf_psc_exp", 10) for _ in range(2))

    def connect(options: Callable[[], dict[str, Any]]) -> Callable[[], None]:
        def calls() -> None:
            for _ in range(100):
                sim.connect(a, b, "fixed_indegree", indegree=5, **options())

        return calls

    return {
        "connect": least(connect(given), 10, 100),
        "connect, clipped normal weight and delay": least(connect(drawn), 10, 100),
    }


def ours_get() -> dict[str, float]:
    import brainunit as u

    sim = simulator()
    cells = [sim.create("iaf_psc_exp", 10) for _ in range(PAIRS)]
    for a in cells:
        for b in cells:
            sim.connect(a, b, "fixed_indegree", indegree=5, **given())
    found = {"get_connections, first": least(lambda: sim.get_connections(cells[3], cells[7]), 1)}
    found["get_connections, again"] = least(lambda: sim.get_connections(cells[3], cells[7]), 10)
    pair = sim.get_connections(cells[3], cells[7])
    found['get("weight")'] = least(lambda: pair.get("weight"), 10)
    sim.simulate(1 * u.ms)
    found["get_connections, after simulate"] = least(lambda: sim.get_connections(cells[3], cells[7]), 10)
    return found


def ours_many(kind: str) -> dict[str, float]:
    sim = simulator()
    options = drawn() if kind == "clipped normal" else given()

    def network() -> None:
        cells = [sim.create("iaf_psc_exp", 4) for _ in range(POPULATIONS)]
        for a in cells:
            for b in cells:
                sim.connect(a, b, "fixed_total_number", N=5, **options)

    made = least(network, 1)
    return {f"64,516 connects, {kind}": made, **built(sim, f"64,516 connects, {kind}: ")}


def built(sim: Any, prefix: str) -> dict[str, float]:
    """ms to build a network, and to compile it."""
    import brainunit as u

    from dist_sim.run.loop import ChunkedLoop

    compiling, compiled = ChunkedLoop.compile, []

    def timed(loop: ChunkedLoop, first: int) -> None:
        compiled.append(least(lambda: compiling(loop, first), 1))

    with patch.object(ChunkedLoop, "compile", timed):
        whole = least(lambda: sim.simulate(0.1 * u.ms), 1)
    return {f"{prefix}build": whole - compiled[0], f"{prefix}compile": compiled[0]}


def ours_cont() -> dict[str, float]:
    import brainunit as u

    sim = simulator()
    cells = sim.create("iaf_psc_exp", 100, I_e=500 * u.pA)
    sim.connect(cells, cells, "fixed_indegree", indegree=10, weight=10 * u.pA)
    sim.simulate(1 * u.ms)

    def calls() -> None:
        for _ in range(20):
            sim.cont(1 * u.ms)

    return {"cont(1 ms) of 100 neurons": least(calls, 10, 20)}


def ours_generators() -> dict[str, float]:
    import brainunit as u

    sim = simulator()
    cells = sim.create("iaf_psc_exp", 100)
    sent = sim.create("spike_generator", 10_000, spike_times=[1.0, 5.0, 9.0] * u.ms)
    sim.connect(sent, cells, "fixed_indegree", indegree=10, weight=10 * u.pA)
    sim.simulate(10 * u.ms)
    return {"cont(10 ms) of 10,000 spike_generators": least(lambda: sim.cont(10 * u.ms), 10)}


def ours_scan() -> dict[str, float]:
    """Per point, of 100 inhibitory weights: the first compiles for all. And of three that compile each for itself."""
    import brainunit as u
    import numpy as np

    import dist_sim as ds
    from dist_sim.core import transform

    def point(weight: Any) -> Any:
        sim = simulator()
        exc, inh = sim.create("iaf_psc_exp", 80), sim.create("iaf_psc_exp", 20)
        noise = sim.create("poisson_generator", rate=8000 * u.Hz)
        sim.connect(noise, exc + inh, weight=87.8 * u.pA, delay=1.5 * u.ms)
        sim.connect(exc, exc + inh, "fixed_indegree", indegree=8, weight=87.8 * u.pA, delay=1.5 * u.ms)
        sim.connect(inh, exc + inh, "fixed_indegree", indegree=2, weight=weight, delay=0.8 * u.ms)
        sim.connect(exc + inh, sim.create("spike_recorder"))
        return sim.simulate(100 * u.ms).summary["spikes"]

    def alone(weight: Any) -> Any:
        transform.forget_programs()
        return point(weight)

    point(-400 * u.pA)  # kernels are loaded
    transform.forget_programs()
    weights: list[Any] = [weight * u.pA for weight in np.linspace(-900, -100, SCANNED)]
    return {
        f"a point of {SCANNED}": least(lambda: ds.sweep(point, {"weight": weights}, show=False), 1, SCANNED),
        f"a point of {SCANNED}, if each compiled": least(lambda: ds.sweep(alone, {"weight": weights[:3]}, show=False), 1, 3),
    }


def ours_meters() -> dict[str, float]:
    sim = simulator()
    cells = sim.create("iaf_psc_exp", 300)
    for k in range(300):
        sim.connect(sim.create("voltmeter"), cells[k])
    return built(sim, "300 voltmeters: ")


# ---- NEST ----


def kernel() -> Any:
    import nest as installed

    nest: Any = installed
    nest.verbosity = nest.VerbosityLevel.ERROR
    nest.ResetKernel()
    nest.resolution, nest.local_num_threads = 0.1, 1
    return nest


def nests_drawn(nest: Any) -> dict[str, Any]:
    redraw, normal = nest.math.redraw, nest.random.normal
    return {
        "weight": redraw(normal(mean=80.0, std=8.0), min=0.0, max=1e9),
        "delay": redraw(normal(mean=1.5, std=0.75), min=0.1, max=1e9),
    }


NESTS_GIVEN = {"weight": 80.0, "delay": 1.5}


def nests_connect() -> dict[str, float]:
    nest = kernel()
    a, b = (nest.Create("iaf_psc_exp", 10) for _ in range(2))
    rule = {"rule": "fixed_indegree", "indegree": 5}

    def connect(options: Callable[[], dict[str, Any]]) -> Callable[[], None]:
        def calls() -> None:
            for _ in range(100):
                nest.Connect(a, b, rule, options())

        return calls

    return {
        "connect": least(connect(lambda: NESTS_GIVEN), 10, 100),
        "connect, clipped normal weight and delay": least(connect(lambda: nests_drawn(nest)), 10, 100),
    }


def nests_get() -> dict[str, float]:
    nest = kernel()
    cells = [nest.Create("iaf_psc_exp", 10) for _ in range(PAIRS)]
    for a in cells:
        for b in cells:
            nest.Connect(a, b, {"rule": "fixed_indegree", "indegree": 5}, NESTS_GIVEN)
    found = {"get_connections, first": least(lambda: nest.GetConnections(cells[3], cells[7]), 1)}
    found["get_connections, again"] = least(lambda: nest.GetConnections(cells[3], cells[7]), 10)
    pair = nest.GetConnections(cells[3], cells[7])
    found['get("weight")'] = least(lambda: pair.get("weight"), 10)
    nest.Simulate(1.0)
    found["get_connections, after simulate"] = least(lambda: nest.GetConnections(cells[3], cells[7]), 10)
    return found


def nests_many(kind: str) -> dict[str, float]:
    nest = kernel()
    options = nests_drawn(nest) if kind == "clipped normal" else NESTS_GIVEN

    def network() -> None:
        cells = [nest.Create("iaf_psc_exp", 4) for _ in range(POPULATIONS)]
        for a in cells:
            for b in cells:
                nest.Connect(a, b, {"rule": "fixed_total_number", "N": 5}, options)

    name = f"64,516 connects, {kind}"
    return {name: least(network, 1), f"{name}: build": least(lambda: nest.Simulate(0.1), 1)}


def nests_cont() -> dict[str, float]:
    nest = kernel()
    cells = nest.Create("iaf_psc_exp", 100, {"I_e": 500.0})
    nest.Connect(cells, cells, {"rule": "fixed_indegree", "indegree": 10}, {"weight": 10.0})
    nest.Connect(cells, nest.Create("spike_recorder"))  # we record without being told
    nest.Simulate(1.0)

    def calls() -> None:
        for _ in range(20):
            nest.Simulate(1.0)

    return {"cont(1 ms) of 100 neurons": least(calls, 10, 20)}


def nests_generators() -> dict[str, float]:
    nest = kernel()
    cells = nest.Create("iaf_psc_exp", 100)
    sent = nest.Create("spike_generator", 10_000, {"spike_times": [1.0, 5.0, 9.0]})
    nest.Connect(sent, cells, {"rule": "fixed_indegree", "indegree": 10}, {"weight": 10.0})
    nest.Simulate(10.0)
    return {"cont(10 ms) of 10,000 spike_generators": least(lambda: nest.Simulate(10.0), 10)}


def nests_scan() -> dict[str, float]:
    def point(weight: float) -> int:
        nest = kernel()
        exc, inh = nest.Create("iaf_psc_exp", 80), nest.Create("iaf_psc_exp", 20)
        noise, recorder = nest.Create("poisson_generator", 1, {"rate": 8000.0}), nest.Create("spike_recorder")
        nest.Connect(noise, exc + inh, "all_to_all", {"weight": 87.8, "delay": 1.5})
        nest.Connect(exc, exc + inh, {"rule": "fixed_indegree", "indegree": 8}, {"weight": 87.8, "delay": 1.5})
        nest.Connect(inh, exc + inh, {"rule": "fixed_indegree", "indegree": 2}, {"weight": weight, "delay": 0.8})
        nest.Connect(exc + inh, recorder)
        nest.Simulate(100.0)
        return recorder.n_events

    weights = [-900.0 + 800.0 * k / (SCANNED - 1) for k in range(SCANNED)]
    return {f"a point of {SCANNED}": least(lambda: [point(weight) for weight in weights], 1, SCANNED)}


def nests_meters() -> dict[str, float]:
    nest = kernel()
    cells = nest.Create("iaf_psc_exp", 300)
    for k in range(300):
        nest.Connect(nest.Create("voltmeter"), cells[k])
    return {"300 voltmeters: build": least(lambda: nest.Simulate(0.1), 1)}


CASES: dict[str, tuple[Callable[..., dict[str, float]], Callable[..., dict[str, float]], tuple[str, ...]]] = {
    "connect": (ours_connect, nests_connect, ()),
    "get": (ours_get, nests_get, ()),
    "many": (ours_many, nests_many, ("constant",)),
    "many_drawn": (ours_many, nests_many, ("clipped normal",)),
    "cont": (ours_cont, nests_cont, ()),
    "generators": (ours_generators, nests_generators, ()),
    "meters": (ours_meters, nests_meters, ()),
    "scan": (ours_scan, nests_scan, ()),
}


def alone(which: str, case: str) -> dict[str, float]:
    line = [sys.executable, __file__, "--one", json.dumps([which, case])]
    done = subprocess.run(line, stdout=subprocess.PIPE, text=True, check=True, env=os.environ)
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", default=",".join(CASES))
    parser.add_argument("--repeat", type=int, default=3, help="processes of each case; the least counts")
    parser.add_argument("--without-nest", action="store_true")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        which, case = json.loads(given.one)
        ours, nests, arguments = CASES[case]
        print(json.dumps((nests if which == "nest" else ours)(*arguments)))
        return
    runs = {"dist_sim": "ours"} | ({} if given.without_nest else {"NEST": "nest"})
    print(f"{'ms of CPU time':44}" + "".join(f"{name:>14}" for name in runs))
    for case in given.cases.split(","):
        found: dict[str, list[dict[str, float]]] = {name: [] for name in runs}
        for _ in range(given.repeat):  # in turn, so that all have their share of a quiet machine
            for name, which in runs.items():
                found[name].append(alone(which, case))
        for row in found["dist_sim"][0]:
            figures = [min((f[row] for f in of if row in f), default=None) for of in found.values()]
            print(f"{row:44}" + "".join(f"{'-' if f is None else format(f, '.3f'):>14}" for f in figures))


if __name__ == "__main__":
    main()
