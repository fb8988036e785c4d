"""Connections that are drawn when they are needed: what they are, and that placement changes no bit of them."""

import re

import brainunit as u
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dist_sim as ds
from dist_sim.core import transform
from dist_sim.errors import ParameterError

SPIKES = np.random.default_rng(0).random((2, 3, 50)) < 0.3


def test_every_target_has_its_number_of_sources():
    comm = ds.nn.JITFixedNumConn(50, 400, 12, 2.0 * u.mS, seed=1)
    matrix = np.asarray(comm(np.eye(50, dtype=bool)).to_decimal(u.mS)) / 2
    assert (matrix.sum(0) == 12).all() and np.array_equal(matrix, np.round(matrix))
    counts = matrix.sum(1)
    assert ((counts - 96) ** 2 / 96).sum() < 100 and len(np.unique(matrix, axis=1)[0]) > 390
    assert np.allclose(comm(SPIKES).to_decimal(u.mS), SPIKES @ (2 * matrix))
    assert ds.nn.JITFixedNumConn((5, 10), (4, 7), 0.1, 1.0).conn_num == 5


@pytest.mark.parametrize(
    ("weight", "mean", "std"),
    [(ds.init.Uniform(1.0, 3.0, unit=u.mS), 2.0, 3**-0.5), (ds.init.Normal(2.0 * u.mS, 0.5 * u.mS), 2.0, 0.5)],
    ids=["uniform", "normal"],
)
def test_weights_are_drawn_with_their_connection(weight, mean, std):
    comm = ds.nn.JITFixedNumConn(1, 20_000, 1, weight, seed=1)
    found = np.asarray(comm(np.ones(1, bool)).to_decimal(u.mS))
    assert abs(found.mean() - mean) < 5 * std / 141 and abs(found.std() - std) < 0.02
    assert np.array_equal(comm(np.ones(1, bool)).to_decimal(u.mS), found)


def test_gradients_are_those_of_the_matrix():
    comm = ds.nn.JITFixedNumConn(50, 40, 6, ds.init.Normal(2.0, 0.5), seed=1)
    matrix = np.asarray(comm(jnp.eye(50)))
    x, back = np.random.default_rng(1).normal(size=(2, 50)).astype(np.float32), np.arange(40.0, dtype=np.float32)
    assert np.allclose(jax.grad(lambda x: (comm(x) * back).sum())(x), np.broadcast_to(matrix @ back, (2, 50)), rtol=1e-4)
    weights = comm.states(ds.ParamState)
    found = transform.grad(lambda: (comm(x) * back).sum(), weights)()[("weight",)]
    counts = np.asarray(ds.nn.JITFixedNumConn(50, 40, 6, 1.0, seed=1)(jnp.eye(50)))
    assert np.isclose(found["loc"], (x @ counts * back).sum(), rtol=1e-3)
    assert np.isclose(found["scale"], (x @ (matrix - 2 * counts) / 0.5 * back).sum(), rtol=1e-3)


@pytest.mark.parametrize("weight", [0.7, ds.init.Normal(0.0, 1.0)], ids=["one", "normal"])
def test_placement_changes_no_bit_and_each_device_draws_its_own(weight):
    def run():
        comm = ds.nn.JITFixedNumConn(50, 1024, 9, weight, seed=1)
        again = transform.jit(lambda: transform.for_loop(lambda x: comm(x), jnp.asarray(SPIKES)))
        return np.asarray(again()), again

    with ds.use_mesh(devices=1):
        alone, _ = run()
    for devices in (2, 8):
        with ds.use_mesh(devices=devices):
            found, program = run()
        assert np.array_equal(found, alone)
    text = program.lower().compile().as_text()
    assert "u32[128]" in text and not re.search(r"all-gather|dist_sim\.gather", text)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ds.nn.JITFixedNumConn(5, 5, 1.5, 1.0), "whole number, or a float between 0 and 1"),
        (lambda: ds.nn.JITFixedNumConn(5, 5, 2, np.ones(5)), "one number, ds.init.Uniform or ds.init.Normal"),
        (lambda: ds.nn.JITFixedNumConn(5, 5, 2, ds.init.ZeroInit()), "one number, ds.init.Uniform or ds.init.Normal"),
        (lambda: ds.nn.JITFixedNumConn(5, 5, 2, 1.0)(np.ones(4)), r"needs \(\.\.\., \*\(5,\)\)"),
    ],
)
def test_what_does_not_fit_is_refused(call, message):
    with pytest.raises(ParameterError, match=message):
        call()
