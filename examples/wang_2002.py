"""A decision between two directions of motion by slow reverberation: Wang (2002), 2,000 neurons, all to all.

    python examples/wang_2002.py
    dist-sim run examples/wang_2002.py --devices 2 --set seed=3

Two groups of 240 pyramidal cells each stand for a direction; 1,120 others and 400 interneurons for none. For a second, noisy
rates say where dots move: the more coherently, the more these rates differ. Through inhibition that they share and NMDA receptors
the groups compete, until one fires, and goes on without any stimulus. All coherences are run at the same time, as a batch.

Steps are of 0.1 ms, and not of 0.02 as in the paper: synapses are exact at any step, and a conductance that is held over a step
has the integral that it should. Source: Wang (2002), doi:10.1016/S0896-6273(02)01092-9.
"""

from importlib.util import find_spec

import brainunit as u
import jax.numpy as jnp
import numpy as np

import dist_sim as ds
from dist_sim.io.report import save

GROUPS, N_EXC, N = (240, 240, 1120, 400), 1600, 2000  # first and second direction, none, interneurons
DT, BEFORE, STIMULUS, INTERVAL = 0.1, 500.0, 1000.0, 50.0  # ms; a rate of the stimulus lasts for an interval
COHERENCES, SHOWN = (0.0, 3.2, 6.4, 12.8, 25.6, 51.2), 40  # per cent; neurons of a group in the raster
W, LESS = 1.7, 1 - 0.15 * (1.7 - 1) / (1 - 0.15)  # w+ and w- of groups with 15 % of the pyramidal cells
PAIRS = np.array([[W, LESS, 1, 1], [LESS, W, 1, 1], [LESS, LESS, 1, 1]])  # from each of the excitatory groups to all groups
# Of each time constant [ms] what a conductance jumps by that is held over a step, to have the integral of one that decays from 1.
HELD = {tau: tau / DT * (1 - np.exp(-DT / tau)) for tau in (2, 5)}


def weights(pairs: np.ndarray, pyramidal: float, interneuron: float, pre: tuple[int, ...]) -> ds.nn.AllToAll:
    """From groups of such sizes to all: weights of pairs of groups times conductances [nS] of both kinds of targets."""
    matrix = pairs * [pyramidal, pyramidal, pyramidal, interneuron] * u.nS
    return ds.nn.AllToAll(sum(pre), N, ds.init.Groups(matrix, pre=pre, post=GROUPS))


