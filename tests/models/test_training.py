"""Training a recurrent spiking network by surrogate gradients: how it is spread over devices does not change what is learnt."""

import functools

import brainunit as u
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import sparse

import dist_sim as ds
from dist_sim.core import environ, init_all_states, transform

INPUTS, CELLS, CLASSES, TRIALS, STEPS = 20, 200, 3, 8, 20

MESHES = {
    "1": {"neuron": 1}, "2": {"neuron": 2}, "3": {"neuron": 3}, "8": {"neuron": 8},
    "2x2": {"batch": 2, "neuron": 2}, "4x1": {"batch": 4, "neuron": 1}, "1x4": {"batch": 1, "neuron": 4},
    "2x4": {"batch": 2, "neuron": 4},
}  # fmt: skip


def meshes(always):
    """All but the one device that they are compared with; most of them with -m slow."""
    return [pytest.param(m, marks=[] if m in always else pytest.mark.slow) for m in MESHES if m != "1"]


class Net(ds.Module):
    """Spike trains to LIF cells, connected among themselves directly and through delayed synapses, to a readout."""

    def __init__(self):
        super().__init__()
        self.source = ds.PoissonEncoder(INPUTS, spk_type=float)
        self.inward = ds.nn.Linear(INPUTS, CELLS, ds.init.KaimingNormal(4.0, unit=u.mA), b_init=None)
        self.cells = ds.LIF(CELLS)
        pairs = sparse.random_array((CELLS, CELLS), density=0.05, rng=1).tocsr()
        self.fast = ds.nn.SparseLinear(u.sparse.CSR((0.5 * pairs.data * u.mA, pairs.indices, pairs.indptr), shape=pairs.shape))
        self.slow = ds.AlignPostProj(
            comm=ds.nn.EventFixedProb(CELLS, CELLS, 0.1, ds.init.Normal(0.0, 0.2, unit=u.mS), seed=1),
            syn=ds.Expon.desc(CELLS, tau=8 * u.ms), out=ds.CUBA.desc(), post=self.cells, delay=2 * u.ms,
        )  # fmt: skip
        self.readout = ds.LeakyRateReadout(CELLS, CLASSES)

    def update(self, rates):
        spikes = self.cells.get_spike()
        self.slow(spikes)
        self.cells(self.inward(self.source(rates)) + self.fast(spikes))
        return self.readout(self.cells.get_spike())


class Task:
    """Classes of spike trains, each of rates of its own, to be told apart."""

    def __init__(self):
        rng = np.random.default_rng(0)
        labels = rng.integers(0, CLASSES, TRIALS)
        rates = 400.0 * (rng.random((CLASSES, INPUTS)) < 0.4)[labels] * u.Hz
        ds.random.seed(3)
        self.net = init_all_states(Net(), TRIALS)
        self.weights = self.net.states(ds.ParamState)

        def loss():
            out = transform.for_loop(lambda: self.net(rates), length=STEPS)
            return ds.metric.softmax_cross_entropy_with_integer_labels(out.mean(0), jnp.asarray(labels)).mean()

        self.gradient = transform.grad(loss, self.weights, return_value=True)


def leaves(tree):
    return [np.asarray(leaf) for leaf in jax.tree.leaves(tree)]


@functools.cache
def gradient(mesh, precision):
    """The gradient by all weights, and the loss."""
    with environ.context(dt=1.0 * u.ms, precision=precision), ds.use_mesh(shape=MESHES[mesh]):
        return leaves(transform.jit(Task().gradient)())


@functools.cache
def trained(mesh, precision=32, updates=50):
    """The weights after so many updates, and the losses on the way."""
    with environ.context(dt=1.0 * u.ms, precision=precision), ds.use_mesh(shape=MESHES[mesh]):
        task = Task()
        optimizer = ds.optim.Adam(5e-3, grad_clip_norm=1.0).register_trainable_weights(task.weights)

        @transform.jit
        def update():
            init_all_states(task.net, TRIALS)
            gradient, loss = task.gradient()
            optimizer.update(gradient)
            return loss

        losses = [float(update()) for _ in range(updates)]
        # Out of a program, they are whole also where the mesh has devices of other processes.
        return leaves(transform.jit(lambda: {path: state.value for path, state in task.weights.items()})()), losses


def distance(found, expected):
    """The largest difference of two trees, each leaf in units of its largest number."""
    assert [x.shape for x in found] == [y.shape for y in expected]
    return max(np.abs(x - y).max() / np.abs(y).max() for x, y in zip(found, expected, strict=True))


# Not equal bits: sums over trials, and over what the devices send back to the sources of synapses, are taken in another order.
@pytest.mark.parametrize(("precision", "bound"), [pytest.param(32, 1e-6, marks=pytest.mark.slow), (64, 1e-12)])
@pytest.mark.parametrize("mesh", meshes(always=("2x2",)))
def test_the_gradient_is_that_of_one_device(mesh, precision, bound):
    alone = gradient("1", precision)
    assert all(np.abs(leaf).max() > 0 for leaf in alone)
    assert distance(gradient(mesh, precision), alone) < bound


@pytest.mark.parametrize("mesh", meshes(always=("2x2",)))
def test_weights_trained_on_a_mesh_are_those_of_one_device(mesh):
    alone, losses = trained("1")
    assert losses[-1] < 0.5 * losses[0]
    there, losses_there = trained(mesh)
    assert distance(there, alone) < 1e-5
    assert np.allclose(losses_there, losses, rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("mesh", ["2x2", "4x1", "1x4"])
def test_weights_trained_in_double_precision_differ_by_rounding_alone(mesh):
    alone, _ = trained("1", 64)
    assert distance(trained(mesh, 64)[0], alone) < 1e-12


def test_trials_and_cells_lie_over_the_mesh():
    with environ.context(dt=1.0 * u.ms), ds.use_mesh(shape=MESHES["2x2"]):
        net = Task().net
    assert {shard.data.shape for shard in u.get_mantissa(net.cells.V.value).addressable_shards} == {(TRIALS // 2, CELLS // 2)}
    weights = u.get_mantissa(net.slow.comm.weight.value)
    assert {shard.data.shape for shard in weights.addressable_shards} == {(CELLS // 2, weights.shape[1])}
