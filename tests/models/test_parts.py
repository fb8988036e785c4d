"""The parts that models are made of: exponential Euler, surrogate gradients, initialisers."""

import inspect
import math

import brainunit as u
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dist_sim as ds
from dist_sim.core import State, environ, transform
from dist_sim.errors import ParameterError, UnitError
from dist_sim.models import init, surrogate
from dist_sim.models.exp_euler import exp_euler_step, exprel

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


@pytest.mark.parametrize("precision", [32, 64])
def test_exprel_is_right_to_the_last_bits_near_and_far_from_0(precision):
    with environ.context(precision=precision):
        z = jnp.concatenate([jnp.linspace(-90.0, 50.0, 4001), jnp.linspace(-0.6, 0.6, 4001), jnp.logspace(-12, -1, 200)])
        exact = np.asarray(z, np.longdouble)
        exact = np.expm1(exact) / np.where(exact == 0, 1, exact) + (exact == 0)
        found = np.asarray(jax.jit(exprel)(z), np.longdouble)
        assert np.abs(found / exact - 1).max() < 3 * jnp.finfo(z.dtype).eps


def test_a_derivative_in_another_unit_is_refused():
    with pytest.raises(UnitError, match="derivative of a quantity in mV must be in mV / ms; got mV"):
        exp_euler_step(lambda x: -x, jnp.ones(2) * u.mV)


# Surrogate gradients

X = np.array([-7.0, -1.0, -0.5, -1e-9, 0.0, 0.25, 1.0, 3.0])
KINDS = [k for k in vars(surrogate).values() if isinstance(k, type) and issubclass(k, surrogate.Surrogate)]
SURROGATES = {repr(spike): spike for spike in [
    *(kind() for kind in KINDS if kind is not surrogate.Surrogate), surrogate.ReluGrad(alpha=2.0, width=4.0), surrogate.ERF(3.0),
    surrogate.LogTailedRelu(0.3), surrogate.SquarewaveFourierSeries(5, 3.0),
]}  # fmt: skip
every_surrogate = pytest.mark.parametrize("spike", SURROGATES.values(), ids=SURROGATES)


@every_surrogate
def test_a_surrogate_is_a_step_with_a_derivative(spike):
    derivative = spike.surrogate_grad(jnp.array(X))
    assert derivative.shape == X.shape and derivative[4:6].max() > 0
    assert np.array_equal(spike(jnp.array(X)), X >= 0)
    low = jnp.ones(2, jnp.float32)
    assert spike(low).dtype == spike.surrogate_grad(low).dtype == jnp.float32
    each = jax.vmap(jax.grad(spike))(X)
    for found in (
        each,
        jax.jit(jax.grad(lambda x: spike(x).sum()))(X),
        jax.jvp(spike, (jnp.array(X),), (jnp.ones(len(X)),))[1],
        jax.grad(lambda x: jax.lax.scan(lambda c, x: (c + spike(x), None), 0.0, x)[0])(jnp.array(X)),
    ):
        assert np.allclose(found, derivative, rtol=1e-13, atol=1e-15)
    # Linear in what comes after it.
    assert np.allclose(jax.grad(lambda x: (3.0 * spike(x)).sum())(X), 3.0 * derivative, rtol=1e-13, atol=1e-15)
    far = np.array([-1e4, -30.0, *X, 30.0, 1e4])
    second, third = jax.vmap(jax.grad(jax.grad(spike)))(far), jax.vmap(jax.grad(jax.grad(jax.grad(spike))))(far)
    assert np.isfinite(second).all() and np.isfinite(third).all()
    step = 1e-6
    slope = (spike.surrogate_grad(X[[0, 2, 5, 7]] + step) - spike.surrogate_grad(X[[0, 2, 5, 7]] - step)) / (2 * step)
    assert np.allclose(jax.vmap(jax.grad(jax.grad(spike)))(X[[0, 2, 5, 7]]), slope, rtol=1e-5, atol=1e-7)


# The integral over all x: how much a neuron's spike count reacts to a shift of its threshold, on average.
INTEGRALS = {
    surrogate.Sigmoid(2.0): 1, surrogate.PiecewiseQuadratic(3.0): 1, surrogate.PiecewiseExp(2.0): 1, surrogate.SoftSign(50.0): 1,
    surrogate.Arctan(50.0): 1, surrogate.ERF(2.0): 1, surrogate.GaussianGrad(0.3, 0.7): 0.7, surrogate.SlayerGrad(4.0): 0.5,
    surrogate.MultiGaussianGrad(): 0.5 * 0.85, surrogate.InvSquareGrad(80.0): 0.025, surrogate.QPseudoSpike(9.0): 1.25,
    surrogate.ReluGrad(2.0, 3.0): 18.0,
}  # fmt: skip


@pytest.mark.parametrize("spike", INTEGRALS, ids=repr)
def test_the_integral_is_as_stated(spike):
    x = np.sinh(np.linspace(-12.0, 12.0, 200_001))
    assert np.isclose(np.trapezoid(spike.surrogate_grad(jnp.array(x)), x), INTEGRALS[spike], rtol=2e-3)


@every_surrogate
def test_a_surrogate_is_a_value(spike):
    assert spike == type(spike)(**vars(spike)) and hash(spike) == hash(type(spike)(**vars(spike)))
    assert eval(repr(spike), vars(surrogate)) == spike
    with pytest.raises(AttributeError):
        setattr(spike, next(iter(vars(spike))), 3.0)


