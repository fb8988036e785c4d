"""The benchmark networks of Brette et al. (2007): 4,000 integrate-and-fire neurons whose synapses are conductances or currents.

    python examples/brette.py
    dist-sim run examples/brette.py --devices 2 --set model=coba --set seed=3

With conductances (COBA) the network keeps itself active, without any input, for seconds: it starts from random potentials and
conductances. With currents (CUBA) every neuron is driven over its threshold. Rates and variability are compared with NEST and
Brian2, seed by seed, by `examples/benchmarks/brette_vs_references.py`.

Source: Brette et al. (2007), doi:10.1007/s10827-007-0038-6, benchmarks 1 and 2, after Vogels & Abbott (2005),
doi:10.1523/JNEUROSCI.3508-05.2005; start of COBA as in Brian2's example of it.
"""

from importlib.util import find_spec

import brainunit as u
import numpy as np

import dist_sim as ds
from dist_sim.errors import ParameterError
from dist_sim.io.report import raster_and_rates

N_EXC, N_INH = 3200, 800
N = N_EXC + N_INH
DT = 0.1  # ms
# Of each model where V rests; of its excitatory and inhibitory synapses the weight, where g starts, and the current that g makes.
MODELS = {
    "coba": (
        -60 * u.mV,
        (6 * u.nS, ds.init.Normal(40.0, 15.0, unit=u.nS), ds.COBA.desc(E=0 * u.mV)),
        (67 * u.nS, ds.init.Normal(200.0, 120.0, unit=u.nS), ds.COBA.desc(E=-80 * u.mV)),
    ),
    "cuba": (
        -49 * u.mV,
        (16.2 * u.pA, ds.init.Constant(0 * u.pA), ds.CUBA.desc(scale=1.0)),
        (-139.5 * u.pA, ds.init.Constant(0 * u.pA), ds.CUBA.desc(scale=1.0)),
    ),
}


class EINet(ds.Module):
    """One population, of which the first 3,200 excite and the others inhibit 2 % of all."""

    def __init__(self, model: str):
        super().__init__()
        V_rest, exc, inh = MODELS[model]
        self.cells = ds.LIFRef(
            N, R=100 * u.Mohm, tau=20 * u.ms, tau_ref=5 * u.ms, V_rest=V_rest, V_th=-50 * u.mV, V_reset=-60 * u.mV,
            V_initializer=ds.init.Uniform(-60.0, -50.0, unit=u.mV), spk_reset="hard",
        )  # fmt: skip
        self.exc = self.projection(N_EXC, 5 * u.ms, *exc)
        self.inh = self.projection(N_INH, 10 * u.ms, *inh)

    def projection(self, sources, tau, weight, start, out):
        return ds.AlignPostProj(
            comm=ds.nn.EventFixedProb(sources, N, 0.02, weight, efferent_target="pre"),
            syn=ds.Expon.desc(N, tau=tau, g_initializer=start), out=out, post=self.cells, delay=DT * u.ms,
        )  # fmt: skip

    def update(self):
        spikes = self.cells.get_spike() != 0.0
        self.exc(spikes[:N_EXC])
        self.inh(spikes[N_EXC:])
        return self.cells() != 0.0


def simulate(model: str, seed: int, t_sim: float) -> np.ndarray:
    """Spikes (steps, 4000) of so many ms, as booleans."""
    ds.random.seed(seed)
    with ds.use_mesh(), ds.environ.context(dt=DT * u.ms):
        net = ds.nn.init_all_states(EINet(model))
        steps = round(t_sim / DT)
        return np.asarray(ds.transform.for_loop(net, length=steps, pbar=ds.transform.ProgressBar(desc=model)))


def statistics(spikes: np.ndarray) -> tuple[float, float, float]:
    """Mean rates of both kinds of neurons in Hz, and the mean coefficient of variation of the intervals between spikes."""
    seconds = len(spikes) * DT * 1e-3
    exc, inh = spikes[:, :N_EXC].sum() / (N_EXC * seconds), spikes[:, N_EXC:].sum() / (N_INH * seconds)
    return float(exc), float(inh), float(np.nanmean(ds.metric.isi_cv(spikes)))


def main() -> None:
    model, seed = ds.param("model", "both"), ds.param("seed", 1)
    t_presim, t_sim = ds.param("t_presim", 200.0), ds.param("t_sim", 1000.0)  # ms
    if model not in (*MODELS, "both") or t_presim < 0 or t_sim <= 0:
        raise ParameterError(
            f"brette(model={model!r}, t_presim={t_presim}, t_sim={t_sim}): known models are coba, cuba and both; times are at "
            "least 0 ms, and above 0 ms."
        )
    print(f"{'':<8}{'E [Hz]':>8}{'I [Hz]':>8}{'CV of ISI':>12}")
    for name in MODELS if model == "both" else [model]:
        spikes = simulate(name, seed, t_presim + t_sim)
        exc, inh, cv = statistics(spikes[round(t_presim / DT) :])
        print(f"{name:<8}{exc:>8.2f}{inh:>8.2f}{cv:>12.2f}", flush=True)
        if find_spec("matplotlib"):
            path = ds.results_folder() / f"brette_{name}.png"
            steps, ids = np.nonzero(spikes)
            populations = [("E", 0, N_EXC), ("I", N_EXC, N_INH)]
            raster_and_rates(path, steps, ids, DT, populations, {"E": exc, "I": inh}, min(t_sim, 1000.0))
            print(f"drawn: {path}")


if __name__ == "__main__":
    main()
