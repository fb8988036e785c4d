"""The Potjans-Diesmann microcircuit in NEST 3.10, timed: the other half of microcircuit_vs_nest.py.

    python examples/benchmarks/nest_microcircuit.py --scale 0.1 --t-sim 500 --drive dc --threads 2

prints one line of JSON. NEST (GPL-2) runs in this process alone; dist_sim is not imported.

Source: Potjans & Diesmann (2014), doi:10.1093/cercor/bhs358; numbers, scaling and compensation as in
INM-6/microcircuit-PD14-model, PyNEST/src/microcircuit, commit fd40046.
"""

# NEST fills its namespace while it is imported, where no type checker sees it.
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

import argparse
import json
import os
import resource
import time
from dataclasses import dataclass
from typing import Literal

import numpy as np

POPULATIONS = ("L23E", "L23I", "L4E", "L4I", "L5E", "L5I", "L6E", "L6I")
SIZES = np.array([20683, 5834, 21915, 5479, 4850, 1065, 14395, 2948])
EXTERNAL_INDEGREES = np.array([1600, 1500, 2100, 1900, 2000, 1900, 2900, 2100])
MEAN_RATES = np.array([0.903, 2.965, 4.414, 5.876, 7.569, 8.633, 1.105, 7.829])  # spikes/s, of the full circuit
V0_MEAN = np.array([-68.28, -63.16, -63.33, -63.45, -63.11, -61.66, -66.72, -61.43])  # mV
V0_STD = np.array([5.36, 4.57, 4.74, 4.94, 4.94, 4.55, 5.46, 4.48])  # mV
PROBABILITIES = np.array(  # [target, source]
    [
        [0.1009, 0.1689, 0.0437, 0.0818, 0.0323, 0.0000, 0.0076, 0.0000],
        [0.1346, 0.1371, 0.0316, 0.0515, 0.0755, 0.0000, 0.0042, 0.0000],
        [0.0077, 0.0059, 0.0497, 0.1350, 0.0067, 0.0003, 0.0453, 0.0000],
        [0.0691, 0.0029, 0.0794, 0.1597, 0.0033, 0.0000, 0.1057, 0.0000],
        [0.1004, 0.0622, 0.0505, 0.0057, 0.0831, 0.3726, 0.0204, 0.0000],
        [0.0548, 0.0269, 0.0257, 0.0022, 0.0600, 0.3158, 0.0086, 0.0000],
        [0.0156, 0.0066, 0.0211, 0.0166, 0.0572, 0.0197, 0.0396, 0.2252],
        [0.0364, 0.0010, 0.0034, 0.0005, 0.0277, 0.0080, 0.0658, 0.1443],
    ]
)
TAU_M, TAU_SYN, C_M = 10.0, 0.5, 250.0  # ms, ms, pF
NEURON = dict(C_m=C_M, tau_m=TAU_M, tau_syn_ex=TAU_SYN, tau_syn_in=TAU_SYN, t_ref=2.0, E_L=-65.0, V_reset=-65.0, V_th=-50.0)
PSP, G = 0.15, -4.0  # mV; inhibitory over excitatory weight
WEIGHT_CV, DELAY_CV = 0.1, 0.5
DELAYS = np.tile([1.5, 0.75], 4)  # ms, by source
EXTERNAL_RATE, EXTERNAL_DELAY = 8.0, 1.5  # spikes/s per external synapse; ms
DT = 0.1  # ms


@dataclass(frozen=True, kw_only=True)
class Circuit:
    """The numbers of a scaled circuit.

    Args:
        sizes: neurons, (8,).
        synapses: total per projection, (8, 8), [target, source]; drawn with replacement.
        weights: mean, pA, (8, 8).
        dc: constant current into every neuron, pA, (8,).
        poisson_rate: of the one source that stands for all external synapses of a neuron, spikes/s, (8,); 0 with DC.
        external_weight: pA.
    """

    sizes: np.ndarray
    synapses: np.ndarray
    weights: np.ndarray
    dc: np.ndarray
    poisson_rate: np.ndarray
    external_weight: float


def psc_over_psp(tau_m: float, tau_syn: float, C_m: float) -> float:
    """Amplitude (pA) of the exponential current whose PSP peaks at 1 mV."""
    peak = (tau_m / tau_syn) ** (1 / (tau_syn - tau_m))
    return C_m * (tau_syn - tau_m) / (tau_m * tau_syn * (peak**tau_m - peak**tau_syn))


