"""Connectivity of fixed pairs (dense, sparse, one to one) and readouts: values, shapes, units, gradients, placement."""

import brainunit as u
import jax.numpy as jnp
import numpy as np
import pytest

import dist_sim as ds
from dist_sim.core import environ, init_all_states, transform
from dist_sim.errors import ParameterError, UnitError

W = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
X = np.random.default_rng(1).normal(size=(4, 5)).astype(np.float32)


@pytest.fixture(autouse=True)
def clock():
    with environ.context(dt=0.5 * u.ms):
        yield


def test_a_linear_layer_is_a_product_and_a_bias():
    layer = ds.nn.Linear(5, 3, w_init=W * u.mS, b_init=np.arange(3.0) * u.uS, w_mask=np.arange(3) > 0)
    assert np.allclose(layer(X).to_decimal(u.mS), X @ (W * (np.arange(3) > 0)) + np.arange(3) * 1e-3, rtol=1e-6)
    assert layer(X[0] > 0).shape == (3,) and layer(jnp.ones((2, 7, 5))).shape == (2, 7, 3)
    plain = ds.nn.Linear(5, 3, W, b_init=None)
    assert np.allclose(plain(X * u.mV).to_decimal(u.mV), X @ W, rtol=1e-6) and set(plain.weight.value) == {"weight"}
    # Zeros without unit are a bias of any unit; the leading axes are kept.
    assert u.get_unit(ds.nn.Linear((2, 5), (2, 3), W * u.mS)(np.ones((2, 5)))) == u.mS


def test_a_readout_is_exact_and_decays_before_it_adds():
    readout = init_all_states(ds.LeakyRateReadout(5, 3, tau=[2.0, 3.0, 4.0] * u.ms, w_init=W))
    x = np.random.default_rng(2).random((20, 5)) < 0.3
    found = transform.for_loop(readout, x)
    r, wanted = np.zeros(3), []
    for spikes in x:
        r = r * np.exp(-0.5 / np.array([2.0, 3.0, 4.0])) + spikes @ W
        wanted.append(r)
    assert np.allclose(found, wanted, rtol=1e-5, atol=1e-6)
    # In two half steps as in one.
    with environ.context(dt=0.25 * u.ms):
        init_all_states(readout)
        found = transform.for_loop(readout, np.repeat(x, 2, axis=0) & (np.arange(40) % 2 == 1)[:, None])
    assert np.allclose(found[1::2], wanted, rtol=1e-5, atol=1e-6)


def test_rows_of_a_batch_are_runs_of_their_own():
    readout = ds.LeakyRateReadout(5, 3, w_init=W * u.mV)
    x = np.random.default_rng(2).normal(size=(6, 4, 5)).astype(np.float32)
    init_all_states(readout, 4)
    together = transform.for_loop(readout, x)
    for row in range(4):
        init_all_states(readout)
        alone = transform.for_loop(readout, x[:, row])
        assert alone.shape == (6, 3) and np.allclose(
            together[:, row].to_decimal(u.mV), alone.to_decimal(u.mV), rtol=1e-5, atol=1e-6
        )


def test_a_readout_is_that_of_brainpy_state():
    brainpy_state, brainstate = pytest.importorskip("brainpy_state"), pytest.importorskip("brainstate")
    x = np.random.default_rng(2).random((20, 5)).astype(np.float32)
    own = init_all_states(ds.LeakyRateReadout(5, 3, w_init=W))
    with brainstate.environ.context(dt=0.5 * u.ms):
        reference = brainpy_state.LeakyRateReadout(5, 3, w_init=lambda size: jnp.asarray(W))
        brainstate.nn.init_all_states(reference)
        wanted = brainstate.transform.for_loop(reference.update, x)
    assert np.allclose(transform.for_loop(own, x), wanted, rtol=1e-5)