class Network(ds.Module):
    def __init__(self, coherences):
        super().__init__()
        # Of pyramidal cells and interneurons: conductance of the leak, time constants, and conductance of what drives them.
        g_L, tau, tau_ref, drive = (np.repeat(x, [N_EXC, N - N_EXC]) for x in ([25, 20], [20, 10], [2, 1], [2.1, 1.62]))
        self.cells = ds.LIFRef(
            N, R=1 / (g_L * u.nS), tau=tau * u.ms, tau_ref=tau_ref * u.ms, V_rest=-70 * u.mV, V_th=-50 * u.mV, V_reset=-55 * u.mV,
            V_initializer=ds.init.Uniform(-70, -50, unit=u.mV), spk_reset="hard",
        )  # fmt: skip
        excite, inhibit, block = ds.COBA.desc(E=0 * u.mV), ds.COBA.desc(E=-70 * u.mV), ds.MgBlock(cc_Mg=1 * u.mM)
        ampa, gaba = (dict(tau=tau * u.ms, g_initializer=0 * u.nS) for tau in (2, 5))
        fast, slow = weights(PAIRS * HELD[2], 0.05, 0.04, GROUPS[:3]), weights(PAIRS, 0.165, 0.13, GROUPS[:3])
        back, delay = weights(np.ones((1, 4)) * HELD[5], 1.3, 1.0, GROUPS[3:]), 0.5 * u.ms
        self.ampa = ds.AlignPostProj(comm=fast, syn=ds.Expon.desc(N, **ampa), out=excite, post=self.cells, delay=delay)
        self.nmda = ds.align_pre_projection(syn=ds.NMDA(N_EXC), comm=slow, out=block, post=self.cells, delay=delay)
        self.gaba = ds.AlignPostProj(comm=back, syn=ds.Expon.desc(N, **gaba), out=inhibit, post=self.cells, delay=delay)
        # What is added to a conductance decays before it is used.
        self.noise = ds.PoissonInput((self.ampa.syn, "g"), None, 1, 2400 * u.Hz, drive * HELD[2] * np.exp(DT / 2) * u.nS)
        self.dots, comm = ds.PoissonEncoder(480), ds.nn.OneToOne(480, drive[0] * HELD[2] * u.nS)
        self.stimulus = ds.AlignPostProj(comm=comm, syn=ds.Expon.desc(480, **ampa), out=excite, post=self.cells[:480])
        mean = 40 * (1 + np.outer(coherences, [0.01, -0.01]))
        drawn = jnp.maximum(ds.random.normal(mean, 10.0, (round(STIMULUS / INTERVAL), *mean.shape)), 0)
        self.rates = ds.State(jnp.pad(drawn, ((round(BEFORE / INTERVAL), 1), (0, 0), (0, 0))) * u.Hz, axes=())

    def update(self, step):
        """How many neurons of each group spike, (trials, 4), and which of the first ones of each."""
        spikes = self.cells.get_spike() != 0.0
        self.ampa(spikes[:, :N_EXC])
        self.nmda(spikes[:, :N_EXC])
        self.gaba(spikes[:, N_EXC:])
        self.noise()
        rates = self.rates.value[jnp.minimum(step // round(INTERVAL / DT), len(self.rates.value) - 1)]
        self.stimulus(self.dots(u.math.repeat(rates, 240, axis=-1)))
        groups = jnp.split(self.cells() != 0.0, np.cumsum(GROUPS)[:-1], axis=-1)
        return jnp.stack([one.sum(-1) for one in groups], -1), jnp.concatenate([one[:, :SHOWN] for one in groups], -1)


def simulate(coherences, *, seed: int, t_sim: float = 2500.0):
    """Of a trial of each coherence the rates [Hz] over 50 ms, (times, trials, 4), and spikes of some (steps, trials, neurons)."""
    ds.random.seed(seed)
    with ds.use_mesh(), ds.environ.context(dt=DT * u.ms):
        net = ds.nn.init_all_states(Network(coherences), len(coherences))
        bar = ds.transform.ProgressBar(desc="decisions")
        counts, some = ds.transform.for_loop(net, jnp.arange(round(t_sim / DT)), pbar=bar)
    sums = np.pad(np.cumsum(np.asarray(counts), axis=0), ((1, 0), (0, 0), (0, 0)))[:: round(5 / DT)]
    return (sums[10:] - sums[:-10]) / (np.array(GROUPS) * 0.05), np.asarray(some)


def decision(rates: np.ndarray) -> tuple[int, float | None]:
    """Which group fires more at the end of the stimulus, and after what time of it [ms] that came to 15 Hz, if it did."""
    during = rates[round(BEFORE / 5) - 10 : round((BEFORE + STIMULUS) / 5) - 9]
    winner = int(during[-1, 1] > during[-1, 0])
    above = np.flatnonzero(during[:, winner] >= 15)
    return winner, 5.0 * above[0] if len(above) else None


def draw(path, rates, some) -> None:
    from matplotlib.figure import Figure

    figure, times = Figure(figsize=(10, 7.6), dpi=90, layout="constrained"), 50 + 5 * np.arange(len(rates))
    *panels, raster = figure.subplot_mosaic("012;345;666", height_ratios=(1, 1, 1.3)).values()
    for panel, coherence, (first, second) in zip(panels, COHERENCES, rates.transpose(1, 2, 0)[:, :2], strict=True):
        panel.plot(times, second, "#D55E00", times, first, "#0072B2")
        panel.axvspan(BEFORE, BEFORE + STIMULUS, color="0.93", zorder=0)
        panel.set(title=f"coherence {coherence} %", ylim=(0, 50), xlabel="time [ms]", ylabel="rate [Hz]")
    steps, ids = np.nonzero(some)
    raster.scatter(steps * DT, ids, 1.5, np.array(["#0072B2", "#D55E00", "0.6", "#009E73"])[ids // SHOWN])
    raster.set(yticks=np.arange(20, 160, 40), yticklabels=("first", "second", "none", "inhibit"), xlabel="time [ms]")
    save(figure, path)


def main() -> None:
    rates, some = simulate(COHERENCES, seed=ds.param("seed", 2))
    for k, coherence in enumerate(COHERENCES):
        winner, time = decision(rates[:, k])
        when = f"15 Hz after {time:.0f} ms" if time else "no decision"
        print(f"coherence {coherence:>4} %: the {('first', 'second')[winner]} group fires more, {when}")
    if find_spec("matplotlib"):
        draw(ds.results_folder() / "wang_2002.png", rates, some[:, -1])


if __name__ == "__main__":
    main()