def circuit(scale: float, indegree_scale: float, drive: Literal["poisson", "dc"]) -> Circuit:
    """The circuit with `scale` times the neurons and `indegree_scale` times the in-degrees.

    Weights grow by 1/sqrt(indegree_scale), and a constant current makes up for the mean input that is then missing, so that
    mean and variance of the input stay those of the full circuit firing at `MEAN_RATES`.
    """
    pairs = np.outer(SIZES, SIZES).astype(float)
    synapses = np.log(1 - PROBABILITIES) / np.log(1 - 1 / pairs)
    unit = PSP * psc_over_psp(TAU_M, TAU_SYN, C_M)
    weights = unit * np.tile([1.0, G], (8, 4))
    weights[0, 2] *= 2  # L4E -> L23E
    charge = TAU_SYN * 1e-3  # one spike/s of 1 pA amplitude is this mean current
    external = charge * unit * EXTERNAL_INDEGREES * EXTERNAL_RATE
    recurrent = charge * (weights * synapses / SIZES[:, None] * MEAN_RATES).sum(axis=1)
    missing = 1 - np.sqrt(indegree_scale)
    poisson = drive == "poisson"
    return Circuit(
        sizes=np.rint(SIZES * scale).astype(int),
        synapses=np.rint(synapses * scale * indegree_scale).astype(int),
        weights=weights / np.sqrt(indegree_scale),
        dc=missing * (recurrent + external) if poisson else missing * recurrent + external,
        poisson_rate=np.rint(EXTERNAL_INDEGREES * indegree_scale) * EXTERNAL_RATE * poisson,
        external_weight=unit / np.sqrt(indegree_scale),
    )


def simulate(numbers: Circuit, *, t_sim: float, warm_up: float, threads: int, seed: int) -> dict:
    """Builds and runs the circuit in NEST; times in s, memory in bytes."""
    import nest

    nest.verbosity = nest.VerbosityLevel.ERROR
    nest.ResetKernel()
    nest.set(resolution=DT, local_num_threads=threads, rng_seed=seed)
    normal, redraw = nest.random.normal, nest.math.redraw
    # NEST's threads spin at their barriers: on a machine that does other work, 2 threads can be 20 times slower than 1.
    load = os.getloadavg()[0]
    empty_bytes = peak_rss_bytes()
    start = time.perf_counter()
    populations = []
    for i, size in enumerate(numbers.sizes):
        population = nest.Create("iaf_psc_exp", int(size), params=NEURON | {"I_e": numbers.dc[i]})
        population.V_m = normal(V0_MEAN[i], V0_STD[i])
        populations.append(population)
    created = time.perf_counter()
    for (i, j), number in np.ndenumerate(numbers.synapses):
        if not number:
            continue
        weight, delay = numbers.weights[i, j], DELAYS[j]
        bounds = dict(min=0.0, max=np.inf) if weight > 0 else dict(min=-np.inf, max=0.0)
        synapse = {
            "weight": redraw(normal(weight, abs(weight) * WEIGHT_CV), **bounds),
            "delay": redraw(normal(delay, delay * DELAY_CV), min=DT / 2, max=np.inf),
        }
        nest.Connect(populations[j], populations[i], {"rule": "fixed_total_number", "N": int(number)}, synapse)
    recorders = []
    for i, population in enumerate(populations):
        if numbers.poisson_rate[i]:
            source = nest.Create("poisson_generator", params={"rate": numbers.poisson_rate[i]})
            nest.Connect(source, population, "all_to_all", {"weight": numbers.external_weight, "delay": EXTERNAL_DELAY})
        recorders.append(nest.Create("spike_recorder", params={"start": warm_up}))
        nest.Connect(population, recorders[-1])
    # The tables of the presynaptic side are made in the preparation, which is part of the build.
    nest.Prepare()
    nest.Cleanup()
    built, built_bytes = time.perf_counter(), peak_rss_bytes()

    nest.Simulate(warm_up)
    warm = time.perf_counter()
    nest.Simulate(t_sim)
    done = time.perf_counter()

    spikes = np.array([recorder.n_events for recorder in recorders])
    synapses = int(numbers.synapses.sum())
    events = float((spikes * numbers.synapses.sum(axis=0) / numbers.sizes).sum())
    wall = done - warm
    return {
        "nest": nest.__version__,
        "threads": threads,
        "load_before": load,
        "neurons": int(numbers.sizes.sum()),
        "synapses": synapses,
        "create_s": created - start,
        "build_s": built - start,
        "warm_up_s": warm - built,
        "simulate_s": wall,
        "model_time_ms": t_sim,
        "rtf": wall / (t_sim * 1e-3),
        "spikes": int(spikes.sum()),
        "events": events,  # recurrent: spikes times the mean out-degree of their population
        "ns_per_event": wall / max(events, 1.0) * 1e9,
        "peak_rss_bytes": peak_rss_bytes(),
        "bytes_per_synapse": (built_bytes - empty_bytes) / synapses,
        "rates": dict(zip(POPULATIONS, (spikes / numbers.sizes / (t_sim * 1e-3)).tolist(), strict=True)),
    }


def peak_rss_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--scale", type=float, default=0.1, help="of the neuron numbers")
    parser.add_argument("--indegree-scale", type=float, help="of the in-degrees; default: scale")
    parser.add_argument("--drive", choices=["poisson", "dc"], default="dc")
    parser.add_argument("--t-sim", type=float, default=1000.0, help="ms, timed")
    parser.add_argument("--warm-up", type=float, default=500.0, help="ms, simulated before and neither timed nor counted")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    numbers = circuit(args.scale, args.indegree_scale or args.scale, args.drive)
    settings = {"scale": args.scale, "drive": args.drive}
    report = simulate(numbers, t_sim=args.t_sim, warm_up=args.warm_up, threads=args.threads, seed=args.seed)
    print(json.dumps(settings | report))


if __name__ == "__main__":
    main()
