"""What a process of a large network holds, and how much of it follows the whole network rather than its own part.

    python examples/benchmarks/own_part.py --neurons 1000000 --processes 1,2,4

Each number of processes builds the same network (Poisson input, drawn initial potentials, four connections) on localhost, one
device each. Of process 0: resident bytes and their peak after the build, less what it held before the network was described.
The bytes of its tables and States are its own part; what is left, per neuron of the whole network, is what a process pays
for neurons that are not its own, and for having built its part.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import subprocess
import sys
import time
from typing import Any


def resident() -> int:
    """Bytes of this process that are in memory now."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def one_process(neurons: int, indegree: int, processes: int, process: int, port: int) -> dict[str, Any]:
    """Builds the network as one of `processes`."""
    from dist_sim.cluster.bootstrap import start
    from dist_sim.cluster.launch import Launch

    start(Launch(launcher="explicit", processes=processes, process=process, coordinator=f"127.0.0.1:{port}"))
    import brainunit as u
    import jax

    import dist_sim as ds
    from dist_sim.kernels import backend
    from dist_sim.run.summary import peak_rss_bytes

    small = ds.Simulator(seed=1)
    cells = small.create(ds.iaf_psc_exp, 256 * processes)
    small.connect(cells, cells, rule=ds.fixed_indegree(1), weight=1 * u.pA, delay=1 * u.ms)
    small.simulate(0 * u.ms)
    backend.library()
    before, begin = resident(), time.perf_counter()
    sim = ds.Simulator(seed=1)
    start_V = ds.dist.Normal(-60 * u.mV, 5 * u.mV)
    exc = sim.create(ds.iaf_psc_exp, neurons * 4 // 5, params=dict(V_m=start_V))
    inh = sim.create(ds.iaf_psc_exp, neurons // 5, params=dict(V_m=start_V))
    noise = sim.create(ds.poisson_generator, rate=8000 * u.Hz)
    recorder = sim.create(ds.spike_recorder)
    for target in (exc, inh):
        sim.connect(noise, target, weight=20 * u.pA, delay=1.5 * u.ms)
        sim.connect(exc, target, rule=ds.fixed_indegree(indegree * 4 // 5), weight=20 * u.pA, delay=1.5 * u.ms)
        sim.connect(inh, target, rule=ds.fixed_indegree(indegree // 5), weight=-80 * u.pA, delay=1.5 * u.ms)
        sim.connect(target, recorder)
    described = resident()
    summary = sim.simulate(0 * u.ms).summary
    seconds = time.perf_counter() - begin
    assert sim._simulation is not None
    network = sim._simulation.network
    own = sum(shard.data.nbytes for state in network.states().values() for shard in state.value.addressable_shards)
    found = {
        "before": before, "described": described - before, "kept": resident() - before, "peak": peak_rss_bytes() - before,
        "own": own, "build_s": summary["build_s"], "all_s": seconds, "neurons": summary["neurons"],
    }  # fmt: skip
    if processes > 1:
        jax.distributed.shutdown()
    return found


def processes_together(count: int, arguments: list[str]) -> dict[str, Any]:
    """What process 0 of so many has found."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, __file__, *arguments, "--processes", str(count), "--port", str(port), "--process"]
    running = [subprocess.Popen([*command, str(k)], stdout=subprocess.PIPE, text=True) for k in range(count)]
    try:
        told = [process.communicate(timeout=280)[0] for process in running]
    finally:
        for process in running:
            process.kill()
    if any(process.returncode for process in running):
        raise SystemExit(f"one of {count} processes failed")
    return json.loads(told[0].splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--neurons", type=int, default=1_000_000)
    parser.add_argument("--indegree", type=int, default=10)
    parser.add_argument("--processes", default="1,2,4")
    parser.add_argument("--process", type=int, help="be this one of them, and print figures as JSON")
    parser.add_argument("--port", type=int)
    args = parser.parse_args()
    if args.process is not None:
        print(json.dumps(one_process(args.neurons, args.indegree, int(args.processes), args.process, args.port)))
        return
    titles = ("processes", "own part", "kept", "peak", "described", "kept", "peak", "build")
    print(f"{'':>9}{'MiB':>10}{'MiB':>9}{'MiB':>9}   besides the own part, bytes per neuron of the whole{'s':>4}")
    print("{:>9}{:>10}{:>9}{:>9}{:>16}{:>16}{:>16}{:>8}".format(*titles))
    for count in map(int, args.processes.split(",")):
        found = processes_together(count, ["--neurons", str(args.neurons), "--indegree", str(args.indegree)])
        own, n = found["own"], found["neurons"]
        sizes = "".join(f"{x / 2**20:>{w}.0f}" for x, w in ((own, 10), (found["kept"], 9), (found["peak"], 9)))
        rest = "".join(f"{x / n:>16.1f}" for x in (found["described"], found["kept"] - own, found["peak"] - own))
        print(f"{count:>9}{sizes}{rest}{found['build_s']:>8.1f}", flush=True)


if __name__ == "__main__":
    main()
