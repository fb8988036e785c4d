"""Rates and variability of the networks in examples/brette.py beside those of NEST 3.10, seed by seed.

    python examples/benchmarks/brette_vs_nest.py [--model coba] [--seeds 3] [--t-sim 2000]

NEST comes with `pip install '.[test]'`; every run is a process of its own. Both start alike, leave out the first 200 ms, and give
every neuron 64 excitatory and 16 inhibitory sources. Below the seeds stand mean and standard deviation over them. A COBA network
may fall silent, in NEST too: such a run is told and left out.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).resolve().parent
SIMULATORS = ("dist_sim", "nest")
N_EXC, N_INH = 3200, 800
N = N_EXC + N_INH
DT, T_PRESIM = 0.1, 200.0  # ms
SILENT = 0.5  # Hz


def dist_sim(model: str, seed: int, t_sim: float) -> np.ndarray:
    """Spikes (steps, neurons) of all ms."""
    import brette

    return brette.simulate(model, seed, T_PRESIM + t_sim)


def nest(model: str, seed: int, t_sim: float) -> np.ndarray:
    import nest as simulator

    sim: Any = simulator
    sim.ResetKernel()
    sim.resolution, sim.rng_seed = DT, seed
    start, common = np.random.default_rng(seed), dict(C_m=200.0, t_ref=5.0, V_th=-50.0, V_reset=-60.0)
    V_m = start.uniform(-60, -50, N)
    if model == "coba":
        cells = sim.Create("iaf_cond_exp", N, common | dict(
            E_L=-60.0, g_L=10.0, E_ex=0.0, E_in=-80.0, tau_syn_ex=5.0, tau_syn_in=10.0,
        ))  # fmt: skip
        cells.set({"V_m": V_m, "g_ex": start.normal(40, 15, N), "g_in": start.normal(200, 120, N)})
    else:
        cells = sim.Create("iaf_psc_exp", N, common | dict(E_L=-49.0, tau_m=20.0, tau_syn_ex=5.0, tau_syn_in=10.0))
        cells.set({"V_m": V_m})
    recorder = sim.Create("spike_recorder")
    for sources, indegree, weight in (
        (cells[:N_EXC], 64, {"coba": 6.0, "cuba": 16.2}[model]),
        (cells[N_EXC:], 16, {"coba": -67.0, "cuba": -139.5}[model]),
    ):
        rule = dict(rule="fixed_indegree", indegree=indegree)
        sim.Connect(sources, cells, rule, dict(weight=weight, delay=DT))
    sim.Connect(cells, recorder)
    sim.Simulate(T_PRESIM + t_sim)
    return matrix(recorder.events["times"], recorder.events["senders"] - 1, t_sim)


def matrix(times: np.ndarray, neurons: np.ndarray, t_sim: float) -> np.ndarray:
    """Spikes (steps, neurons) of those at the ends (ms) of their steps."""
    spikes = np.zeros((round((T_PRESIM + t_sim) / DT), N), bool)
    spikes[np.rint(times / DT).astype(int) - 1, neurons] = True
    return spikes


def measured(simulator: str, model: str, seed: int, t_sim: float) -> dict[str, float]:
    """Statistics of one run, in a process of its own."""
    words = ["--one", simulator, "--model", model, "--seeds", str(seed), "--t-sim", str(t_sim)]
    done = subprocess.run([sys.executable, __file__, *words], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{simulator} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def work(simulator: str, model: str, seed: int, t_sim: float) -> None:
    sys.path.insert(0, str(HERE.parent))
    run = {"dist_sim": dist_sim, "nest": nest}[simulator]
    spikes = run(model, seed, t_sim)[round(T_PRESIM / DT) :]
    import brette

    tail = spikes[-round(100 / DT) :].sum() / (N * 0.1)
    print(json.dumps(dict(zip(("E", "I", "CV"), brette.statistics(spikes), strict=True)) | {"last": tail}))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", choices=["coba", "cuba"], help="by default both")
    parser.add_argument("--seeds", type=int, default=3, help="how many")
    parser.add_argument("--t-sim", type=float, default=1000.0, help="ms, after the first 200")
    parser.add_argument("--one", choices=SIMULATORS, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        work(args.one, args.model, args.seeds, args.t_sim)
        return
    print(f"{'':<18}{'seed':>8}{'E [Hz]':>9}{'I [Hz]':>9}{'CV':>9}")
    for model in [args.model] if args.model else ["coba", "cuba"]:
        for simulator in SIMULATORS:
            rows = []
            for seed in range(1, args.seeds + 1):
                one = measured(simulator, model, seed, args.t_sim)
                alive = one["last"] > SILENT
                rows += [[one["E"], one["I"], one["CV"]]] if alive else []
                values = "".join(f"{one[k]:>9.2f}" for k in ("E", "I", "CV"))
                print(f"{model} {simulator:<13}{seed:>8}{values if alive else '   fell silent'}", flush=True)
            if len(rows) > 1:
                values = "".join(f"{m:>9.2f}" for m in np.mean(rows, axis=0))
                spread = "".join(f"{s:>9.2f}" for s in np.std(rows, axis=0, ddof=1))
                print(f"{'':<18}{'mean':>8}{values}\n{'':<18}{'std':>8}{spread}", flush=True)


if __name__ == "__main__":
    main()
