"""A signal on its way up the cortex: the 29 areas of Joglekar et al. (2018) with weak and with strong balanced amplification.

    python examples/joglekar.py
    dist-sim run examples/joglekar.py --devices 2 --set scale=1

V1, the lowest area, is driven for 150 ms. With weak global balanced amplification (GBA) the answer of the other areas dies out on
the way up. With strong GBA, more excitation between areas and more inhibition within them, it reaches the highest one.

The hierarchy is SYNTHETIC: the published connectivity of the macaque is not used. The areas lie on a sphere of 57 mm from pole to
pole, for the sheet of a hemisphere, and are ranked from V1 at one pole to the other pole. The fraction of an area's input that
comes from another one (FLN) falls with their distance along the sheet by exp(-0.19 d / mm), and the fractions of each area add up
to one (Ercsey-Ravasz et al. 2013).

Neurons, weights, noise and delays are the published ones of the asynchronous regime, except that

- inhibition of excitatory neurons is 2.05 times as strong, in both conditions: here high areas get most of their input from each
  other, and with the published weights they run away without any signal;
- V1 is driven by 300 pA in both conditions, and not by 126 pA in the strong one, so that they differ in GBA alone;
- every neuron has as many inputs, where there a tenth of all pairs is connected, and delays between two areas do not scatter.

With scale < 1 there are fewer neurons with as many synapses each; from about 0.1 down, their noise may make strong GBA run away.

Source: Joglekar et al. (2018), doi:10.1016/j.neuron.2018.02.031, and its programs (github.com/xjwanglab/JoglekarEtAl2018_Neuron);
Ercsey-Ravasz et al. (2013), doi:10.1016/j.neuron.2013.07.036.
"""

from importlib.util import find_spec

import brainunit as u
import jax.numpy as jnp
import numpy as np

import dist_sim as ds
from dist_sim.errors import ParameterError
from dist_sim.io.report import save

AREAS, SIZES = 29, {"E": 1600, "I": 400}  # neurons of each kind in an area
DT = 0.1  # ms
ON, OFF, END = 300.0, 450.0, 700.0  # ms: V1 is driven from, and to; the end
WINDOW = 40  # ms over which rates are taken

RADIUS, DECAY = 18.0, 0.19  # mm; per mm, of FLN
SPEED, LOCAL = 3.5, 2.0  # mm/ms between areas; ms, the delay within one
PROBABILITY = 0.1  # of a synapse, within an area and from the excitatory neurons of any other
GRADIENT = 4.0  # the highest area takes 1 + 4 times the excitation of the lowest
CELLS = {"E": dict(tau=20.0, drive=284.0), "I": dict(tau=10.0, drive=294.0)}  # ms, pA
NOISE, PULSE = 3.0, 300.0  # mV, pA
WITHIN = {("E", "E"): 0.01, ("E", "I"): 0.075, ("I", "I"): -0.075}  # mV; from, to
BETWEEN = {("E", "I"): 0.0475}
# Of each condition: weights of excitation between areas, and of inhibition of excitatory neurons, 2.05 times the published one.
GBA = {"weak": (0.0375, 2.05 * -0.0375), "strong": (0.05, 2.05 * -0.05)}


def distances() -> np.ndarray:
    """(areas, areas) in mm, along a sphere on which the areas lie in a spiral of golden angles, from pole to pole."""
    height, angle = np.linspace(1, -1, AREAS), np.arange(AREAS) * np.pi * (3 - np.sqrt(5))
    circle = np.sqrt(1 - height**2)
    places = np.stack([circle * np.cos(angle), circle * np.sin(angle), height])
    return RADIUS * np.arccos(np.clip(places.T @ places, -1, 1))


def weights(condition: str) -> dict[tuple[str, str], np.ndarray]:
    """By (from, to), in mV: (areas, areas that reach it), rows are targets. Inhibition reaches its own area only."""
    excite, inhibit = GBA[condition]
    within, between = WITHIN | {("I", "E"): inhibit}, BETWEEN | {("E", "E"): excite}
    fln = np.exp(-DECAY * distances()) * (1 - np.eye(AREAS))
    fln /= fln.sum(1, keepdims=True)
    gain = 1 + GRADIENT * np.linspace(0, 1, AREAS)[:, None]
    return {
        (a, b): gain * (between[a, b] * fln + w * np.eye(AREAS)) if a == "E" else np.full((AREAS, 1), w)
        for (a, b), w in within.items()
    }