@pytest.mark.parametrize("given", [{"alpha": 0.0}, {"width": -1.0}, {"width": math.nan}], ids=str)
def test_a_surrogate_without_a_slope_is_refused(given):
    with pytest.raises(ParameterError, match="must be above 0"):
        surrogate.ReluGrad(**given)


@every_surrogate
def test_a_surrogate_is_the_one_of_braintools(spike):
    reference = pytest.importorskip("braintools").surrogate
    kind = getattr(reference, type(spike).__name__)
    defaults = {name: p.default for name, p in inspect.signature(kind.__init__).parameters.items() if name != "self"}
    assert list(inspect.signature(type(spike)).parameters) == list(defaults)
    assert vars(type(spike)()) == defaults
    x = jnp.array(X)
    assert np.array_equal(kind(**vars(spike))(x), spike(x))
    assert np.allclose(kind(**vars(spike)).surrogate_grad(x), spike.surrogate_grad(x), rtol=1e-6, atol=1e-7)


def test_functions_take_what_their_classes_take():
    functions = {name for name, f in vars(surrogate).items() if inspect.isfunction(f)}
    names = {name.replace("_", "") for name in functions}
    assert names == {kind.__name__.lower() for kind in KINDS if kind is not surrogate.Surrogate} and len(names) == 18
    derivative = jax.vmap(jax.grad(lambda x: surrogate.relu_grad(x, alpha=2.0, width=4.0)))(X)
    assert np.allclose(derivative, surrogate.ReluGrad(2.0, 4.0).surrogate_grad(X))
    assert list(inspect.signature(surrogate.relu_grad).parameters) == ["x", "alpha", "width"]


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


DRAWN = {
    "zero": (init.ZeroInit(u.mV), 0.0, 0.0),
    "log normal": (init.LogNormal(2.0, 0.7, unit=u.mV), 2.0, 0.7),
    "gamma": (init.Gamma(3.0, 2.0 * u.mV), 6.0, 2 * 3**0.5),
    "exponential": (init.Exponential(3.0 * u.mV), 3.0, 3.0),
    "truncated": (init.TruncatedNormal(1.0, 2.0, low=1.0, unit=u.mV), 1 + 2 * (2 / np.pi) ** 0.5, 2 * (1 - 2 / np.pi) ** 0.5),
    "kaiming uniform": (init.KaimingUniform(unit=u.mV), 0.0, (2 / 200) ** 0.5),
    "kaiming normal": (init.KaimingNormal(nonlinearity="leaky_relu", negative_slope=1.0, unit=u.mV), 0.0, (1 / 200) ** 0.5),
    "xavier uniform": (init.XavierUniform(unit=u.mV), 0.0, (1 / 150) ** 0.5),
    "xavier normal": (init.XavierNormal(3.0, unit=u.mV), 0.0, (3 / 150) ** 0.5),
    "lecun uniform": (init.LecunUniform(unit=u.mV), 0.0, (1 / 200) ** 0.5),
    "lecun normal": (init.LecunNormal(unit=u.mV), 0.0, (1 / 200) ** 0.5),
    "fan out": (init.VarianceScaling(2.0, "fan_out", "truncated_normal", unit=u.mV), 0.0, (2 / 100) ** 0.5),
}  # fmt: skip


@pytest.mark.parametrize(("drawn", "mean", "std"), DRAWN.values(), ids=DRAWN)
def test_an_initialiser_has_the_mean_and_spread_it_says(drawn, mean, std):
    ds.random.seed(7)
    values = drawn((200, 100))
    assert values.shape == (200, 100) and u.get_unit(values) == u.get_unit(1.0 * drawn.unit) == u.mV and drawn(3).shape == (3,)
    x = np.asarray(values.to_decimal(u.mV))
    assert abs(x.mean() - mean) <= 5 * std / x.size**0.5 and abs(x.std() - std) <= 0.03 * std
    ds.random.seed(7)
    with ds.use_mesh(devices=8):
        assert np.array_equal(drawn((200, 100)).to_decimal(u.mV), x)


@pytest.mark.parametrize("shape", [(7, 4), (4, 7), (5, 5), (2, 3, 4)], ids=str)
def test_orthogonal_rows_or_columns(shape):
    x = init.Orthogonal(3.0)(shape).reshape(-1, shape[-1])
    short = x.T @ x if x.shape[0] >= x.shape[1] else x @ x.T
    assert np.allclose(short, 9 * np.eye(len(short)), atol=1e-12)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: init.VarianceScaling(mode="in"), ParameterError, "allowed are 'fan_in', 'fan_out', 'fan_avg'"),
        (lambda: init.KaimingNormal(nonlinearity="tanh"), ParameterError, "KaimingNormal.*allowed are 'relu'"),
        (lambda: init.XavierNormal(-1.0), ParameterError, "above 0"),
        (lambda: init.LogNormal(-1.0 * u.mV, 1.0 * u.mV), ParameterError, "must be above 0"),
        (lambda: init.TruncatedNormal(1.0, 2.0, 3.0, 3.0), ParameterError, "low must be below high"),
        (lambda: init.Gamma(1.0, 2.0 * u.mV, unit=u.mV), UnitError, "quantities of one unit, or numbers"),
        (lambda: init.Orthogonal()(3), ParameterError, "rows and columns"),
    ],
)  # fmt: skip
def test_an_initialiser_that_cannot_be_is_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()
