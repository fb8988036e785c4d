"""Three ways to gamma oscillations, and asynchronous activity beside them: networks of 25,000 neurons of Susin & Destexhe (2021).

    python examples/gamma.py
    dist-sim run examples/gamma.py --devices 2 --set mechanism=PING

In AI regular spiking (RS) and fast spiking (FS) neurons fire asynchronously. In PING the same cells oscillate, for their
excitation is faster than their inhibition. In ING a fifth of the FS cells (FS2) inhibit each other densely and set the beat; in
CHING 5 % of the excitatory cells do, which chatter (Ch). With scale < 1 there are fewer neurons with as many synapses each, which
is another network: PING is slower then, and stronger waves of 10 to 30 Hz may come with it.

Source: Susin & Destexhe (2021), doi:10.1371/journal.pcbi.1009416, and its programs (ModelDB 267039), which look for
oscillations of 30 to 50 Hz. There these come and go with a part of the drive that neurons share; here all of it is independent,
and constant at the upper rate. With this drive, rates and frequencies are those of the same networks in Brian2, in which the
programs are written.
"""

from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any

import brainunit as u
import jax.numpy as jnp
import numpy as np

import dist_sim as ds
from dist_sim.errors import ParameterError
from dist_sim.io.report import save

DT = 0.1  # ms
SHOWN = 100  # neurons of each kind in the raster
FS: dict[str, Any] = dict(
    V_rest=-65 * u.mV, tau_ref=5 * u.ms, tau_w=500 * u.ms, a=0 * u.nS, b=0 * u.pA, delta_T=0.5 * u.mV, V_th=-47.5 * u.mV,
)  # fmt: skip
CELLS = {
    "RS": FS | dict(a=4 * u.nS, b=20 * u.pA, delta_T=2 * u.mV, V_th=-40 * u.mV),
    "FS": FS,
    "FS2": FS,
    "Ch": FS | dict(tau_w=50 * u.ms, a=80 * u.nS, b=150 * u.pA, V_rest=-58 * u.mV, tau_ref=1 * u.ms),
}
EXCITE = "RS", "Ch"


@dataclass(frozen=True, kw_only=True)
class Mechanism:
    """Neurons of each kind; the rate [Hz] of each of a neuron's external sources, a fiftieth of RS, and their weights [nS]; time
    constants [ms] and weights [nS] of synapses; exceptions: (from, to) -> probability, which is 0.02, or weight."""

    sizes: dict[str, int] = field(default_factory=lambda: dict(RS=20_000, FS=5000))
    rate: float
    drive: dict[str, float]
    tau: tuple[float, float] = (5.0, 5.0)
    weight: tuple[float, float] = (1.0, 5.0)
    probabilities: dict[tuple[str, str], float] = field(default_factory=dict)
    weights: dict[tuple[str, str], float] = field(default_factory=dict)


MECHANISMS = {
    "AI": Mechanism(rate=2.0, drive=dict(RS=1.0, FS=1.0)),
    "PING": Mechanism(rate=3.0, drive=dict(RS=4.0, FS=4.0), tau=(1.0, 7.5), weight=(5.0, 10 / 3)),
    "ING": Mechanism(
        rate=3.0, sizes=dict(RS=20_000, FS=4000, FS2=1000), drive=dict(RS=0.9, FS=0.9, FS2=0.9),
        probabilities={
            ("RS", "FS2"): 0.15, ("FS", "FS2"): 0.03, ("FS2", "RS"): 0.15, ("FS2", "FS"): 0.15, ("FS2", "FS2"): 0.6,
        },
    ),
    "CHING": Mechanism(
        rate=2.0, sizes=dict(RS=19_000, FS=5000, Ch=1000), drive=dict(RS=1.0, FS=0.75, Ch=1.0),
        weights={("FS", "RS"): 7.0, ("FS", "Ch"): 7.0},
    ),
}  # fmt: skip