def test_one_to_one_is_a_product_of_each():
    w = np.arange(6.0).reshape(2, 3)
    assert np.allclose(ds.nn.OneToOne((2, 3), w * u.mS)(np.ones((4, 2, 3), bool)).to_decimal(u.mS), w)
    assert np.allclose(ds.nn.OneToOne(3, 2.0 * u.mS, b_init=np.ones(3) * u.uS)(w).to_decimal(u.mS), 2 * w + 1e-3)
    assert ds.nn.OneToOne(3, 2.0).weight.value["weight"].shape == ()


@pytest.mark.parametrize("targets", [3, 5, 7])
@pytest.mark.parametrize("include_self", [True, False])
def test_all_to_all_with_one_weight_is_that_with_equal_ones(targets, include_self):
    full = (np.ones((5, targets)) - (0 if include_self else np.eye(5, targets))) * 2
    one = ds.nn.AllToAll(5, targets, 2.0 * u.mS, include_self=include_self)
    each = ds.nn.AllToAll(5, targets, np.full((5, targets), 2.0) * u.mS, include_self=include_self)
    for x in (X, X[0], X > 0):
        assert np.allclose(one(x).to_decimal(u.mS), x @ full, atol=1e-5)
        assert np.allclose(each(x).to_decimal(u.mS), x @ full, atol=1e-5)
    assert np.allclose(one(X * u.mV).to_decimal(u.mS * u.mV), X @ full, atol=1e-5)


MATRIX = np.where(np.random.default_rng(4).random((5, 3)) < 0.6, W, 0.0)


def formats():
    sparse = pytest.importorskip("scipy.sparse")
    yield from (sparse.csr_matrix(MATRIX), sparse.csc_matrix(MATRIX), sparse.coo_matrix(MATRIX), sparse.csr_matrix(MATRIX) * u.mS)
    coo = sparse.coo_matrix(MATRIX)
    yield u.sparse.COO((coo.data * u.mS, coo.row, coo.col), shape=(5, 3))
    csr = sparse.csr_matrix(MATRIX)
    yield u.sparse.CSR((csr.data * u.mS, csr.indices, csr.indptr), shape=(5, 3))
    csc = sparse.csc_matrix(MATRIX)
    yield u.sparse.CSC((csc.data * u.mS, csc.indices, csc.indptr), shape=(5, 3))


def test_a_sparse_layer_is_its_matrix_in_any_format():
    for matrix in formats():
        unit = u.get_unit(getattr(matrix, "data", matrix))
        layer = ds.nn.SparseLinear(matrix, b_init=u.Quantity(np.arange(3.0), unit=unit))
        y = layer(X)
        assert u.have_same_dim(y, unit) and np.allclose(u.get_mantissa(y), X @ MATRIX + np.arange(3), atol=1e-5)
        assert np.allclose(u.get_mantissa(layer(X[0] > 0)), (X[0] > 0) @ MATRIX + np.arange(3), atol=1e-5)
    gradient = transform.grad(lambda: (u.get_mantissa(layer(X)) ** 2).sum(), layer.states(ds.ParamState))()[("weight",)]
    by_pair = 2 * X.T @ (X @ MATRIX + np.arange(3))
    found = u.get_mantissa(gradient["weight"])
    for target in range(3):
        sources = np.flatnonzero(MATRIX[:, target])
        assert np.allclose(found[target, : len(sources)], by_pair[sources, target], rtol=1e-4)


def test_placement_changes_no_bit_of_sparse_layers():
    sparse = pytest.importorskip("scipy.sparse")
    matrix = sparse.random(700, 300, 0.1, format="csr", random_state=0)
    x = np.random.default_rng(3).normal(size=(7, 4, 700)).astype(np.float32)

    def run():
        ds.random.seed(1)
        layers = ds.nn.SparseLinear(matrix), ds.nn.OneToOne(300, ds.init.Uniform(0.0, 1.0)), ds.nn.AllToAll(300, 300, 0.1)
        return np.asarray(transform.for_loop(lambda x: layers[2](layers[1](layers[0](x))), x))

    alone = run()
    for devices in (2, 8):
        with ds.use_mesh(devices=devices):
            assert np.array_equal(run(), alone)


