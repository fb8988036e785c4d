"""Working memory in the synapses: the network of Mongillo, Barak & Tsodyks (2008).

    python examples/mongillo_2008.py
    dist-sim run examples/mongillo_2008.py --devices 2 --set mode=silent

Five populations of excitatory neurons stand for items. One is loaded: 350 ms of a larger current, which facilitates its synapses.
Later a weak current into all excitatory neurons, which asks for no item, brings a population spike of the loaded one alone. With
a small background nothing spikes together in between (silent); with a larger one population spikes refresh the item (active).

Neurons, weights, plasticity and signals are the published ones. The background, and delays of 0.1 to 1 ms, are those with which
Tiddia et al. find both modes in NEST; the noise makes potentials vary by 1 mV. Published u rests at U and is used as it is before
a spike jumps it: the same as `ds.STP`, whose u rests at 0 and is used after. With scale < 1 there are fewer neurons with as many
synapses each. Source: Mongillo et al. (2008), doi:10.1126/science.1150769; Tiddia et al. (2022), doi:10.3389/fnint.2022.972055.
"""

from importlib.util import find_spec
from typing import Any

import brainunit as u
import jax.numpy as jnp
import numpy as np

import dist_sim as ds
from dist_sim.errors import ParameterError
from dist_sim.io.report import save

DT, LOAD, READ, END = 0.1, (600.0, 950.0), (1600.0, 1850.0), 2200.0  # ms
BACKGROUND = {"silent": dict(E=22.7, I=20.5), "active": dict(E=23.7, I=20.5)}  # mV
STRONGER, ALL = 0.15, 0.05  # of the background, into the loaded population and into all
ITEMS, NEURONS, INDEGREE = 5, dict(E=8000, I=2000), dict(E=1600, I=400)  # a tenth of E for an item; a fifth of the sources
TAU, RESET = dict(E=15.0, I=10.0), dict(E=16.0, I=13.0)  # ms, mV
WEAK, STRONG, AT_RANDOM, U = 0.10, 0.45, 0.1, 0.2  # mV; how many are strong from and to neurons of no item; used at rest
WEIGHTS = {("E", "I"): 0.135, ("I", "E"): -0.25, ("I", "I"): -0.20}  # mV; from, to


