"""Sparse sums against a dense matrix: values, all derivatives, batches, and any number of devices."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dist_sim as ds
from dist_sim.kernels import build
from dist_sim.network.connection import Connection
from dist_sim.network.sparse import Sparse

PRE, POST = 37, 301
NONE = build.Draw(kind=build.CONSTANT)


def table(devices=None, weighted=True, rule=None, backend=None, shape=None):
    connection = Connection(
        pre_ids=np.arange(PRE), post_ids=np.arange(POST), group=0, rule=rule or ds.fixed_outdegree(30), weight=NONE, delay=NONE,
        autapses=True, multapses=True, stream=0, where="test",
    )  # fmt: skip
    mesh = None
    if shape:
        with ds.use_mesh(shape=shape) as mesh:
            pass
    elif devices:
        mesh = ds.neuron_mesh(devices)
    made = Sparse(connection, seed=5, weighted=weighted, mesh=mesh)
    if backend:
        made.table = made.table._replace(backend=backend)
    return made


def dense(made, weights):
    """(PRE, POST), from the synapses in order of targets."""
    degrees = np.concatenate([rows.degrees for rows in made.incoming.values()])
    sources = np.concatenate([rows.sources for rows in made.incoming.values()])
    target = np.repeat(np.arange(POST), degrees)
    slot = np.arange(len(target)) - np.repeat(np.cumsum(degrees) - degrees, degrees)
    matrix = np.zeros((PRE, POST))
    np.add.at(matrix, (sources, target), np.asarray(weights)[target, slot] if np.ndim(weights) else weights)
    return matrix


def numbers(made, batch=(), seed=0):
    draw = np.random.default_rng(seed)
    spikes = (draw.random((*batch, PRE)) < 0.3) * draw.normal(1.0, 0.2, (*batch, PRE))
    weights = draw.normal(size=(POST, made.table.width)) if made.table.width else 1.0
    return jnp.asarray(spikes, jnp.float32), jnp.asarray(weights, jnp.float32)


CASES = {
    "one device": dict(), "reference": dict(backend="reference"), "three devices": dict(devices=3), "ones": dict(weighted=False),
    "ones on two": dict(weighted=False, devices=2), "with trials": dict(shape={"batch": 2, "neuron": 2}),
    "by in-degree": dict(rule=ds.fixed_indegree(7), devices=2),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
# Seventeen trials are more than are summed side by side, in either precision.
@pytest.mark.parametrize("batch", [(), (4,), (17,)], ids=["one", "batch", "two passes"])
def test_values_and_derivatives_are_those_of_the_matrix(case, batch):
    made = table(**CASES[case])
    spikes, weights = numbers(made, batch)
    matrix = jnp.asarray(dense(made, weights), jnp.float32)
    wanted = jnp.linspace(-1.0, 1.0, POST)

    def loss(spikes, weights):
        return ((jnp.tanh(made.to_targets(spikes, weights)) - wanted) ** 2).sum()

    def by_matrix(spikes, matrix):
        return ((jnp.tanh(spikes @ matrix) - wanted) ** 2).sum()

    assert np.allclose(ds.transform.jit(made.to_targets)(spikes, weights), spikes @ matrix, atol=2e-5)
    found = ds.transform.jit(jax.grad(loss))(spikes, weights)
    assert np.allclose(found, jax.grad(by_matrix)(spikes, matrix), atol=2e-3)
    if weights.ndim:
        slope = jax.grad(by_matrix, argnums=1)(spikes, matrix)
        found = ds.transform.jit(jax.grad(loss, argnums=1))(spikes, weights)
        # Of synapses that share a pair, each has the slope of the pair.
        assert np.allclose(dense(made, found), slope * dense(made, 1.0), atol=2e-3)


def test_second_derivatives_forward_mode_and_vmap():
    made = table()
    spikes, weights = numbers(made, (3,))

    def energy(spikes, weights):
        return (made.to_targets(spikes, weights) ** 3).sum()

    direction = jnp.cos(jnp.arange(weights.size, dtype=jnp.float32)).reshape(weights.shape)
    gradient = jax.grad(energy, argnums=1)
    curvature = jax.jvp(lambda w: gradient(spikes, w), (weights,), (direction,))[1]
    matrix, along = (jnp.asarray(dense(made, w), jnp.float32) for w in (weights, direction))
    wanted = jax.jvp(jax.grad(lambda m: ((spikes @ m) ** 3).sum()), (matrix,), (along,))[1]
    assert np.allclose(dense(made, curvature), wanted * dense(made, 1.0), rtol=1e-3, atol=1e-2)

    each = jnp.stack([made.to_targets(s, weights) for s in spikes])
    assert np.array_equal(jax.vmap(made.to_targets, (0, None))(spikes, weights), each)
    several = jnp.stack([weights, 2.0 * weights])
    assert np.allclose(jax.vmap(made.to_targets, (None, 0))(spikes, several)[1], 2.0 * each, rtol=1e-6)
    per_trial = jax.vmap(jax.grad(energy, argnums=1), (0, None))(spikes, weights)
    assert np.allclose(per_trial.sum(0), gradient(spikes, weights), rtol=1e-4, atol=1e-4)


def test_any_number_of_devices_gives_the_same_bits():
    class Net(ds.Module):
        def __init__(self, devices):
            super().__init__()
            with ds.use_mesh(devices=devices):
                self.made = table(devices)
                width = self.made.table.width
                values = np.random.default_rng(1).normal(size=(POST, width)).astype(np.float32)
                self.weights = ds.ParamState(values, axes=("neuron", None))
                self.x = ds.HiddenState(np.linspace(0, 1, POST, dtype=np.float32))

        def update(self):
            spikes = (self.x.value[:PRE] > 0.1).astype(jnp.float32) * self.x.value[PRE : 2 * PRE]
            self.x.value = jnp.tanh(self.made.to_targets(spikes, self.weights.value)) + 0.9 * self.x.value
            return self.x.value

        def loss(self):
            return (ds.transform.for_loop(self.update, length=6) ** 2).mean()

    def outcome(devices):
        net = Net(devices)
        step = ds.transform.jit(lambda: ds.transform.grad(net.loss, net.states(ds.ParamState), return_value=True)())
        gradient, loss = step()
        return np.asarray(loss), np.asarray(net.x.value), np.asarray(next(iter(gradient.values()))), step

    loss, x, gradient, _ = outcome(1)
    assert np.abs(gradient).max() > 0
    for devices in (2, 3):
        other, y, slope, step = outcome(devices)
        assert np.array_equal(loss, other) and np.array_equal(x, y)
        assert np.allclose(gradient, slope, rtol=1e-6, atol=1e-9)
    assert f"f32[{PRE},{POST}]" not in step.lower().as_text()


def test_a_gradient_does_not_sum_over_the_synapses_once_more():
    made, w, x = table(), ds.ParamState(1.0), ds.State(jnp.ones(PRE))
    weights = numbers(made)[1]

    def step():
        # Of tanh the gradient needs what it is of.
        x.value = jnp.sin(jnp.tanh(made.to_targets(x.value, w.value * weights)))[:PRE]
        return x.value.sum()

    program, _ = ds.transform.make_jaxpr(ds.transform.grad(lambda: ds.transform.for_loop(step, length=3).sum(), w))()
    assert str(program).count("sparse_to_targets[") == 1


@pytest.mark.parametrize("case", ["one device", "reference", "ones on two"])
def test_booleans_are_ones_and_what_was_there_stays(case):
    made = table(**CASES[case])
    weights = numbers(made)[1]
    spikes = jnp.asarray(np.random.default_rng(2).random((3, PRE)) < 0.3)
    onto = jnp.asarray(np.random.default_rng(3).normal(size=(3, POST)), jnp.float32)

    def total(onto, spikes, weights):
        return (jnp.tanh(made.onto_targets(onto, spikes, weights)) ** 2).sum()

    out = ds.transform.jit(made.onto_targets)(onto, spikes, weights)
    assert np.array_equal(out, ds.transform.jit(made.onto_targets)(onto, spikes.astype(jnp.float32), weights))
    assert np.allclose(out, onto + spikes @ dense(made, weights), atol=2e-5)
    for n in (0, 2):
        found = jax.grad(total, argnums=n)(onto, spikes, weights)
        assert np.allclose(found, jax.grad(total, argnums=n)(onto, spikes.astype(jnp.float32), weights), atol=1e-5)
    by_onto = jax.grad(lambda x: (jnp.tanh(x) ** 2).sum())(out)
    assert np.allclose(jax.grad(total)(onto, spikes, weights), by_onto, atol=1e-5)
    assert np.allclose(jax.vmap(made.onto_targets, (0, 0, None))(onto, spikes, weights), out, atol=1e-6)
