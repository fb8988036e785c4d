"""Four states of a sparse random network: Brunel (2000), model A, 10,000 excitatory and 2,500 inhibitory neurons.

    dist-sim run examples/brunel.py --devices 2
    dist-sim run examples/brunel.py --set regime=all
    python examples/brunel.py

AI is asynchronous and irregular; SIfast and SIslow are synchronous (a fast and a slow oscillation) with irregular neurons; SR is
synchronous and regular. A neuron has a tenth of all others as its sources; the states are Brunel's where 1,000 of them are
excitatory, that is for order=2500. With regime=all, `dist-sim run` has results of each under its name.

Source: Brunel (2000), doi:10.1023/A:1008925309027, Fig. 8 and Table 1.
"""

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import brainunit as u
import numpy as np

import dist_sim as ds
from dist_sim.errors import ParameterError
from dist_sim.io.report import save


@dataclass(frozen=True)
class Regime:
    """A state: inhibitory over excitatory weight g; external rate in units of the rate eta that brings a neuron to threshold; the
    rate [Hz] of the mean-field theory and, where known, of NEST 3.10; what it is called."""

    g: float
    eta: float
    theory: float
    nest: float | None
    title: str


REGIMES = {
    "AI": Regime(5.0, 2.0, 37.95, 37.12, "asynchronous irregular"),
    "SIfast": Regime(6.0, 4.0, 55.84, 58.8, "synchronous irregular, fast"),
    "SIslow": Regime(4.5, 0.9, 6.52, 5.2, "synchronous irregular, slow"),
    "SR": Regime(3.0, 2.0, 327.0, None, "synchronous regular"),
}
TAU_M, V_TH, V_RESET, T_REF = 20.0, 20.0, 10.0, 2.0  # ms, mV, mV, ms
J, DELAY, DT = 0.1, 1.5, 0.1  # mV, ms, ms
EPSILON = 0.1  # connection probability
SHOWN, WINDOW, BIN = 50, 200.0, 0.5  # neurons in a panel, the last ms of them, ms


@dataclass(frozen=True, kw_only=True)
class Spikes:
    """Times [ms] and ids of all spikes after the start-up, sorted by time; neurons; the time span [ms]."""

    times: np.ndarray
    ids: np.ndarray
    size: int
    begin: float
    end: float

    @property
    def rate(self) -> float:
        """Mean over the neurons, Hz."""
        return len(self.times) / (self.size * (self.end - self.begin) * 1e-3)


def simulate(regime: Regime, *, order: int, seed: int, t_presim: float, t_sim: float, name: str | None = None) -> Spikes:
    """Runs one network of 4 * order excitatory and order inhibitory neurons, whose results have this name."""
    size = 5 * order
    C_E, C_I = round(EPSILON * 4 * order), round(EPSILON * order)
    threshold_rate = V_TH / (J * C_E * TAU_M)  # of each external synapse, 1/ms
    sim = ds.Simulator(dt=DT * u.ms, seed=seed, name=name)
    rest = dict(E_L=0 * u.mV, V_reset=V_RESET * u.mV, V_th=V_TH * u.mV, V_m=0 * u.mV)
    neuron = dict(tau_m=TAU_M * u.ms, t_ref=T_REF * u.ms, C_m=1 * u.pF, **rest)
    exc = sim.create(ds.iaf_psc_delta, 4 * order, name="E", params=neuron)
    inh = sim.create(ds.iaf_psc_delta, order, name="I", params=neuron)
    both = exc + inh
    noise = sim.create(ds.poisson_generator, rate=regime.eta * threshold_rate * C_E * 1000 * u.Hz)
    recorder = sim.create(ds.spike_recorder)
    sim.connect(noise, both, weight=J * u.mV, delay=DELAY * u.ms)
    sim.connect(exc, both, rule=ds.fixed_indegree(C_E), weight=J * u.mV, delay=DELAY * u.ms)
    sim.connect(inh, both, rule=ds.fixed_indegree(C_I), weight=-regime.g * J * u.mV, delay=DELAY * u.ms)
    sim.connect(both, recorder)
    times, ids = sim.simulate((t_presim + t_sim) * u.ms).events(recorder)
    times = np.asarray(times.to_decimal(u.ms))
    kept = times > t_presim + DT / 2
    return Spikes(times=times[kept], ids=ids[kept], size=size, begin=t_presim, end=t_presim + t_sim)


def draw(path: Path, found: dict[str, Spikes]) -> None:
    """One panel per regime: the spikes of some neurons over the activity of all, as in Brunel's Fig. 8."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = min(len(found), 2)
    rows = -(-len(found) // columns)
    figure = Figure(figsize=(5.6 * columns, 3.7 * rows), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    for panel, (name, spikes) in zip(figure.subfigures(rows, columns, squeeze=False).flat, found.items(), strict=False):
        regime, begin = REGIMES[name], max(spikes.begin, spikes.end - WINDOW)
        panel.suptitle(f"{name}: {regime.title}\ng = {regime.g:g}, η = {regime.eta:g}, {spikes.rate:.1f} Hz", fontsize=10)
        raster, activity = panel.subplots(2, 1, sharex=True, height_ratios=(2, 1))
        shown = (spikes.times > begin) & (spikes.ids % (spikes.size // SHOWN or 1) == 0)
        raster.plot(spikes.times[shown], spikes.ids[shown], "|", color="0.15", markersize=3.5, markeredgewidth=0.8)
        raster.set(xlim=(begin, spikes.end), ylim=(0, spikes.size), yticks=[])
        raster.set_ylabel(f"{SHOWN} neurons")
        counts, edges = np.histogram(spikes.times, np.arange(begin, spikes.end + BIN / 2, BIN) + DT / 2)
        activity.stairs(counts / (spikes.size * BIN * 1e-3), edges, fill=True, color="#0072B2")
        activity.set_ylabel("rate [Hz]")
        activity.set_xlabel("time [ms]")
        for axes in (raster, activity):
            axes.spines[["top", "right"]].set_visible(False)
    save(figure, path)
    print(f"drawn: {path}")


def main() -> None:
    name, order = ds.param("regime", "AI"), ds.param("order", 2500)
    seed, t_presim, t_sim = ds.param("seed", 1), ds.param("t_presim", 100.0), ds.param("t_sim", 500.0)  # ms
    if name not in (*REGIMES, "all"):
        raise ParameterError(f"brunel(regime={name!r}): known are {', '.join(REGIMES)} and all.")
    if order < 10 or t_presim < 0 or t_sim <= 0:
        given = f"order={order}, t_presim={t_presim}, t_sim={t_sim}"
        raise ParameterError(f"brunel({given}): they must be at least 10, at least 0 ms, and above 0 ms.")
    found = {}
    print(f"{'regime':<8}{'g':>5}{'eta':>6}{'rate [Hz]':>12}{'mean field':>12}{'NEST 3.10':>12}")
    for key in REGIMES if name == "all" else [name]:
        regime = REGIMES[key]
        found[key] = spikes = simulate(regime, order=order, seed=seed, t_presim=t_presim, t_sim=t_sim, name=key)
        nest = "-" if regime.nest is None else f"{regime.nest:.1f}"
        print(f"{key:<8}{regime.g:>5g}{regime.eta:>6g}{spikes.rate:>12.2f}{regime.theory:>12.2f}{nest:>12}", flush=True)
    if find_spec("matplotlib"):
        draw(ds.results_folder() / f"brunel_{name}.png", found)


if __name__ == "__main__":
    main()