def jumps(tau: float) -> float:
    """How high a conductance jumps that is held over each step, for the integral of one that jumps by 1 and decays all the time.

    Without it, that of tau = 1 ms would be 5 % too large.
    """
    return tau / DT * (1 - np.exp(-DT / tau))


class Network(ds.Module):
    def __init__(self, given: Mechanism, scale: float):
        super().__init__()
        self.given = given
        sizes = {kind: round(size * scale) for kind, size in given.sizes.items()}
        self.cells = {
            kind: ds.AdExIFRef(
                size, R=100 * u.Mohm, tau=15 * u.ms, V_T=-50 * u.mV, V_reset=-65 * u.mV,
                **CELLS[kind], V_initializer=ds.init.Uniform(-65, -50, unit=u.mV),
            )
            for kind, size in sizes.items()
        }  # fmt: skip
        self.synapses = {pair: self.projection(*pair, sizes) for pair in ((a, b) for a in sizes for b in sizes)}
        # What drives arrives before a step of the synapse, in which it decays, and not after.
        drive = {kind: weight * jumps(given.tau[0]) * np.exp(DT / given.tau[0]) * u.nS for kind, weight in given.drive.items()}
        self.drive = [
            ds.PoissonInput((self.synapses["RS", kind].syn, "g"), None, given.sizes["RS"] // 50, given.rate * u.Hz, weight)
            for kind, weight in drive.items()
        ]

    def projection(self, source, target, sizes):
        pair, inhibits = (source, target), source not in EXCITE
        # So many for each source: what targets get varies as if each pair were drawn. None twice, unless there are too few.
        outdegree = round(self.given.probabilities.get(pair, 0.02) * self.given.sizes[target])
        tau, weight = self.given.tau[inhibits], self.given.weights.get(pair, self.given.weight[inhibits])
        return ds.AlignPostProj(
            comm=ds.nn.EventFixedProb(
                sizes[source], sizes[target], outdegree, weight * jumps(tau) * u.nS, allow_multi_conn=outdegree > sizes[target]
            ),
            syn=ds.Expon.desc(sizes[target], tau=tau * u.ms, g_initializer=ds.init.Constant(0 * u.nS)),
            out=ds.COBA.desc(E=-80 * u.mV if inhibits else 0 * u.mV), post=self.cells[target], delay=1.5 * u.ms,
        )  # fmt: skip

    def update(self):
        """Of each kind how many neurons spike in this step, and which of the first."""
        for (source, _), synapses in self.synapses.items():
            synapses(self.cells[source].get_spike() != 0.0)
        for drive in self.drive:
            drive()
        spikes = {kind: cells() != 0.0 for kind, cells in self.cells.items()}
        return {kind: (jnp.sum(one), one[:SHOWN]) for kind, one in spikes.items()}


def simulate(mechanism: str, *, scale: float, seed: int, t_sim: float):
    """Of each kind of neurons its size, how many spike in each step, and the spikes (steps, neurons) of the first ones."""
    ds.random.seed(seed)
    with ds.use_mesh(), ds.environ.context(dt=DT * u.ms):
        net = ds.nn.init_all_states(Network(MECHANISMS[mechanism], scale))
        bar = ds.transform.ProgressBar(desc=mechanism)
        found = ds.transform.for_loop(net, length=round(t_sim / DT), pbar=bar)
    return {kind: (net.cells[kind].in_size[0], np.asarray(counts), np.asarray(some)) for kind, (counts, some) in found.items()}


def rate_of(found) -> np.ndarray:
    """Rate of all neurons in Hz, per ms."""
    counts = np.sum([one[1] for one in found.values()], axis=0)
    return counts[: len(counts) // 10 * 10].reshape(-1, 10).sum(1) / (size_of(found) * 1e-3)


def size_of(found) -> int:
    return sum(one[0] for one in found.values())


def spectrum(found, window: int = 200) -> tuple[np.ndarray, np.ndarray]:
    """Frequencies [Hz] and power of the rate, the mean over windows of so many ms that overlap by half, after the first one; in
    units of that of as many spikes at random times."""
    rate, weights = rate_of(found)[window:], np.hanning(window)
    parts = [rate[k : k + window] for k in range(0, len(rate) - window + 1, window // 2)]
    power = [np.abs(np.fft.rfft((part - part.mean()) * weights)) ** 2 for part in parts]
    at_random = rate.mean() / (size_of(found) * 1e-3) * np.sum(weights**2)
    return np.fft.rfftfreq(window, 1e-3), np.mean(power, axis=0) / at_random


def peak(found) -> tuple[float, float]:
    """Frequency [Hz] of most power from 10 to 100 Hz, and this power; of the spectrum smoothed over 10 Hz."""
    frequency, power = spectrum(found)
    smooth, shown = np.convolve(power, (0.25, 0.5, 0.25), "same"), (frequency >= 10) & (frequency <= 100)
    best = np.argmax(np.where(shown, smooth, 0))
    return float(frequency[best]), float(smooth[best])


def draw(path, results) -> None:
    """A column per mechanism: the last 300 ms of some neurons, of the rate of all, and the spectrum of this rate."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(3.2 * len(results) + 0.6, 6.2), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(3, len(results), sharey="row", squeeze=False, height_ratios=(2, 1, 1.2))
    for (raster, activity, power), (name, found) in zip(panels.T, results.items(), strict=True):
        rate = rate_of(found)
        begin = max(len(rate) - 300, 0)
        for row, (kind, colour) in enumerate(dict(RS="#0072B2", FS="#D55E00", FS2="#CC79A7", Ch="#009E73").items()):
            if kind in found:
                steps, ids = np.nonzero(found[kind][2])
                raster.plot(steps * DT, SHOWN * min(row, 2) + ids, ".", color=colour, markersize=2.5, label=kind)
        raster.set(title=name, xlim=(begin, len(rate)), yticks=[], xticklabels=[])
        raster.legend(loc="upper right", fontsize=8, markerscale=3, handletextpad=0)
        activity.plot(np.arange(begin, len(rate)), rate[begin:], color="0.2", linewidth=0.8)
        activity.set(xlim=(begin, len(rate)), xlabel="time [ms]")
        frequency, found_power = spectrum(found)
        power.semilogy(frequency[1:31], found_power[1:31], color="0.2")
        power.axhline(1, color="0.6", linewidth=0.8, linestyle="--")
        power.axvspan(30, 90, color="#E69F00", alpha=0.2, linewidth=0)
        power.set(xlim=(0, 150), xlabel="frequency [Hz]")
    for axes, label in zip(panels[:, 0], (f"{SHOWN} neurons of each kind", "rate [Hz]", "power over random"), strict=True):
        axes.set_ylabel(label)
    save(figure, path)


def main() -> None:
    chosen, scale = ds.param("mechanism", "all"), ds.param("scale", 1.0)
    seed, t_sim = ds.param("seed", 1), ds.param("t_sim", 1000.0)  # ms, of which the first 200 are left out of the figures
    if chosen not in (*MECHANISMS, "all") or not 0.01 <= scale <= 1 or t_sim < 400:
        raise ParameterError(
            f"gamma(mechanism={chosen!r}, scale={scale}, t_sim={t_sim}): known are {', '.join(MECHANISMS)} and all; scales are "
            "from 0.01 to 1, times from 400 ms."
        )
    results = {}
    for name in MECHANISMS if chosen == "all" else [chosen]:
        results[name] = simulate(name, scale=scale, seed=seed, t_sim=t_sim)
        rates = ", ".join(f"{k} {c[2000:].sum() / (n * (t_sim - 200) * 1e-3):.2f}" for k, (n, c, _) in results[name].items())
        frequency, power = peak(results[name])
        print(f"{name:<6} most power at {frequency:.0f} Hz, {power:.0f} times that of random; rates in Hz: {rates}", flush=True)
    if find_spec("matplotlib"):
        path = ds.results_folder() / f"gamma_{chosen}.png"
        draw(path, results)
        print(f"drawn: {path}")


if __name__ == "__main__":
    main()
