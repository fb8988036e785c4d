"""CPU time per event of synapses that change, beside NEST's.

    python examples/benchmarks/plasticity.py
    python examples/benchmarks/plasticity.py --models stdp_synapse --neurons 10000 --indegree 500 --threads 1

Neurons that fire irregularly from Poisson input, whatever their recurrent synapses bring, and recurrent synapses of a model.
From the time of a run is taken that of the same run with static synapses; what is left, and the time of a static event, is
divided by the events. NEST runs in a process of its own, with so many threads. Modules have synapses alone, whose spikes are
drawn: `ds.nn.Plastic`.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from typing import Any

MODELS = ("stdp_synapse", "tsodyks2_synapse")
# A relay with a threshold far from what the synapses bring: an input spike fires it, at 10 Hz.
RATE, DELAY, WEIGHT = 10.0, 1.5, 0.2


def ours(model: str, neurons: int, indegree: int, duration: float, precision: int, threads: int) -> dict[str, Any]:
    import brainunit as u

    import dist_sim as ds
    from dist_sim.simulator import assembly

    assembly._threads = lambda mesh: threads
    sim = ds.Simulator(dt=0.1 * u.ms, seed=1, devices=1, precision=precision)
    fired = dict(E_L=0 * u.mV, V_m=0 * u.mV, V_reset=0 * u.mV, V_th=500 * u.mV, t_ref=0 * u.ms, tau_m=1 * u.ms)
    cells = sim.create(ds.iaf_psc_delta, neurons, params=fired)
    noise = sim.create(ds.poisson_generator, rate=RATE * u.Hz)
    sim.connect(noise, cells, weight=600 * u.mV, delay=0.1 * u.ms)
    sim.connect(cells, cells, rule=ds.fixed_indegree(indegree), weight=WEIGHT * u.mV, delay=DELAY * u.ms, synapse=model)
    sim.simulate(100 * u.ms)
    before = sim.cont(0.1 * u.ms).summary["delivered_events"]
    begin = time.process_time()
    events = sim.cont(duration * u.ms).summary["delivered_events"] - before
    return {"seconds": time.process_time() - begin, "events": events}


def modules(model: str, neurons: int, indegree: int, duration: float) -> dict[str, Any]:
    """The synapses alone, as those of Modules: spikes are drawn."""
    import brainunit as u

    import dist_sim as ds

    class Synapses(ds.Module):
        def __init__(self) -> None:
            super().__init__()
            self.spikes = ds.State(ds.random.rand(neurons) < 0.0, axes=("neuron",))
            weight = ds.init.Constant(WEIGHT * u.mV)
            self.comm: Any = ds.nn.EventFixedProb(neurons, neurons, indegree, weight, efferent_target="pre", seed=1)
            if model != "static_synapse":
                kind = getattr(ds, model)
                given = {"Wmax": 100.0 * u.mV} if "Wmax" in kind.parameters else {}
                taus = {trace.tau: 20.0 * u.ms for trace in kind.traces.values()}
                self.comm = ds.nn.Plastic(self.comm, kind(**given), post=lambda: self.spikes.value, **taus)

        def update(self) -> Any:
            self.spikes.value = ds.random.rand(neurons) < RATE * 1e-4
            return self.comm(self.spikes.value * 1.0)[0], self.spikes.value.sum()

    ds.environ.set(dt=0.1 * u.ms)
    ds.random.seed(1)
    net, steps = Synapses(), round(duration / 0.1)
    ds.nn.init_all_states(net)
    run = ds.transform.jit(lambda: ds.transform.for_loop(net.update, length=steps)[1].sum())
    run().block_until_ready()
    begin = time.process_time()
    spikes = int(run())
    return {"seconds": time.process_time() - begin, "events": spikes * indegree}


def nests(model: str, neurons: int, indegree: int, duration: float, threads: int) -> dict[str, Any]:
    import nest as installed

    nest: Any = installed

    nest.verbosity = nest.VerbosityLevel.ERROR
    nest.ResetKernel()
    nest.resolution, nest.local_num_threads = 0.1, threads
    fired = dict(E_L=0.0, V_m=0.0, V_reset=0.0, V_th=500.0, t_ref=0.0, tau_m=1.0)
    cells = nest.Create("iaf_psc_delta", neurons, params=fired)
    noise = nest.Create("poisson_generator", params={"rate": RATE})
    nest.Connect(noise, cells, syn_spec={"weight": 600.0, "delay": 0.1})
    rule = {"rule": "fixed_indegree", "indegree": indegree}
    nest.Connect(cells, cells, rule, {"synapse_model": model, "weight": WEIGHT, "delay": DELAY})
    nest.Simulate(100.0)
    before = nest.local_spike_counter
    begin = time.process_time()
    nest.Simulate(duration)
    return {"seconds": time.process_time() - begin, "events": (nest.local_spike_counter - before) * indegree}


def alone(*arguments: Any) -> dict[str, Any]:
    line = [sys.executable, __file__, "--one", json.dumps(arguments)]
    done = subprocess.run(line, stdout=subprocess.PIPE, text=True, check=True, env=os.environ)
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default=",".join(MODELS))
    parser.add_argument("--neurons", type=int, default=5000)
    parser.add_argument("--indegree", type=int, default=500)
    parser.add_argument("--duration", type=float, default=1000.0, help="ms")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeat", type=int, default=3, help="the fastest counts")
    parser.add_argument("--without-nest", action="store_true")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        which, *rest = json.loads(given.one)
        print(json.dumps({"nest": nests, "modules": modules}.get(which, ours)(*rest)))
        return
    size = (given.neurons, given.indegree, given.duration)
    runs: dict[str, tuple[str, list[Any]]] = {f"dist_sim, {bits} bits": ("ours", [bits, given.threads]) for bits in (32, 64)}
    runs["Modules"] = ("modules", [])
    if not given.without_nest:
        runs["NEST"] = ("nest", [given.threads])
    print(f"{'ns per event':24}" + "".join(f"{name:>20}" for name in runs))
    static = {}
    for model in ("static_synapse", *given.models.split(",")):
        figures = []
        for name, (which, options) in runs.items():
            found = [alone(which, model, *size, *options) for _ in range(given.repeat)]
            figures.append(min(f["seconds"] / f["events"] for f in found) * 1e9)
            static.setdefault(name, figures[-1])
        print(f"{model:24}" + "".join(f"{f:>20.1f}" for f in figures))
    print("(The neurons, their input and the exchange are in all rows; static_synapse says what they take.")
    print("Of Modules there are synapses alone.)")


if __name__ == "__main__":
    main()
