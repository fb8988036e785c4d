"""The parts that models are made of: exponential Euler, surrogate gradients, initialisers."""

import math

import brainunit as u
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dist_sim.core import State, environ, transform
from dist_sim.errors import ParameterError, UnitError
from dist_sim.models import init, surrogate
from dist_sim.models.exp_euler import exp_euler_step

# Exponential Euler


@pytest.fixture(autouse=True)
def clock():
    with environ.context(dt=0.5 * u.ms, precision=64):
        yield


def test_a_linear_equation_is_solved_exactly():
    x = jnp.array([1.0, -2.0, 3.0]) * u.mV
    rate = jnp.array([0.5, 2.0, 0.0]) / u.ms
    drive = 3.0 * u.volt / u.second
    moved = exp_euler_step(lambda x, drive: drive - rate * x, x, drive)
    rate, start = np.array([0.5, 2.0]), np.array([1.0, -2.0])
    exact = [*(3 / rate + (start - 3 / rate) * np.exp(-rate * 0.5)), 3.0 + 3.0 * 0.5]
    assert np.allclose(moved.to_decimal(u.mV), exact, rtol=1e-14, atol=0)


def test_a_fixed_point_is_kept_to_the_bit():
    x = jnp.array([-65.0, 0.3]) * u.mV
    assert np.array_equal(exp_euler_step(lambda x: (jnp.array([-65.0, 0.3]) * u.mV - x) / (7.0 * u.ms), x).mantissa, x.mantissa)


def test_elements_are_linearised_by_themselves_and_the_error_is_of_second_order():
    # x' = -x^2, x = x0 / (1 + x0 t), as one step after the other on shorter and shorter steps.
    x0, errors = np.array([0.5, 1.0, 2.0]), []
    for steps in (10, 20, 40):
        with environ.context(dt=1.0 / steps * u.ms):
            x = State(x0)
            transform.for_loop(lambda x=x: setattr(x, "value", exp_euler_step(lambda x: -(x**2) / u.ms, x.value)), length=steps)
        errors.append(np.abs(x.value - x0 / (1 + x0)))
    assert np.allclose(errors[0] / errors[1], 4.0, rtol=0.2) and np.allclose(errors[1] / errors[2], 4.0, rtol=0.1)


def test_it_is_differentiable_also_where_nothing_decays():
    def moved(rate):
        return exp_euler_step(lambda x: (1.0 - rate * x) / u.ms, jnp.array(2.0))

    # x + dt (1 - rate x), up to first order in rate.
    assert math.isclose(moved(0.0), 2.5) and math.isfinite(jax.grad(moved)(0.0))
    assert math.isclose(jax.grad(moved)(1e-3), (moved(1e-3 + 1e-6) - moved(1e-3 - 1e-6)) / 2e-6, rel_tol=1e-6)


def test_a_derivative_in_another_unit_is_refused():
    with pytest.raises(UnitError, match="derivative of a quantity in mV must be in mV / ms; got mV"):
        exp_euler_step(lambda x: -x, jnp.ones(2) * u.mV)


# Surrogate gradients

X = np.array([-7.0, -1.0, -0.5, -1e-9, 0.0, 0.25, 1.0, 3.0])
SURROGATES = {
    "ReluGrad()": (surrogate.ReluGrad(), np.maximum(0.3 * (1.0 - np.abs(X)), 0)),
    "ReluGrad(2, 4)": (surrogate.ReluGrad(alpha=2.0, width=4.0), np.maximum(2.0 * (4.0 - np.abs(X)), 0)),
}
every_surrogate = pytest.mark.parametrize(("spike", "derivative"), SURROGATES.values(), ids=SURROGATES)


@every_surrogate
def test_a_surrogate_is_a_step_with_a_derivative(spike, derivative):
    assert np.array_equal(spike(jnp.array(X)), X >= 0)
    assert spike(jnp.ones(2, jnp.float32)).dtype == jnp.float32
    each = jax.vmap(jax.grad(spike))(X)
    for found in (
        each,
        jax.jit(jax.grad(lambda x: spike(x).sum()))(X),
        jax.jvp(spike, (jnp.array(X),), (jnp.ones(len(X)),))[1],
        jax.grad(lambda x: jax.lax.scan(lambda c, x: (c + spike(x), None), 0.0, x)[0])(jnp.array(X)),
    ):
        assert np.allclose(found, derivative, rtol=1e-14, atol=0)
    # Linear in what comes after it.
    assert np.allclose(jax.grad(lambda x: (3.0 * spike(x)).sum())(X), 3.0 * derivative, rtol=1e-14, atol=0)


@every_surrogate
def test_a_surrogate_is_a_value(spike, derivative):
    assert spike == type(spike)(**vars(spike)) and hash(spike) == hash(type(spike)(**vars(spike)))
    assert eval(repr(spike), vars(surrogate)) == spike
    with pytest.raises(AttributeError):
        spike.width = 3.0


@pytest.mark.parametrize("given", [{"alpha": 0.0}, {"width": -1.0}, {"width": math.nan}], ids=str)
def test_a_surrogate_without_a_slope_is_refused(given):
    with pytest.raises(ParameterError, match="must be above 0"):
        surrogate.ReluGrad(**given)


@every_surrogate
def test_a_surrogate_is_the_one_of_braintools(spike, derivative):
    reference = getattr(pytest.importorskip("braintools").surrogate, type(spike).__name__)(**vars(spike))
    assert np.array_equal(reference(jnp.array(X)), spike(jnp.array(X)))
    assert np.allclose(jax.vmap(jax.grad(reference))(X), derivative, rtol=1e-6, atol=1e-7)


# Initialisers


@pytest.mark.parametrize("size", [3, (3,), (2, 3), ()], ids=str)
@pytest.mark.parametrize("value", [-65.0 * u.mV, 0.5, -60 * u.mV], ids=str)
def test_a_constant_fills_the_shape(value, size):
    filled = init.Constant(value)(size)
    assert u.math.shape(filled) == ((size,) if isinstance(size, int) else size)
    assert u.get_unit(filled) == u.get_unit(value) == init.Constant(value).unit
    assert np.all(u.get_mantissa(filled) == u.get_mantissa(value))


def test_a_constant_may_differ_along_the_last_axes():
    assert init.Constant(np.arange(3.0) * u.mV)((2, 3)).to_decimal(u.mV).tolist() == [[0, 1, 2], [0, 1, 2]]
