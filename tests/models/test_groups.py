"""Groups with a value for each pair of them: against a matrix of all pairs of neurons, dense and sparse, on any mesh."""

import brainunit as u
import jax.numpy as jnp
import numpy as np
import pytest

import dist_sim as ds
from dist_sim.core import environ, init_all_states, transform
from dist_sim.errors import ParameterError, UnitError

PRE, POST = (30, 20, 250), (40, 60)
VALUES = np.random.default_rng(0).normal(size=(3, 2)).astype(np.float32)
GROUPS = ds.init.Groups(VALUES * u.nS, pre=PRE, post=POST)
MATRIX = np.repeat(np.repeat(VALUES, PRE, axis=0), POST, axis=1)
X = np.random.default_rng(1).normal(size=(4, sum(PRE))).astype(np.float32)


@pytest.fixture(autouse=True)
def clock():
    with environ.context(dt=0.1 * u.ms):
        yield


def layer(sizes, include_self):
    weights = ds.init.Groups(VALUES[:, : len(sizes)] * u.nS, pre=PRE, post=sizes)
    return ds.nn.AllToAll(sum(PRE), sum(sizes), weights, include_self=include_self)


def test_asked_for_pairs_of_neurons_it_has_the_value_of_their_groups():
    assert np.array_equal(GROUPS((300, 100)).to_decimal(u.nS), MATRIX) and GROUPS.unit == u.nS
    linear = ds.nn.Linear(300, 100, GROUPS, b_init=None)
    assert np.allclose(linear(X).to_decimal(u.nS), X @ MATRIX, atol=1e-4)


@pytest.mark.parametrize("sizes", [(40, 60), (100, 260), (300,), (10, 20)], ids=str)
@pytest.mark.parametrize("include_self", [True, False])
def test_all_to_all_is_the_product_with_a_value_for_each_pair(sizes, include_self):
    found = layer(sizes, include_self)
    dense = np.repeat(np.repeat(VALUES[:, : len(sizes)], PRE, axis=0), sizes, axis=1)
    dense = dense if include_self else dense * (1 - np.eye(*dense.shape))
    assert found.weight.value["weight"].shape == (3, len(sizes))
    for x in (X, X[0], X > 0, X[None]):
        assert np.allclose(found(x).to_decimal(u.nS), np.asarray(x, np.float32) @ dense, atol=2e-5)
    assert np.allclose(found(X * u.mV).to_decimal(u.nS * u.mV), X @ dense, atol=2e-5)


def test_a_target_without_itself_gets_from_its_group_what_the_others_send():
    """A difference of sums would leave the rounding of what is large in both."""
    one = ds.nn.AllToAll(3, 3, ds.init.Groups([[1.0]], pre=(3,), post=(3,)), include_self=False)
    assert np.array_equal(one(np.array([1.0, 0.0, 0.0])), [0.0, 1.0, 1.0])
    two = ds.nn.AllToAll(3, 3, ds.init.Groups([[0.7], [0.3]], pre=(1, 2), post=(3,)), include_self=False)
    assert np.array_equal(two(np.array([1.0, 0.0, 0.0]))[0], 0.0)


@pytest.mark.parametrize("include_self", [True, False])
def test_no_matrix_of_all_pairs_is_made(include_self):
    weights = ds.init.Groups(np.ones((2, 2)), pre=(500, 1500), post=(500, 1500))
    found = ds.nn.AllToAll(2000, 2000, weights, include_self=include_self)
    shapes = [x.aval.shape for eqn in transform.make_jaxpr(found.update)(jnp.ones(2000))[0].eqns for x in eqn.outvars]
    assert shapes and max(map(np.prod, shapes)) <= 2000


def test_the_matrix_of_the_groups_is_trained():
    found = layer(POST, include_self=True)
    gradient = transform.grad(lambda: (found(X) / u.nS)[:, 45].sum(), found.states(ds.ParamState))()[("weight",)]["weight"]
    sums = np.add.reduceat(X.sum(0), [0, 30, 50])
    assert np.allclose(gradient.to_decimal(u.nS), np.outer(sums, [0, 1]), rtol=1e-4)


@pytest.mark.parametrize("batch", [(), (3,)], ids=["alone", "batch"])
@pytest.mark.parametrize("include_self", [True, False])
def test_sums_have_one_order_on_any_mesh(include_self, batch):
    sizes = (700, 301, 1099)
    weights = ds.init.Groups(np.random.default_rng(2).normal(size=(3, 3)), pre=sizes, post=sizes)
    start = np.random.default_rng(3).normal(size=(*batch, 2100)).astype(np.float32)

    def run(devices):
        with ds.use_mesh(devices=devices):
            x = ds.HiddenState(jnp.asarray(start))
            comm = ds.nn.AllToAll(2100, 2100, weights, include_self=include_self)

            def step():
                x.value = jnp.tanh(x.value * 1.1 + 1e-3 * comm(x.value))
                return x.value

            return np.asarray(transform.jit(lambda: transform.for_loop(step, length=10))())

    alone = run(1)
    assert alone.std() > 0.1
    for devices in (2, 3, 8):
        assert np.array_equal(run(devices), alone)


