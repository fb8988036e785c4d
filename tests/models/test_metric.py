"""Metrics against hand-made trains, and against braintools."""

import brainunit as u
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dist_sim as ds
from dist_sim import metric
from dist_sim.core import environ
from dist_sim.errors import ParameterError, UnitError

rng = np.random.default_rng(0)
SPIKES = rng.random((203, 7)) < np.linspace(0.0, 0.3, 7)
A, B = rng.normal(size=(2, 6, 5)).astype(np.float32)


@pytest.fixture(autouse=True)
def clock():
    with environ.context(dt=0.1 * u.ms):
        yield


def reference(name):
    return getattr(pytest.importorskip("braintools").metric, name)


def test_a_raster_names_every_spike():
    neuron, time = metric.raster_plot([[0, 1], [0, 0], [1, 1]], np.arange(3.0) * u.ms)
    assert neuron.tolist() == [1, 0, 1] and time.to_decimal(u.ms).tolist() == [0, 2, 2]


def test_the_rate_of_a_constant_train():
    rate = metric.firing_rate(np.ones((100, 3)), 1.1 * u.ms)
    assert np.allclose(rate[10:-10], 1e4, rtol=1e-5) and rate[0] < 6000
    assert np.allclose(
        metric.firing_rate(SPIKES, 2 * u.ms), reference("firing_rate")(SPIKES * 1.0, 2 * u.ms, 0.1 * u.ms), rtol=1e-5
    )
    assert np.allclose(metric.firing_rate(SPIKES, 2.0, 0.1), reference("firing_rate")(SPIKES * 1.0, 2.0, 0.1), rtol=1e-5)


