"""Models far from rest, where exponentials leave float32: values and gradients stay numbers, and are right where they can be."""

import brainunit as u
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dist_sim as ds
from dist_sim.core import environ, init_all_states, transform
from dist_sim.nest.neurons import hodgkin_huxley

POTENTIALS = np.float32([-1e5, -5e3, -1700, -1100, -1000, -600, -300, -120, 0, 200, 1e3, 1e5])
# Where a rate of the form x / (1 - exp(-x)) is 0 / 0, and close to that.
SINGULAR = {ds.HH: (-40, -55), ds.WangBuzsakiHH: (-35, -34), ds.MorrisLecar: (-1.2, 2.0)}


@pytest.fixture(autouse=True)
def clock():
    with environ.context(dt=0.1 * u.ms):
        yield


def after(model, V, steps=3):
    cell = init_all_states(model(np.shape(V), V_initializer=lambda shape: V * u.mV))
    transform.for_loop(lambda: cell(1.0 * u.uA), length=steps)
    gates = [getattr(cell, name).value for name in ("m", "h", "n", "W") if hasattr(cell, name)]
    return cell.V.value.to_decimal(u.mV), gates


@pytest.mark.parametrize("model", SINGULAR, ids=lambda model: model.__name__)
def test_a_step_and_its_gradient_are_finite_everywhere(model):
    singular = np.array(SINGULAR[model], np.float32)
    V = jnp.asarray(np.concatenate([POTENTIALS, singular, np.nextafter(singular, np.float32(0))]))

    def total(V):
        moved, gates = after(model, V)
        return moved.sum() + sum(gate.sum() for gate in gates)

    value, slope = jax.value_and_grad(total)(V)
    moved, gates = after(model, V)
    assert np.isfinite(value) and np.isfinite(slope).all() and np.isfinite(moved).all()
    assert all(((gate > -1e-6) & (gate < 1 + 1e-6)).all() for gate in map(np.asarray, gates))


@pytest.mark.parametrize("model", SINGULAR, ids=lambda model: model.__name__)
def test_gradients_at_singular_points_are_those_beside_them(model):
    def slope(V):
        return jax.grad(lambda V: after(model, V, 1)[0].sum() + sum(gate.sum() for gate in after(model, V, 1)[1]))(V)

    at, near = (slope(jnp.asarray(np.array(SINGULAR[model], np.float32) + off)) for off in (0.0, 0.01))
    assert np.allclose(at, near, rtol=2e-2) and np.all(np.asarray(at) != 0)


@pytest.mark.parametrize("rates", [hodgkin_huxley.squid, hodgkin_huxley.hippocampal], ids=["squid", "hippocampal"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_rates_of_gates_are_finite_everywhere(rates, dtype):
    with jax.enable_x64(dtype == np.float64):
        V = jnp.asarray(np.concatenate([np.linspace(-1e4, 300, 3001), [-55, -40, 15, 13, 40]]), dtype)
        for n in range(6):
            value, slope = jax.vmap(jax.value_and_grad(lambda V, n=n: jnp.asarray(rates(V)[n])))(V)
            assert value.dtype == dtype and np.isfinite(value).all() and np.isfinite(slope).all() and (value >= 0).all()


def test_a_block_by_magnesium_has_a_gradient_at_any_potential():
    block = ds.MgBlock()
    through = lambda V: (block.update(1.0 * u.mS, V * u.mV) / u.uA).sum()  # noqa: E731
    slope = jax.grad(lambda V: jnp.asarray(u.maybe_decimal(through(V))))(jnp.asarray(POTENTIALS))
    assert np.isfinite(slope).all() and slope[-3] != 0
