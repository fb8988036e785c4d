"""Handwritten digits as spike trains, told apart by a recurrent spiking network; trained on one device or on many.

    python examples/digits.py
    python examples/digits.py --mesh 2x2

Encoding: a pixel of the 8 x 8 images is a Poisson train of 0 to 250 Hz, proportional to its grey level, for 40 ms; other spikes
each time that an image is shown. 200 LIF neurons take them, and each other's through delayed synapses, a tenth of all pairs; a
leaky readout per digit sums their spikes, and the largest mean over time is the answer. All weights learn, by gradients through
time with surrogate spikes, and Adam. On a mesh of B x N devices the images of a batch are split in B and the neurons in N parts.

Data: 1,797 digits of Alpaydin & Kaynak (1998), doi:10.24432/C50P49, in scikit-learn; 360 of them, drawn by the seed, are for the
test and are never learnt from. Surrogate gradients: Neftci, Mostafa & Zenke (2019), doi:10.1109/MSP.2019.2931595.
"""

import argparse
import re
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import brainunit as u
import numpy as np

import dist_sim as ds
from dist_sim.errors import ParameterError
from dist_sim.io.report import save

PIXELS, DIGITS, HELD_OUT, BATCH = 64, 10, 360, 60  # 360 is a multiple of 60
STEPS, DT, TOP_RATE = 40, 1.0, 250.0  # ms, Hz


def load(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Grey levels from 0 to 1, (images, 64), and what they show, shuffled; the first HELD_OUT are for the test."""
    if find_spec("sklearn") is None:
        raise SystemExit("digits.py: the digits come with scikit-learn, which is not there. Try: pip install scikit-learn")
    from sklearn.datasets import load_digits

    images, labels = (np.asarray(array) for array in load_digits(return_X_y=True))
    order = np.random.default_rng(seed).permutation(len(labels))
    return (images[order] / 16).astype(np.float32), labels[order]


class Net(ds.Module):
    """Spike trains to recurrent LIF neurons to a readout."""

    def __init__(self, cells: int) -> None:
        super().__init__()
        self.source = ds.PoissonEncoder(PIXELS, spk_type=float)
        self.inward = ds.nn.Linear(PIXELS, cells, ds.init.KaimingNormal(16.0, unit=u.mA), b_init=None)
        self.cells = ds.LIF(cells, tau=10 * u.ms)
        self.among = ds.AlignPostProj(
            comm=ds.nn.EventFixedProb(cells, cells, 0.1, ds.init.Normal(0.0, 0.3, unit=u.mS)),
            syn=ds.Expon.desc(cells, tau=5 * u.ms), out=ds.CUBA.desc(), post=self.cells, delay=1 * u.ms,
        )  # fmt: skip
        self.readout = ds.LeakyRateReadout(cells, DIGITS, tau=10 * u.ms)

    def update(self, rates: u.Quantity) -> tuple:
        """One step; r of the readout (images, 10), and the spikes of a neuron in it, on average."""
        self.among(self.cells.get_spike())
        spikes = self.cells(self.inward(self.source(rates)))
        return self.readout(spikes), spikes.mean()


def learn(*, epochs: int, seed: int = 1, cells: int = 200, size: int | None = None) -> Iterator[tuple[float, float, float]]:
    """Trains a network on the mesh in use, in each epoch from all images once, or from so many.

    Yields: for each epoch the mean loss and rate of the neurons [Hz] while learning, then the part of the test images told right.
    """
    images, labels = load(seed)
    ds.random.seed(seed)
    net = ds.nn.init_all_states(Net(cells), BATCH)
    weights = net.states(ds.ParamState)
    optimizer = ds.optim.Adam(5e-3, grad_clip_norm=1.0).register_trainable_weights(weights)

    def show(pixels):
        ds.nn.init_all_states(net, BATCH)  # at rest; other spikes than the last time
        r, spikes = ds.transform.for_loop(lambda: net(pixels * TOP_RATE * u.Hz), length=STEPS)
        return r.mean(0), spikes.mean() / (DT * 1e-3)

    def loss(pixels, shown):
        logits, rate = show(pixels)
        return ds.metric.softmax_cross_entropy_with_integer_labels(logits, shown).mean(), rate

    @ds.transform.jit
    def update(pixels, shown):
        gradients, value, rate = ds.transform.grad(loss, weights, has_aux=True, return_value=True)(pixels, shown)
        optimizer.update(gradients)
        return value, rate

    @ds.transform.jit
    def accuracy(pixels, shown):
        return (show(pixels)[0].argmax(-1) == shown).mean()

    def mean(f, ids):
        """Of what f gives for batches of these; those that fill none are left out."""
        batches = ids[: len(ids) // BATCH * BATCH].reshape(-1, BATCH)
        return np.mean([np.asarray(f(images[batch], labels[batch])) for batch in batches], axis=0)

    rng = np.random.default_rng(seed)
    for _ in range(epochs):
        loss_now, rate = mean(update, HELD_OUT + rng.permutation(len(labels) - HELD_OUT)[:size])
        yield float(loss_now), float(rate), float(mean(accuracy, np.arange(HELD_OUT)))


def draw(path: Path, losses: list[float], right: list[float], title: str) -> None:
    """The learning curves."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3.2), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title, fontsize=10)
    of_loss, of_test = figure.subplots(1, 2)
    of_loss.plot(range(1, len(losses) + 1), losses, "o-", color="#0072B2", markersize=3)
    of_loss.set(xlabel="epoch", ylabel="training loss (cross-entropy)", ylim=(0, None))
    of_test.plot(range(1, len(right) + 1), 100 * np.array(right), "o-", color="#D55E00", markersize=3)
    of_test.axhline(90, color="0.6", linewidth=0.8, linestyle="--")
    of_test.set(xlabel="epoch", ylabel="test accuracy [%]", ylim=(None, 100))
    for axes in (of_loss, of_test):
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.spines[["top", "right"]].set_visible(False)
    save(figure, path)
    print(f"drawn: {path}")


def main() -> None:
    parser = argparse.ArgumentParser(description="Handwritten digits as spike trains.")
    parser.add_argument("--mesh", default="1x1", help="devices along the batch x along the neurons (1x1)")
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--seed", type=int, default=1, help="of the split, the network and the spikes (1)")
    parser.add_argument("--out", type=Path, default=ds.results_folder() / "digits.png", help="the learning curves (digits.png)")
    given = parser.parse_args()
    if not re.fullmatch(r"[1-9]\d*x[1-9]\d*", given.mesh) or given.epochs < 1:
        raise ParameterError(f"digits(mesh={given.mesh!r}, epochs={given.epochs}): needs two numbers, as in 2x2; at least 1.")
    batch, neuron = map(int, given.mesh.split("x"))
    losses, accuracies, begin = [], [], time.perf_counter()
    print(f"{'epoch':>5}{'loss':>9}{'rate [Hz]':>11}{'test':>9}{'time [s]':>10}")
    with ds.use_mesh(shape={"batch": batch, "neuron": neuron}), ds.environ.context(dt=DT * u.ms):
        for loss, rate, accuracy in learn(epochs=given.epochs, seed=given.seed):
            losses.append(loss)
            accuracies.append(accuracy)
            seconds = time.perf_counter() - begin
            print(f"{len(losses):>5}{loss:>9.4f}{rate:>11.1f}{accuracy:>9.1%}{seconds:>10.1f}", flush=True)
    if find_spec("matplotlib"):
        title = f"digits as spike trains, {given.mesh} devices: {accuracies[-1]:.1%} of the test images told right"
        draw(given.out, losses, accuracies, title)


if __name__ == "__main__":
    main()