@pytest.mark.parametrize(
    ("width", "steps"),
    [(0.6, 7), (0.7, 7), (0.8, 9), (0.1, 1), (0.0, 1), (2.0, 21), (np.float32(0.6), 7), (3.6, 37), (50.0, 501)],
)
def test_a_window_of_a_rate_has_its_steps_and_the_result_is_as_long_as_the_train(width, steps):
    spikes = np.zeros((41, 2))
    spikes[20] = 1
    found = metric.firing_rate(spikes, width * u.ms, 0.1 * u.ms)
    assert found.shape == (41,)
    seen = np.flatnonzero(found)
    around = min((steps - 1) // 2, 20)
    assert seen.tolist() == list(range(20 - around, 21 + around)) and np.allclose(found[seen], 1e4 / steps)


@pytest.mark.parametrize("width", [-1.0, np.nan, np.inf])
def test_a_window_of_no_size_is_refused(width):
    with pytest.raises(ParameterError, match="at least 0, and finite"):
        metric.firing_rate(SPIKES, width * u.ms)


def test_intervals_vary_as_the_train_does():
    trains = np.stack([np.arange(20_000) % 50 == 0, rng.random(20_000) < 0.02, np.arange(20_000) == 5], axis=1)
    regular, poisson, silent = metric.isi_cv(trains)
    assert regular == 0 and abs(poisson - 1) < 0.15 and np.isnan(silent)


@pytest.mark.parametrize(
    ("name", "args"),
    [
        ("cross_correlation", (SPIKES * 1.0, 0.5, 0.1)),
        ("voltage_fluctuation", (rng.normal(size=(50, 7)) + rng.normal(size=(50, 1)),)),
        ("functional_connectivity", (rng.normal(size=(50, 7)),)),
        ("matrix_correlation", (A[:5], B[:5])),
        ("squared_error", (A, B)),
        ("absolute_error", (A, B)),
        ("l2_loss", (A, B, 1, "mean")),
        ("huber_loss", (A, B, 0.5)),
        ("log_cosh", (A, B, None, "sum")),
        ("cosine_similarity", (A, B)),
        ("softmax_cross_entropy", (A, np.eye(5, dtype=np.float32)[[0, 2, 1, 4, 3, 3]])),
        ("softmax_cross_entropy_with_integer_labels", (A, jnp.array([0, 2, 1, 4, 3, 3]))),
        ("sigmoid_binary_cross_entropy", (A, (B > 0).astype(np.float32))),
        ("kl_divergence", (jax.nn.log_softmax(A), jax.nn.softmax(B))),
    ],
    ids=lambda x: x if isinstance(x, str) else "",
)
def test_it_is_that_of_braintools(name, args):
    assert np.allclose(getattr(metric, name)(*args), reference(name)(*args), rtol=1e-4, atol=1e-6)


def test_synchrony_is_between_none_and_all():
    together = np.tile(SPIKES[:, -1:], 4)
    assert np.isclose(metric.cross_correlation(together, 0.5 * u.ms), 1) and np.isclose(
        metric.voltage_fluctuation(together * u.mV), 1
    )
    apart = np.eye(4)[np.arange(200) % 4]
    assert metric.cross_correlation(apart, 0.1 * u.ms) == 0 and np.isclose(metric.cross_correlation(apart, 0.4 * u.ms), 1)
    assert np.isclose(metric.voltage_fluctuation(apart), 0, atol=1e-6) and metric.voltage_fluctuation(np.ones((3, 2))) == 1
    assert metric.cross_correlation(np.zeros((5, 1)), 0.1 * u.ms) == metric.cross_correlation(np.zeros((5, 3)), 0.1 * u.ms) == 0


@pytest.mark.parametrize("spike_type", ["exc", "inh"])
@pytest.mark.parametrize("location", ["soma layer", "deep layer", "superficial layer", "surface layer"])
def test_a_field_potential_is_that_of_braintools(spike_type, location):
    times = np.arange(203) * 0.5
    wanted = reference("unitary_LFP")(times, SPIKES, spike_type, location=location, seed=5)
    found = metric.unitary_LFP(times * u.ms, SPIKES, spike_type, location=location, seed=5)
    assert np.allclose(found, wanted, rtol=1e-4, atol=1e-5) and np.abs(found).max() > 0.01
    with_units = metric.unitary_LFP(
        times * 1e-3 * u.second, SPIKES, spike_type, 200 * u.um, 0.2 * u.mm, 20 * u.cm / u.second, 200 * u.um, 2.1 * u.ms,
        3.15 * u.ms, location, 5,
    )  # fmt: skip
    assert np.allclose(with_units, wanted, rtol=1e-3, atol=1e-4)


def test_losses_have_the_units_of_what_they_compare():
    a, b = A * u.mV, B * u.volt
    assert u.get_unit(metric.squared_error(a, b, reduction="mean")).has_same_dim(u.mV**2)
    assert np.allclose(metric.absolute_error(a, b).to_decimal(u.mV), np.abs(A - 1e3 * B).mean(), rtol=1e-5)
    assert np.allclose(metric.huber_loss(a, a * 3, 1 * u.mV).to_decimal(u.mV**2), metric.huber_loss(A, 3 * A), rtol=1e-5)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: metric.squared_error(A * u.mV, B), UnitError, "targets in"),
        (lambda: metric.squared_error(A, B[:3]), ParameterError, "differ in shape"),
        (lambda: metric.squared_error(np.ones(3, int)), ParameterError, "needs floats"),
        (lambda: metric.squared_error(A, B, reduction="max"), ParameterError, "allowed are 'none', 'mean' and 'sum'"),
        (lambda: metric.huber_loss(A * u.mV, B * u.mV), UnitError, "Give delta in that unit"),
        (lambda: metric.log_cosh(A * u.mV), UnitError, "Divide by a scale"),
        (lambda: metric.softmax_cross_entropy_with_integer_labels(A, np.ones(6)), ParameterError, "needs integers"),
        (lambda: metric.firing_rate(SPIKES[0], 1 * u.ms), ParameterError, "two axes"),
        (lambda: metric.firing_rate(SPIKES, 1.0), ParameterError, "both as times"),
        (lambda: metric.cross_correlation(SPIKES, 0.01 * u.ms), ParameterError, "at least the step"),
        (lambda: metric.cross_correlation(SPIKES, 1 * u.ms, method="scan"), ParameterError, "'loop' and 'vmap'"),
        (lambda: metric.unitary_LFP(np.arange(203.0), SPIKES, "both"), ParameterError, "allowed are 'exc', 'inh'"),
        (lambda: metric.unitary_LFP(np.arange(20.0), SPIKES, "exc"), ParameterError, r"needs \(time,\)"),
    ],
)
def test_what_does_not_fit_is_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_the_namespace():
    assert ds.metric is metric