class Axons(ds.Module):
    """Spikes of one kind of neurons as they arrive: at each area, from each of the areas that reach it, after the delay between.

    Args:
        neurons: in an area.
        sources, delays: (areas, areas that reach it), the latter in ms.
    """

    def __init__(self, neurons: int, sources: np.ndarray, delays: np.ndarray):
        super().__init__()
        # Spikes come a step late: they are those of the step before.
        self.neurons, self.sources, self.steps = neurons, sources, np.rint(delays / DT).astype(int) - 1

    def init_state(self):
        self.history = ds.ShortTermState(jnp.zeros((self.steps.max() + 1, AREAS, self.neurons), bool), axes=())
        self.newest = ds.ShortTermState(jnp.zeros((), jnp.int32))

    def update(self, spikes):
        """(areas, areas that reach it, neurons), of the spikes (areas, neurons) of the step before."""
        newest = (self.newest.value + 1) % len(self.history.value)
        history = self.history.value.at[newest].set(spikes)
        self.history.value, self.newest.value = history, newest
        return history[(newest - self.steps) % len(history), self.sources]


class Terminals(ds.Module):
    """What arrives at one kind of neurons is worth. The synapses of each area are drawn from all areas that reach it, alike.

    States: weight (areas, areas that reach it) [voltage].
    """

    def __init__(self, sources: int, neurons: int, reaching: int, indegree: int):
        super().__init__()
        self.out_size = AREAS, neurons
        self.weight = ds.LongTermState(jnp.zeros((AREAS, reaching)) * u.mV)
        self.areas = [
            ds.nn.EventFixedProb(reaching * sources, neurons, indegree, 1.0 * u.mV, efferent_target="pre") for _ in range(AREAS)
        ]

    def update(self, arriving):
        """(areas, neurons) [voltage], of what arrives from :class:`Axons`."""
        worth = arriving * self.weight.value.to_decimal(u.mV)[..., None]
        return u.math.stack([area(x.reshape(-1)) for area, x in zip(self.areas, worth, strict=True)])


class Cortex(ds.Module):
    def __init__(self, scale: float):
        super().__init__()
        own = np.arange(AREAS)[:, None]
        sizes = {kind: round(size * scale) for kind, size in SIZES.items()}
        self.cells = {
            kind: ds.LIFRef(
                (AREAS, sizes[kind]), R=50 * u.Mohm, tau=given["tau"] * u.ms, tau_ref=2 * u.ms, V_rest=-70 * u.mV,
                V_th=-50 * u.mV, V_reset=-60 * u.mV, V_initializer=ds.init.Uniform(-70, -50, unit=u.mV), spk_reset="hard",
            )
            for kind, given in CELLS.items()
        }  # fmt: skip
        self.noise = {
            kind: ds.WienerProcessInput((AREAS, sizes[kind]), NOISE / np.sqrt(given["tau"]) * u.mV, END * u.ms)
            for kind, given in CELLS.items()
        }
        delays = np.where(np.eye(AREAS), LOCAL, distances() / SPEED)
        self.axons = {
            "E": Axons(sizes["E"], np.broadcast_to(own.T, delays.shape), delays),
            "I": Axons(sizes["I"], own, np.full(own.shape, LOCAL)),
        }
        self.synapses = {(a, b): self.projection(a, b) for a in sizes for b in sizes}
        signal = np.zeros((2, AREAS, 1))
        signal[0, 0] = PULSE
        self.signal = ds.StepInput((AREAS, 1), signal * u.pA, [ON, OFF] * u.ms)

    def projection(self, source: str, target: str):
        reaching = self.axons[source].sources.shape[1]
        indegree = reaching * round(PROBABILITY * SIZES[source])
        neurons = self.axons[source].neurons, self.axons[target].neurons
        return ds.DeltaProj(comm=Terminals(*neurons, reaching, indegree), post=self.cells[target])

    def couple(self, condition: str) -> None:
        """Sets the weights; the synapses stay."""
        for pair, values in weights(condition).items():
            weight = self.synapses[pair].comm.weight
            weight.value = jnp.asarray(values, weight.value.dtype) * u.mV

    def update(self, i):
        """How many excitatory neurons of each area spiked in the step before."""
        spikes = {kind: cells.get_spike() != 0.0 for kind, cells in self.cells.items()}
        arriving = {kind: axons(spikes[kind]) for kind, axons in self.axons.items()}
        for (source, _), synapses in self.synapses.items():
            synapses(arriving[source])
        with ds.environ.context(i=i):
            for kind, cells in self.cells.items():
                cells.add_delta_input("noise", self.noise[kind]())
                drive = CELLS[kind]["drive"] * u.pA
                cells(drive + self.signal() if kind == "E" else drive)
        return jnp.sum(spikes["E"], axis=1)