@pytest.mark.parametrize("rows", [None, 3, 16])
def test_placement_changes_no_bit(rows):
    """Products of matrices round differently when they are cut: for these sizes, cut weights give other bits."""
    x = np.random.default_rng(3).normal(size=(7, 700) if rows is None else (7, rows, 700)).astype(np.float32)

    def run():
        ds.random.seed(1)
        layers = ds.nn.Linear(700, 300), ds.LeakyRateReadout(300, 10)
        init_all_states(layers[1], rows)
        return np.asarray(transform.for_loop(lambda x: layers[1](layers[0](x) > 0.5), x))

    alone = run()
    for devices in (1, 2, 8):
        with ds.use_mesh(devices=devices):
            assert np.array_equal(run(), alone)


def test_gradients_are_those_of_the_product():
    layer = ds.nn.Linear(5, 3, W * u.mS)
    found = transform.grad(lambda: (layer(X) / u.mS)[:, 1].sum(), layer.states(ds.ParamState))()[("weight",)]
    assert np.allclose(found["weight"].to_decimal(u.mS), np.outer(X.sum(0), [0, 1, 0]), rtol=1e-5, atol=1e-6)
    assert np.allclose(found["bias"].to_decimal(u.mS), [0, 4, 0])


def test_a_projection_takes_it():
    post = ds.LIF(3)
    proj = ds.AlignPostProj(
        comm=ds.nn.Linear(5, 3, W * u.mS), syn=ds.Expon.desc(3), out=ds.COBA.desc(E=0 * u.mV), post=post
    )  # fmt: skip
    init_all_states(post)
    proj(np.ones(5, bool))
    post(0 * u.mA)
    assert np.allclose(proj.syn.g.value.to_decimal(u.mS), W.sum(0), rtol=1e-5)
    with pytest.raises(UnitError, match="the weights are without unit, and Expon holds a conductance in mS"):
        ds.AlignPostProj(comm=ds.nn.Linear(5, 3), syn=ds.Expon.desc(3), out=ds.COBA.desc(E=0 * u.mV), post=post)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: ds.nn.Linear(5, 0), ParameterError, "whole number of at least 1"),
        (lambda: ds.nn.Linear((2, 5), (3, 4)), ParameterError, "only the last axes may differ"),
        (lambda: ds.nn.Linear(5, 4, W), (ParameterError, ValueError), "shape|broadcast"),
        (lambda: ds.nn.Linear(5, 3, None), ParameterError, "is None"),
        (lambda: ds.nn.Linear(5, 3)(np.ones(4)), ParameterError, r"needs \(..., 5\)"),
        (lambda: ds.nn.Linear(5, 3, W * u.mS, b_init=np.ones(3))(X), UnitError, "Give b_init that unit"),
        (lambda: ds.nn.OneToOne(3, np.ones(4)), (ParameterError, ValueError), "shape|broadcast"),
        (lambda: ds.nn.SparseLinear(W), ParameterError, "needs a sparse matrix"),
        (lambda: ds.nn.SparseLinear(W * u.mS), ParameterError, "CSR.*whose weights may have a unit"),
        (lambda: ds.nn.SparseLinear(next(formats()), in_size=4), ParameterError, "5 rows"),
        (lambda: ds.LeakyRateReadout(5, 3, tau=5 * u.mV), UnitError, r"LeakyRateReadout\(tau=...\): needs a time"),
        (lambda: ds.LeakyRateReadout(5, 3, tau=0 * u.ms), ParameterError, "above 0"),
        (
            lambda: ds.LeakyRateReadout(5, 3, tau=[1.0] * 5 * u.ms),
            ParameterError,
            r"shape \(5,\); the model has shape \(3,\)",
        ),
    ],
)
def test_what_does_not_fit_is_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()