class Memory(ds.Module):
    def __init__(self, mode: str, scale: float):
        super().__init__()
        sizes, self.background = {kind: 10 * round(size * scale / 10) for kind, size in NEURONS.items()}, BACKGROUND[mode]
        start, self.cells, self.noise = ds.init.Uniform(13, 20, unit=u.mV), {}, {}
        cell: dict[str, Any] = dict(tau_ref=2 * u.ms, V_th=20 * u.mV, V_initializer=start, spk_reset="hard")
        for kind, size in sizes.items():
            self.cells[kind] = ds.LIFRef(size, tau=TAU[kind] * u.ms, V_reset=RESET[kind] * u.mV, **cell)
            self.noise[kind] = ds.WienerProcessInput(size, np.sqrt(2 / TAU[kind]) * u.mV, END * u.ms)
        self.stp = ds.STP(sizes["E"], U=U, tau_f=1500 * u.ms, tau_d=200 * u.ms)
        groups, strong = [part * (sizes["E"] // 10) for part in (*[1] * ITEMS, 10 - ITEMS)], np.eye(ITEMS + 1)
        strong[-1] = strong[:, -1] = AT_RANDOM  # the last group is of no item
        self.projections = {pair: self.projection(*pair, weight * u.mV) for pair, weight in WEIGHTS.items()}
        self.projections["E", "E"] = self.projection("E", "E", ds.init.Groups(strong * u.mV, groups, groups), self.stp)
        weight = self.projections["E", "E"].comm.weight
        weight.value = jnp.where(ds.random.rand(*weight.value.shape) * u.mV < weight.value, STRONG, WEAK) * u.mV

    def projection(self, source: str, target: str, weight, stp: ds.STP | None = None):
        sizes, delay = (self.cells[kind].in_size for kind in (source, target)), ds.init.Uniform(0.1, 1.0, unit=u.ms)
        comm = ds.nn.EventFixedProb(*sizes, INDEGREE[source], weight, efferent_target="pre", conn_delay=delay)
        return ds.DeltaProj(comm=comm, post=self.cells[target], stp=stp)

    def update(self, i):
        """Which excitatory neurons spike; u and x of their synapses, each the mean over an item."""
        spikes = {kind: cells.get_spike() != 0.0 for kind, cells in self.cells.items()}
        for (source, _), projection in self.projections.items():
            projection(spikes[source])
        load, read = ((begin <= i * DT) & (i * DT < end) for begin, end in (LOAD, READ))
        loaded = jnp.arange(len(spikes["E"])) < len(spikes["E"]) // 10
        times = {"E": 1 + STRONGER * (load & loaded) + ALL * read, "I": 1.0}
        with ds.environ.context(i=i):
            for kind, cells in self.cells.items():
                cells.add_delta_input("noise", self.noise[kind]())
                cells(self.background[kind] * times[kind] * u.mA)  # through 1 ohm: mV
        used, left = (one.value.reshape(10, -1)[:ITEMS].mean(1) for one in (self.stp.u, self.stp.x))
        return spikes["E"], U + (1 - U) * used, left


def simulate(mode: str, *, scale: float, seed: int) -> list[np.ndarray]:
    """Spikes (steps, excitatory neurons), as booleans; u and x (steps, items)."""
    ds.random.seed(seed)
    with ds.use_mesh(), ds.environ.context(dt=DT * u.ms):
        net, bar = ds.nn.init_all_states(Memory(mode, scale)), ds.transform.ProgressBar(desc=mode)
        return [np.asarray(one) for one in ds.transform.for_loop(net, jnp.arange(round(END / DT)), pbar=bar)]


def peaks(spikes: np.ndarray, begin: float, end: float) -> np.ndarray:
    """Of each item the highest rate in Hz over 5 ms, in the time from `begin` to `end` in ms."""
    some = spikes[round(begin / DT) : round(end / DT)].reshape(-1, round(5 / DT), 10, spikes.shape[1] // 10)
    return some.mean((1, 3)).max(0)[:ITEMS] / (DT * 1e-3)


def draw(path, results) -> None:
    """A column per mode: spikes of 80 neurons of each item; u (blue) and x (grey) of the loaded one; the signals behind."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.2 * len(results), 5.0), dpi=110, layout="constrained")
    panels = figure.subplots(2, len(results), sharex=True, sharey="row", squeeze=False, height_ratios=(2.4, 1))
    for column, (mode, (spikes, *synapses)) in zip(panels.T, results.items(), strict=True):
        steps, ids = np.nonzero(np.hstack([some[:, :80] for some in np.split(spikes, 10, axis=1)[:ITEMS]]))
        column[0].scatter(steps * DT, ids, s=1.5, c=ids // 80, cmap="tab10", vmin=0, vmax=9)
        column[0].set(title=f"{mode} delay", ylabel="neurons of five items", yticks=[], xlim=(LOAD[0] - 200, END))
        for one, colour in zip(synapses, ("C0", "0.5"), strict=True):
            column[1].plot(np.arange(len(one)) * DT, one[:, 0], color=colour)
        column[1].set(xlabel="time [ms]", ylabel="u, x of the loaded", ylim=(0, 1.05))
        for axes, time in ((axes, time) for axes in column for time in (LOAD, READ)):
            axes.axvspan(*time, color="C0" if time == LOAD else "0.5", alpha=0.15, linewidth=0)
    save(figure, path)


def main() -> None:
    chosen, scale, seed = ds.param("mode", "both"), ds.param("scale", 1.0), ds.param("seed", 1)
    if chosen not in (*BACKGROUND, "both") or not 0.1 <= scale <= 1:
        raise ParameterError(f"mongillo_2008(mode={chosen!r}, scale={scale}): known are silent, active and both; 0.1 to 1.")
    results = {name: simulate(name, scale=scale, seed=seed) for name in (BACKGROUND if chosen == "both" else [chosen])}
    for name, (spikes, used, _) in results.items():
        print(f"{name} delay: u at its end, of the loaded and of other items", used[round(READ[0] / DT)].round(2))
        for what, time in dict(before=(0.0, LOAD[0]), delay=(LOAD[1], READ[0]), asked=(READ[0], END)).items():
            print(f"  {what:<6}: highest rates of the items in Hz", peaks(spikes, *time).round())
    if find_spec("matplotlib"):
        draw(ds.results_folder() / f"mongillo_2008_{chosen}.png", results)


if __name__ == "__main__":
    main()
