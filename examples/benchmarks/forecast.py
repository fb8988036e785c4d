"""What `dist-sim plan --device here` foretells of ten networks, and what they then take.

    python examples/benchmarks/forecast.py
    python examples/benchmarks/forecast.py --only "stdp;alpha"

Each network is built and simulated in processes of its own, and foretold in others, which build only smaller ones of its kind:
three times (`--repeats`), in turn, and the medians are compared.
The rate at which it fired is given to the forecast: it foretells cost, not dynamics. Columns: forecast, measured and their ratio,
of the States on the fullest device, of the peak memory of a process, of the time to build and compile, of a step's wall time.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
QUANTITIES = (("device MiB", 2.0**20), ("process MiB", 2.0**20), ("build s", 1.0), ("step us", 1e-6))
# So many steps that a run takes a second or more; all plastic synapses are brought up to date once in 5000.
WARM_UP_MS, TIMED_STEPS = 100.0, 20_000


@dataclass(frozen=True, kw_only=True)
class Case:
    """A network on so many devices of so many processes; `timed` steps."""

    build: Callable[[Any], None]
    devices: int = 1
    processes: int = 1
    timed: int = TIMED_STEPS


def microcircuit(scale: float, drive: str = "poisson") -> Callable[[Any], None]:
    """The circuit of Potjans and Diesmann."""

    def build(sim: Any) -> None:
        sys.path.insert(0, str(HERE.parent))
        import microcircuit as circuit

        circuit.build(sim, circuit.scaled_circuit(scale, drive), "optimized")

    return build


def brunel(order: int, *, model: str = "iaf_psc_exp", eta: float = 1.0, stdp: bool = False) -> Callable[[Any], None]:
    """Excitatory and inhibitory neurons with a tenth of all as sources; the external input is eta times what brings them to
    threshold."""

    def build(sim: Any) -> None:
        import brainunit as u

        import dist_sim as ds

        delta = model == "iaf_psc_delta"
        weight = 0.2 * u.mV if delta else 20 * u.pA
        params: dict[str, Any] = dict(
            tau_m=20 * u.ms, E_L=0 * u.mV, V_th=20 * u.mV, V_reset=10 * u.mV, V_m=ds.dist.Uniform(0 * u.mV, 20 * u.mV)
        )
        exc, inh = sim.create(model, 4 * order, params=params), sim.create(model, order, params=params)
        rate = eta * 20.0 / (0.2 * 20.0) * 1000.0 if delta else eta * 12000.0
        noise = sim.create(ds.poisson_generator, rate=rate * u.Hz)
        for target in (exc, inh):
            sim.connect(noise, target, weight=weight, delay=1.5 * u.ms)
            synapse = ds.stdp_synapse(Wmax=3 * weight) if stdp and target is exc else "static_synapse"
            indegrees = (order * 4 // 10, order // 10)
            sim.connect(exc, target, rule=ds.fixed_indegree(indegrees[0]), weight=weight, delay=1.5 * u.ms, synapse=synapse)
            sim.connect(inh, target, rule=ds.fixed_indegree(indegrees[1]), weight=-6 * weight, delay=1.5 * u.ms)
        sim.connect(exc, sim.create(ds.spike_recorder))

    return build


def sparse(sim: Any) -> None:
    """Many neurons with few synapses each, by pairwise chance, with drawn delays."""
    import brainunit as u

    import dist_sim as ds

    cells = sim.create(ds.iaf_psc_exp, 200_000, params=dict(I_e=ds.dist.Uniform(350 * u.pA, 420 * u.pA)))
    delay = ds.dist.Uniform(1 * u.ms, 4 * u.ms)
    sim.connect(cells, cells, rule=ds.pairwise_bernoulli(40 / 200_000), weight=5 * u.pA, delay=delay)
    sim.connect(cells, sim.create(ds.spike_recorder))


CASES = {
    "microcircuit 0.05": Case(build=microcircuit(0.05)),
    "microcircuit 0.1, 2 devices": Case(build=microcircuit(0.1), devices=2),
    "microcircuit 0.2, dc": Case(build=microcircuit(0.2, "dc")),
    "microcircuit 0.3": Case(build=microcircuit(0.3)),
    "brunel, high rate": Case(build=brunel(2500, eta=2.0)),
    "brunel, low rate": Case(build=brunel(2500, eta=0.8)),
    "brunel of delta, 2 devices": Case(build=brunel(2000, model="iaf_psc_delta", eta=2.0), devices=2),
    "alpha": Case(build=brunel(3000, model="iaf_psc_alpha", eta=0.3)),
    "stdp": Case(build=brunel(1500, eta=0.9, stdp=True), timed=5000),
    "sparse, 2 processes": Case(build=sparse, devices=2, processes=2, timed=2000),
}  # fmt: skip


def described(case: Case) -> Any:
    """The description of a case's network, in this process."""
    import brainunit as u

    import dist_sim as ds

    sim = ds.Simulator(dt=0.1 * u.ms, seed=1, devices=case.devices, exchange="mask")
    case.build(sim)
    return sim._description()


