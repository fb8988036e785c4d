"""Rates and variability of the networks in examples/brette.py beside those of NEST and Brian2, seed by seed.

    python examples/benchmarks/brette_vs_references.py [--model coba] [--seeds 3] [--t-sim 2000] [--brian2 PYTHON]

NEST 3.10 comes with `pip install '.[benchmark]'`. Brian2 2.9 does not go with the newest NumPy: `--brian2` names the Python of
an environment of its own (`pip install brian2 'numpy<2.3' cython setuptools`); without it, Brian2 is left out. Every run is a
process. All start alike, leave out the first 200 ms, and give every neuron 64 excitatory and 16 inhibitory sources. Below the
seeds stand mean and standard deviation over them. A COBA network may fall silent, in any of them: that is told and left out.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).resolve().parent
N_EXC, N_INH = 3200, 800
N = N_EXC + N_INH
DT, T_PRESIM = 0.1, 200.0  # ms
SILENT = 0.5  # Hz
WEIGHTS = {"coba": (6.0, 67.0), "cuba": (16.2, -139.5)}  # nS, pA

Spikes = tuple[np.ndarray, np.ndarray]
"""Of each spike the step and the neuron."""


def dist_sim(model: str, seed: int, t_sim: float) -> Spikes:
    sys.path.insert(0, str(HERE.parent))
    import brette

    steps, neurons = np.nonzero(brette.simulate(model, seed, T_PRESIM + t_sim))
    return steps, neurons


def nest(model: str, seed: int, t_sim: float) -> Spikes:
    sim: Any = import_module("nest")
    sim.ResetKernel()
    sim.resolution, sim.rng_seed = DT, seed
    common = dict(C_m=200.0, t_ref=5.0, V_th=-50.0, V_reset=-60.0)
    V, g_exc, g_inh = start(seed)
    if model == "coba":
        cells = sim.Create("iaf_cond_exp", N, common | dict(
            E_L=-60.0, g_L=10.0, E_ex=0.0, E_in=-80.0, tau_syn_ex=5.0, tau_syn_in=10.0,
        ))  # fmt: skip
        cells.set({"V_m": V, "g_ex": g_exc, "g_in": g_inh})
    else:
        cells = sim.Create("iaf_psc_exp", N, common | dict(E_L=-49.0, tau_m=20.0, tau_syn_ex=5.0, tau_syn_in=10.0))
        cells.set({"V_m": V})
    recorder = sim.Create("spike_recorder")
    exc, inh = WEIGHTS[model]
    # A synapse of iaf_cond_exp with a negative weight adds its size to the inhibitory conductance.
    for sources, indegree, weight in ((cells[:N_EXC], 64, exc), (cells[N_EXC:], 16, -abs(inh))):
        sim.Connect(sources, cells, dict(rule="fixed_indegree", indegree=indegree), dict(weight=weight, delay=DT))
    sim.Connect(cells, recorder)
    sim.Simulate(T_PRESIM + t_sim)
    return np.rint(recorder.events["times"] / DT).astype(int) - 1, recorder.events["senders"] - 1


def brian2(model: str, seed: int, t_sim: float) -> Spikes:
    b: Any = import_module("brian2")
    b.defaultclock.dt = DT * b.ms
    b.seed(seed)
    unit, kind, current, V_rest, method = {
        "coba": (b.nS, "siemens", "g_exc * (0 * mV - V) + g_inh * (-80 * mV - V)", -60 * b.mV, "exponential_euler"),
        "cuba": (b.pA, "amp", "g_exc + g_inh", -49 * b.mV, "exact"),
    }[model]
    cells = b.NeuronGroup(
        N,
        f"""dV/dt = (V_rest - V + 100 * Mohm * ({current})) / (20 * ms) : volt (unless refractory)
        dg_exc/dt = -g_exc / (5 * ms) : {kind}
        dg_inh/dt = -g_inh / (10 * ms) : {kind}""",
        threshold="V > -50 * mV", reset="V = -60 * mV", refractory=5 * b.ms, method=method,
        namespace={"V_rest": V_rest},
    )  # fmt: skip
    volts, *siemens = start(seed)
    cells.V = volts * b.mV
    if model == "coba":
        cells.g_exc, cells.g_inh = (g * b.nS for g in siemens)
    draw, parts = np.random.default_rng((seed, 1)), []
    for first, size, indegree, weight, g in ((0, N_EXC, 64, 0, "g_exc"), (N_EXC, N_INH, 16, 1, "g_inh")):
        synapses = b.Synapses(cells, cells, on_pre=f"{g} += w", delay=DT * b.ms, namespace={"w": WEIGHTS[model][weight] * unit})
        synapses.connect(i=first + draw.integers(size, size=N * indegree), j=np.repeat(np.arange(N), indegree))
        parts.append(synapses)
    recorder = b.SpikeMonitor(cells)
    b.Network(cells, recorder, *parts).run((T_PRESIM + t_sim) * b.ms)
    return np.rint(np.asarray(recorder.t / b.ms) / DT).astype(int), np.asarray(recorder.i)


SIMULATORS = {"dist_sim": dist_sim, "nest": nest, "brian2": brian2}


def start(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Where V [mV] and, in COBA, both conductances [nS] start."""
    draw = np.random.default_rng(seed)
    return draw.uniform(-60, -50, N), draw.normal(40, 15, N), draw.normal(200, 120, N)


