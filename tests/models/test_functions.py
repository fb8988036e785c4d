"""Small functions of `ds.nn`, encoders and mixins, held against the library that has the same."""

import brainunit as u
import jax.numpy as jnp
import numpy as np
import pytest

import dist_sim as ds
from dist_sim.errors import ParameterError, UnitError


def test_one_hot():
    assert ds.nn.one_hot(jnp.asarray([0, 2, 5]), 3).tolist() == [[1, 0, 0], [0, 0, 1], [0, 0, 0]]
    assert ds.nn.one_hot(jnp.asarray([1]), 2, axis=0, dtype=int).tolist() == [[0], [1]]


@pytest.mark.parametrize("order", [2.0, 1, "inf", None])
def test_gradients_are_shrunk_together(order):
    there = pytest.importorskip("brainstate").nn
    grads = {"w": jnp.asarray([3.0, 4.0]), "b": jnp.asarray([[12.0]])}
    for bound in (5.0, 100.0):
        (mine, norm), (theirs, wanted) = (lib.clip_grad_norm(grads, bound, order, return_norm=True) for lib in (ds.nn, there))
        np.testing.assert_allclose(norm, wanted, rtol=1e-6)
        for key in grads:
            np.testing.assert_allclose(mine[key], theirs[key], rtol=1e-5)
    in_units = ds.nn.clip_grad_norm({"w": grads["w"] * u.mV}, 1.0 * u.mV)
    np.testing.assert_allclose(in_units["w"].to_decimal(u.mV), [0.6, 0.8], rtol=1e-5)
    with pytest.raises(UnitError, match="of different units there is no norm"):
        ds.nn.clip_grad_norm({"w": grads["w"] * u.mV, "b": grads["b"]}, 1.0)
    with pytest.raises(ParameterError, match="norm_type"):
        ds.nn.clip_grad_norm(grads, 1.0, "nuc")


def test_parameters_are_counted(capsys):
    net = ds.nn.Sequential(ds.nn.Linear(30, 50), ds.nn.Linear(50, 2, b_init=None))
    assert ds.nn.count_parameters(net) == 30 * 50 + 50 + 100
    assert "1.65K" in capsys.readouterr().out
    assert ds.nn.count_parameters(net, precision=1, return_table=True) == (capsys.readouterr().out.rstrip("\n"), 1650)


def test_a_module_in_an_environment_of_its_own():
    with ds.environ.context(dt=1.0 * u.ms):
        layer = ds.nn.EnvironContext(lambda x: x * ds.environ.get_dt(), dt=0.5 * u.ms)
        assert layer(2.0) == 1.0 * u.ms
        layer.add_context(dt=0.25 * u.ms)
        assert layer(2.0) == 0.5 * u.ms and ds.environ.get_dt() == 1.0 * u.ms


@pytest.mark.parametrize("options", [
    {}, {"method": "linear"}, {"clip": True, "threshold": 0.2}, {"min_val": 0.0, "max_val": 2.0},
    {"normalize": True}, {"first_spk_time": 3.0 * u.ms},
], ids=str)  # fmt: skip
def test_latencies_are_those_of_braintools(options):
    there, environ = pytest.importorskip("braintools"), pytest.importorskip("brainstate").environ
    x = jnp.asarray(np.random.default_rng(0).random((4, 6)), jnp.float32)
    with ds.environ.context(dt=1.0 * u.ms), environ.context(dt=1.0 * u.ms):
        mine = ds.LatencyEncoder(tau=20.0 * u.ms, **options)(x, 25.0 * u.ms if "normalize" in options else None)
        theirs = there.LatencyEncoder(tau=20.0 * u.ms, **options)(x, 25.0 * u.ms if "normalize" in options else None)
    steps = min(len(mine), len(theirs))
    np.testing.assert_array_equal(mine[:steps], theirs[:steps])
    assert mine.sum() > 0
    with pytest.raises(ParameterError, match="method"):
        ds.LatencyEncoder(method="square")


def test_modes_are_asked_for():
    mode = ds.mixin.JointMode(ds.mixin.Batching(32, 1), ds.mixin.Training())
    assert mode.has(ds.mixin.Batching) and mode.has(ds.mixin.Training) and not mode.is_a(ds.mixin.Training)
    assert (mode.batch_size, mode.batch_axis) == (32, 1)
    assert ds.mixin.Batching().is_a(ds.mixin.Batching) and not ds.mixin.Training().has(ds.mixin.Batching)
    with pytest.raises(TypeError):
        ds.mixin.JointMode(3)


def test_types_that_are_joined():
    both = ds.mixin.JointTypes[ds.Neuron, ds.mixin.ParamDesc]
    assert isinstance(ds.LIF(1), both) and not isinstance(ds.nn.Linear(1, 1), both)
    assert isinstance(3, ds.mixin.OneOfTypes[int, str]) and not isinstance(3.0, ds.mixin.OneOfTypes[int, str])
    assert issubclass(ds.LIF, both)


def test_descriptions_take_more_arguments():
    described = ds.mixin.ParamDescriber(ds.Expon, tau=3.0 * u.ms)
    made = described(4, tau=2.0 * u.ms)
    assert made.in_size == (4,) and made.tau == 2.0 * u.ms and described.cls is ds.Expon
    assert ds.Expon.desc(4).identifier == ds.Expon.desc(4).identifier != ds.Expon.desc(5).identifier