def simulate(*, scale: float, seed: int) -> dict[str, np.ndarray]:
    """By condition the rates (ms, areas) of excitatory neurons in Hz, each over the last WINDOW."""
    ds.random.seed(seed)
    rates = {}
    with ds.use_mesh(), ds.environ.context(dt=DT * u.ms):
        net = Cortex(scale)
        bar = ds.transform.ProgressBar(desc=f"{END:g} ms")
        run = ds.transform.jit(lambda steps: ds.transform.for_loop(net, steps, pbar=bar))
        for condition in GBA:
            ds.nn.init_all_states(net)
            net.couple(condition)
            print(f"{condition} GBA", flush=True)
            counts = np.asarray(run(jnp.arange(round(END / DT))))
            sums = np.cumsum(counts.reshape(round(END), -1, AREAS).sum(1), axis=0)
            sums[WINDOW:] -= sums[:-WINDOW].copy()
            rates[condition] = sums / (WINDOW * 1e-3 * net.cells["E"].in_size[1])
    return rates


def answers(rates: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of each area in Hz: the mean rate before the signal, and the peak from its beginning on."""
    return rates[round(ON) // 3 : round(ON)].mean(0), rates[round(ON) :].max(0)


def draw(path, results: dict[str, np.ndarray]) -> None:
    """The rates of all areas over time in both conditions, and how far above the mean before the signal they get."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.colors import LogNorm
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11.5, 4.6), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(f"{AREAS} areas of spiking neurons on a synthetic hierarchy, after Joglekar et al. (2018)", fontsize=11)
    *maps, peaks = figure.subplots(1, 3, width_ratios=(1, 1.15, 1))
    places = range(0, AREAS, 7)
    names = ["V1", *(str(area + 1) for area in places[1:])]
    for axes, (condition, rates), colour in zip(maps, results.items(), ("#009E73", "#CC79A7"), strict=True):
        extent = (0, END, -0.5, AREAS - 0.5)
        shown = axes.imshow(rates.T, origin="lower", aspect="auto", extent=extent, norm=LogNorm(0.8, 12), cmap="viridis")
        axes.set(title=f"{condition} GBA", xlim=(ON - 100, END), xlabel="time [ms]", yticks=places, yticklabels=names)
        for time in (ON, OFF):
            axes.axvline(time, color="white", linewidth=0.8, linestyle=":")
        before, peak = answers(rates)
        peaks.semilogy(peak - before, "o-", color=colour, markersize=4, label=f"{condition} GBA")
        peaks.semilogy(rates[round(ON) // 3 : round(ON)].max(0) - before, ":", color=colour, label="without a signal")
    maps[0].set_ylabel("area, from V1 up")
    figure.colorbar(shown, ax=maps[-1], label="rate of excitatory neurons [Hz]", extend="both", ticks=(1, 2, 5, 10), format="%g")
    peaks.set(title="peak above the mean before [Hz]", xticks=places, xticklabels=names, xlabel="area, from V1 up")
    peaks.legend()
    save(figure, path)


def main() -> None:
    scale, seed = ds.param("scale", 0.25), ds.param("seed", 1)
    if not 0.1 <= scale <= 1:
        raise ParameterError(f"joglekar(scale={scale}): scales are from 0.1 to 1.")
    results = simulate(scale=scale, seed=seed)
    columns = {condition: answers(rates) for condition, rates in results.items()}
    print("rates of excitatory neurons in Hz, on a synthetic hierarchy: before the signal, and their peak")
    print("area" + "".join(f"{name + ' GBA':>16}" for name in columns))
    for area in range(AREAS):
        name = "V1" if area == 0 else str(area + 1)
        print(f"{name:<4}" + "".join(f"{before[area]:>8.2f}{peak[area]:>8.2f}" for before, peak in columns.values()))
    for condition, (before, peak) in columns.items():
        rise = peak - before
        print(f"{condition} GBA: the highest area rises by {rise[-1]:.2f} Hz, {100 * rise[-1] / rise[0]:.1f} % of V1's rise")
    if find_spec("matplotlib"):
        path = ds.results_folder() / "joglekar.png"
        draw(path, results)
        print(f"drawn: {path}")


if __name__ == "__main__":
    main()