def measured(simulator: str, model: str, seed: int, t_sim: float, python: str = sys.executable) -> list[float] | None:
    """Rates of E and I in Hz and the CV, of one run in a process of its own; None if the network fell silent."""
    sys.path.insert(0, str(HERE.parent))
    import brette

    with tempfile.TemporaryDirectory() as folder:
        words = [
            "--one",
            simulator,
            "--model",
            model,
            "--seeds",
            str(seed),
            "--t-sim",
            str(t_sim),
            "--to",
            f"{folder}/spikes.npz",
        ]
        done = subprocess.run([python, __file__, *words], capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"{simulator} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
        found = np.load(f"{folder}/spikes.npz")
        spikes = np.zeros((round((T_PRESIM + t_sim) / DT), N), bool)
        spikes[found["steps"], found["neurons"]] = True
    if spikes[-round(100 / DT) :].sum() / (N * 0.1) < SILENT:
        return None
    return list(brette.statistics(spikes[round(T_PRESIM / DT) :]))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", choices=list(WEIGHTS), help="by default both")
    parser.add_argument("--seeds", type=int, default=3, help="how many")
    parser.add_argument("--t-sim", type=float, default=1000.0, help="ms, after the first 200")
    parser.add_argument("--brian2", metavar="PYTHON", help="a Python that has Brian2")
    parser.add_argument("--one", choices=list(SIMULATORS), help=argparse.SUPPRESS)
    parser.add_argument("--to", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        steps, neurons = SIMULATORS[given.one](given.model, given.seeds, given.t_sim)
        np.savez(given.to, steps=steps, neurons=neurons)
        return
    pythons = {"dist_sim": sys.executable, "nest": sys.executable} | ({"brian2": given.brian2} if given.brian2 else {})
    print(f"{'':<18}{'seed':>8}{'E [Hz]':>9}{'I [Hz]':>9}{'CV':>9}")
    for model in [given.model] if given.model else WEIGHTS:
        for simulator, python in pythons.items():
            rows = []
            for seed in range(1, given.seeds + 1):
                one = measured(simulator, model, seed, given.t_sim, python)
                rows += [] if one is None else [one]
                values = "   fell silent" if one is None else "".join(f"{x:>9.2f}" for x in one)
                print(f"{model} {simulator:<13}{seed:>8}{values}", flush=True)
            if len(rows) > 1:
                for name, values in (("mean", np.mean(rows, axis=0)), ("std", np.std(rows, axis=0, ddof=1))):
                    print(f"{'':<18}{name:>8}" + "".join(f"{x:>9.2f}" for x in values), flush=True)


if __name__ == "__main__":
    main()
