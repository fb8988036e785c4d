"""Training a spiking network: the same weights on any mesh."""

import brainunit as u
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dist_sim as ds
from dist_sim.core import environ, init_all_states, transform

INPUTS, CELLS, CLASSES, TRIALS, STEPS = 20, 128, 3, 8, 15


class Net(ds.Module):
    """Spike trains to recurrent LIF cells, with a sparse connection among them, to a readout."""

    def __init__(self):
        super().__init__()
        self.source = ds.PoissonEncoder(INPUTS, spk_type=float)
        self.inward = ds.nn.Linear(INPUTS, CELLS, ds.init.KaimingNormal(4.0, unit=u.mA), b_init=None)
        self.among = ds.nn.EventFixedProb(CELLS, CELLS, 0.1, ds.init.Normal(0.0, 0.3, unit=u.mA), seed=1)
        self.cells = ds.LIF(CELLS, tau=5 * u.ms)
        self.readout = ds.LeakyRateReadout(CELLS, CLASSES)

    def update(self, rates):
        recurrent = self.among(self.cells.get_spike())
        self.cells(self.inward(self.source(rates)) + recurrent)
        return self.readout(self.cells.get_spike())


def trained(updates):
    """Weights after some updates, and the losses, with data of a fixed seed."""
    rng = np.random.default_rng(0)
    labels = jnp.asarray(rng.integers(0, CLASSES, TRIALS))
    rates = 400.0 * (rng.random((CLASSES, INPUTS)) < 0.4)[np.asarray(labels)] * u.Hz
    ds.random.seed(3)
    net = Net()
    weights = net.states(ds.ParamState)
    opt = ds.optim.Adam(5e-3, grad_clip_norm=1.0).register_trainable_weights(weights)
    init_all_states(net, TRIALS)

    def loss():
        out = transform.for_loop(lambda: net(rates), length=STEPS)
        return ds.metric.softmax_cross_entropy_with_integer_labels(out.mean(0), labels).mean()

    @transform.jit
    def step():
        init_all_states(net, TRIALS)
        grads, value = transform.grad(loss, weights, return_value=True)()
        opt.update(grads)
        return value

    losses = [float(step()) for _ in range(updates)]
    return {path: jax.device_get(u.get_mantissa(s.value)) for path, s in weights.items()}, losses


@pytest.fixture(autouse=True)
def clock():
    with environ.context(dt=1.0 * u.ms):
        yield


def test_trained_weights_do_not_depend_on_the_mesh():
    with ds.use_mesh(devices=1):
        alone, losses = trained(12)
    assert losses[-1] < 0.95 * losses[0]
    for shape in ({"neuron": 2}, {"batch": 2, "neuron": 2}):
        with ds.use_mesh(shape=shape):
            there, losses_there = trained(12)
        assert np.allclose(losses_there, losses, rtol=1e-5)
        for path, value in alone.items():
            for one, other in zip(jax.tree.leaves(value), jax.tree.leaves(there[path]), strict=True):
                assert np.allclose(one, other, rtol=1e-4, atol=1e-5), path