def simulated(case: Case) -> dict[str, Any]:
    """What the network takes."""
    from dist_sim.simulator.simulation import Simulation

    d = described(case)
    simulation = Simulation(d)
    network, steps = simulation.network, round(WARM_UP_MS / d.dt)
    sizes = [shard.data.nbytes for state in network.states().values() for shard in state.value.addressable_shards]
    before = simulation.advance(steps).summary
    after = simulation.advance(case.timed).summary
    events = after["emitted_events"] - before["emitted_events"]
    return {
        "device MiB": sum(sizes) / len(network.projection.local), "process MiB": after["peak_rss_bytes"],
        "build s": after["build_s"], "step us": (after["wall_s"] - before["wall_s"]) / case.timed,
        "rate": events / after["synapses"] / (case.timed * d.dt * 1e-3), "phases": after["phases"],
    }  # fmt: skip


def foretold(case: Case, rate: float) -> dict[str, float]:
    """What it is said to take."""
    from dist_sim.forecast.calibration import measured_here
    from dist_sim.forecast.forecast import forecast

    d = described(case)
    found = forecast(d, case.devices, measured_here(d, rate=rate), rate=rate)
    while_running = found.arrays["while a chunk runs"]
    return {
        "device MiB": found.device_bytes - while_running, "process MiB": found.process,
        "build s": found.build_s, "step us": found.step_s,
    }  # fmt: skip


def in_processes(name: str, rate: float | None) -> dict[str, Any]:
    """Either, from process 0 of as many fresh ones as the case has."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [
        sys.executable,
        __file__,
        "--only",
        name,
        "--port",
        str(port),
        *(["--rate", str(rate)] if rate is not None else []),
    ]
    count = CASES[name].processes
    running = [
        subprocess.Popen(
            [*command, "--process", str(k)], stdout=subprocess.PIPE, text=True, env=os.environ | {"JAX_PLATFORMS": "cpu"}
        )
        for k in range(count)
    ]
    try:
        told = [process.communicate(timeout=230)[0] for process in running]
    finally:
        for process in running:
            process.kill()
    if any(process.returncode for process in running):
        raise SystemExit(f"{name}: a process failed")
    return json.loads(told[0].splitlines()[-1])


def medians(name: str, repeats: int) -> tuple[dict[str, float], dict[str, float]]:
    """What the network takes, with the rate at which it fired, and what it is said to take."""
    measured, said = [], []
    for _ in range(repeats):
        measured.append(in_processes(name, None))
        said.append(in_processes(name, measured[-1]["rate"]))
    taken, foretold = (
        {title: statistics.median(one[title] for one in found) for title, _ in QUANTITIES} for found in (measured, said)
    )
    return taken | {"rate": measured[-1]["rate"]}, foretold


def one_process(case: Case, process: int, port: int, rate: float | None) -> None:
    """Prints what it finds, as JSON."""
    from dist_sim.cluster.bootstrap import start
    from dist_sim.cluster.launch import Launch

    count = case.processes
    start(Launch(launcher="explicit", processes=count, process=process, coordinator=f"127.0.0.1:{port}"), case.devices)
    print(json.dumps(simulated(case) if rate is None else foretold(case, rate)), flush=True)
    if count > 1:
        import jax

        jax.distributed.shutdown()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", help="names of networks, or beginnings of them, with semicolons between")
    parser.add_argument("--repeats", type=int, default=3, help="processes of either kind for each network")
    parser.add_argument("--process", type=int, help="be this process of one network, and print figures as JSON")
    parser.add_argument("--port", type=int)
    parser.add_argument("--rate", type=float, help="with --process: foretell, at this rate [Hz]")
    args = parser.parse_args()
    if args.process is not None:
        one_process(CASES[args.only], args.process, args.port, args.rate)
        return
    wanted = [part.strip() for part in (args.only or "").split(";")]
    from dist_sim import kernels

    kernels.load()  # compiled once on a machine: no part of a build
    names = [name for name in CASES if any(name.startswith(part) for part in wanted)]
    print(f"{'':<28}{'Hz':>6}" + "".join(f"{title + ': forecast':>22}{'measured':>10}{'ratio':>7}" for title, _ in QUANTITIES))
    worst = dict.fromkeys((title for title, _ in QUANTITIES), 1.0)
    for name in names:
        measured, said = medians(name, args.repeats)
        cells = ""
        for title, unit in QUANTITIES:
            ratio = said[title] / measured[title]
            worst[title] = max(worst[title], ratio, 1 / ratio)
            cells += f"{said[title] / unit:>22.4g}{measured[title] / unit:>10.4g}{ratio:>7.2f}"
        print(f"{name:<28}{measured['rate']:>6.1f}{cells}", flush=True)
    print("worst, as a factor: " + ", ".join(f"{title.split()[0]} {factor:.2f}" for title, factor in worst.items()))


if __name__ == "__main__":
    main()