# Sparse


def sparse(weight, delay=None, **options):
    comm = ds.nn.EventFixedProb(300, 100, 0.2, weight, conn_delay=delay, seed=4, **options)
    return init_all_states(comm)


def pairs(comm):
    """How many synapses lead from each source to each target."""
    one = ds.nn.EventFixedProb(300, 100, 0.2, 1.0, seed=4, afferent_ratio=0.5 if comm._sources is not None else 1.0)
    return np.asarray(one(np.eye(300, dtype=bool)))


@pytest.mark.parametrize("devices", [1, 3])
@pytest.mark.parametrize("ratio", [1.0, 0.5])
def test_each_synapse_has_the_weight_of_its_groups(devices, ratio):
    with ds.use_mesh(devices=devices):
        comm = sparse(GROUPS, afferent_ratio=ratio)
        found = comm(np.eye(300, dtype=bool))
    assert found.unit == u.nS and pairs(comm).any()
    assert np.allclose(found.to_decimal(u.nS), pairs(comm) * MATRIX, rtol=1e-6)
    assert ratio == 1.0 or (pairs(comm).sum(1) == 0).sum() > 50


@pytest.mark.parametrize("devices", [1, 2])
def test_each_synapse_has_the_delay_of_its_groups(devices):
    steps = np.array([[0, 3], [7, 1], [2, 5]])
    with ds.use_mesh(devices=devices):
        comm = sparse(1.0 * u.nS, ds.init.Groups(steps * 0.1 * u.ms, pre=PRE, post=POST))
        sent = np.zeros((10, 300), bool)
        sent[0] = True
        found = np.asarray(transform.for_loop(comm, jnp.asarray(sent)).to_decimal(u.nS))
    ends = np.cumsum((0, *PRE))
    for k in range(10):
        wanted = sum(
            np.repeat(steps[g] == k, POST) * pairs(comm)[a:b].sum(0) for g, (a, b) in enumerate(zip(ends, ends[1:], strict=False))
        )
        assert np.allclose(found[k], wanted)


def test_every_synapse_is_trained_by_itself():
    comm = sparse(GROUPS)
    assert comm.weight.value.shape == (100, comm.synapses.width)
    gradient = transform.grad(lambda: (comm(np.ones(300)) / u.nS).sum(), comm.states(ds.ParamState))()[("weight",)]
    assert gradient.to_decimal(u.nS).sum() == 300 * 20


def test_without_any_source_nothing_arrives():
    assert not u.get_mantissa(sparse(GROUPS, afferent_ratio=0.0)(np.ones(300))).any()


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: ds.init.Groups(VALUES, pre=PRE, post=PRE), ParameterError, r"shape \(3, 2\).*row for each group.*\(3, 3\)"),
        (lambda: ds.init.Groups(VALUES, pre=(30, 0, 2), post=POST), ParameterError, r"Groups\(pre=.*above 0"),
        (lambda: ds.init.Groups(VALUES, pre=PRE, post=(0.5, 2.5)), ParameterError, r"Groups\(post=.*whole numbers"),
        (lambda: ds.init.Groups(VALUES[0], pre=300, post=POST), ParameterError, r"Groups\(pre=300.*size of each group"),
        (lambda: ds.nn.AllToAll(299, 100, GROUPS), ParameterError, r"that is 300 sources; the connectivity has 299"),
        (lambda: ds.nn.AllToAll(300, 101, GROUPS), ParameterError, r"that is 100 targets; the connectivity has 101"),
        (lambda: ds.nn.EventFixedProb(300, 99, 0.2, GROUPS), ParameterError, r"that is 100 targets; the connectivity has 99"),
        (lambda: sparse(1 * u.nS, ds.init.Groups(VALUES * u.ms, (300,) * 3, POST)), ParameterError, "that is 900 sources"),
        (lambda: sparse(1 * u.nS, GROUPS), UnitError, "conn_delay"),
        (lambda: ds.nn.OneToOne(300, GROUPS), ParameterError, r"pairs \(sources, targets\)"),
        (lambda: ds.nn.AllToAll(300, 100, GROUPS, b_init=np.ones(100) * u.mV)(X), UnitError, "Give b_init that unit"),
    ],
)
def test_what_does_not_fit_is_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()
