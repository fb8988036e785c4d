"""Delays of each synapse: against a sum over synapses one by one, and the same on any mesh."""

import brainunit as u
import jax.numpy as jnp
import numpy as np
import pytest

import dist_sim as ds
from dist_sim import init, nn, transform
from dist_sim.errors import ParameterError, UnitError

PRE, POST, STEPS = 30, 200, 40
DT = 0.1


@pytest.fixture(autouse=True)
def dt():
    with ds.environ.context(dt=DT * u.ms):
        yield


def spikes(batch=()):
    return jnp.asarray(np.random.default_rng(0).random((STEPS, *batch, PRE)) < 0.2)


EACH_ITS_WEIGHT = init.Normal(1.0, 0.2, unit=u.mS)


def connected(weight=EACH_ITS_WEIGHT, batch=None):
    ds.random.seed(2)
    comm = nn.EventFixedProb(PRE, POST, 0.1, weight, conn_delay=init.Uniform(0.0, 1.2, unit=u.ms), seed=4)
    nn.init_all_states(comm, batch_size=batch)
    return comm


def one_by_one(comm, sent):
    """What arrives, (steps, ..., targets), of spikes (steps, ..., sources)."""
    arrived = np.zeros((STEPS + 20, *sent.shape[1:-1], POST))
    weight = u.Quantity(comm.weight.value).to_decimal(u.mS)
    first = 0
    for rows in comm.synapses.incoming.values():
        for (target, slot), source in zip(np.transpose(rows.ends), rows.sources, strict=True):
            steps = round(float(comm.on_the_way._delay[first + target, slot]) / DT)
            w = weight[first + target, slot] if np.ndim(weight) else weight
            arrived[steps : steps + STEPS, ..., first + target] += np.asarray(sent)[..., source] * float(w)
        first += len(rows.degrees)
    return arrived[:STEPS]


@pytest.mark.parametrize("case", ["each its weight", "one weight", "batch", "numbers", "two devices"])
def test_each_synapse_has_its_delay(case):
    batch = (3,) if case == "batch" else ()
    with ds.use_mesh(devices=2 if case == "two devices" else 1):
        comm = connected(2.0 * u.mS if case == "one weight" else EACH_ITS_WEIGHT, batch=3 if batch else None)
        sent = spikes(batch)
        sent = sent * jnp.linspace(0.5, 2.0, PRE) if case == "numbers" else sent
        found = transform.jit(lambda: transform.for_loop(comm, sent))()
    assert found.unit == u.mS
    assert np.allclose(found.to_decimal(u.mS), one_by_one(comm, sent), atol=1e-4)


class Net(ds.Module):
    """Two populations of which the second is driven through delays."""

    def __init__(self):
        super().__init__()
        self.post = ds.LIF(POST, R=1.0 * u.ohm, tau=10.0 * u.ms, V_th=1.0 * u.mV, V_initializer=init.Uniform(0.0, 1.0, unit=u.mV))
        self.comm = nn.EventFixedProb(
            PRE, POST, 0.1, init.Normal(0.5, 0.2, unit=u.mS), conn_delay=init.Uniform(0.0, 1.2, unit=u.ms), seed=4
        )
        self.proj = ds.AlignPostProj(
            comm=self.comm, syn=ds.Expon.desc(POST, tau=2.0 * u.ms), out=ds.CUBA.desc(scale=u.volt), post=self.post
        )

    def update(self, sent):
        self.proj(sent)
        return self.post(0.0 * u.mA)


def trained(shape, batch):
    ds.random.seed(7)
    with ds.use_mesh(shape=shape):
        net = nn.init_all_states(Net(), batch_size=batch)
    sent = spikes(() if batch is None else (batch,))
    weights = net.states(ds.ParamState)

    def loss():
        nn.init_all_states(net, batch_size=batch)
        out = transform.for_loop(net, sent)
        return (out.sum(0) ** 2).mean(), out

    gradients, _, out = transform.jit(lambda: transform.grad(loss, weights, has_aux=True, return_value=True)())()
    return np.asarray(out), next(iter(gradients.values()))


@pytest.mark.parametrize("batch", [None, 4])
def test_spikes_and_gradients_are_the_same_on_any_mesh(batch):
    out, gradient = trained({"neuron": 1}, batch)
    assert out.sum() > 50 and np.abs(u.get_mantissa(gradient)).max() > 0
    for shape in ({"neuron": 3}, {"batch": 2, "neuron": 2}):
        there, other = trained(shape, batch)
        assert np.array_equal(out, there)
        assert np.allclose(u.get_mantissa(gradient), u.get_mantissa(other), rtol=1e-5, atol=1e-7)


def test_the_gradient_by_weights_is_that_of_the_sum():
    with ds.environ.context(precision=64):
        comm = connected()
        sent, wanted = spikes(), jnp.cos(jnp.arange(STEPS * POST, dtype=float)).reshape(STEPS, POST)

        def loss():
            nn.init_all_states(comm)
            return (jnp.tanh(transform.for_loop(comm, sent).to_decimal(u.mS)) * wanted).sum()

        found = u.get_mantissa(transform.grad(loss, comm.weight)())
        start = comm.weight.value
        step = 1e-6
        for place in [(0, 0), (17, 1), (199, 0)]:
            values = []
            for sign in (1, -1):
                comm.weight.value = u.Quantity(u.get_mantissa(start).at[place].add(sign * step), unit=u.mS)
                values.append(float(loss()))
            comm.weight.value = start
            assert np.isclose(found[place], (values[0] - values[1]) / (2 * step), rtol=1e-6, atol=1e-8)


def test_a_sparse_matrix_with_delays():
    matrix = u.sparse.CSR((jnp.array([1.0, 2.0, 3.0]) * u.mV, jnp.array([0, 2, 1]), jnp.array([0, 2, 3])), shape=(2, 3))
    comm = nn.SparseLinear(matrix, delay=[0.0, 0.2, 0.14] * u.ms)
    nn.init_all_states(comm)
    sent = jnp.zeros((4, 2)).at[0].set(1.0)
    found = transform.for_loop(comm, sent)
    wanted = np.zeros((4, 3))
    wanted[0, 0], wanted[2, 2], wanted[1, 1] = 1.0, 2.0, 3.0  # 0.14 ms is one step of 0.1 ms
    assert np.array_equal(found.to_decimal(u.mV), wanted)


def test_wrong_delays_are_refused():
    def make(delay, **options):
        return nn.EventFixedProb(PRE, POST, 0.1, 1.0 * u.mS, conn_delay=delay, **options)

    with pytest.raises(UnitError, match="conn_delay"):
        make(1.0 * u.mV)
    with pytest.raises(ParameterError, match="at least 0 ms"):
        make(-1.0 * u.ms)
    with pytest.raises(ParameterError, match="needs one time, or"):
        make(np.ones(3) * u.ms)
    comm = make(1.0 * u.ms)
    with pytest.raises(ParameterError, match="are not there yet.*init_all_states"):
        comm(jnp.ones(PRE))
    nn.init_all_states(comm)
    with pytest.raises(ParameterError, match="batch_size"):
        comm(jnp.ones((2, PRE)))
    with ds.environ.context(dt=0.2 * u.ms), pytest.raises(ParameterError, match="made for dt=0.1 ms; now it is 0.2 ms"):
        comm(jnp.ones(PRE))
    post = ds.LIF(POST)
    with pytest.raises(ParameterError, match="one or the other"):
        ds.DeltaProj(comm=make(1.0 * u.ms), post=post, delay=1.0 * u.ms)
    line = u.sparse.CSR((jnp.ones(1), jnp.array([0]), jnp.array([0, 1])), shape=(1, 2))
    with pytest.raises(ParameterError, match="one for each pair"):
        nn.SparseLinear(line, delay=np.ones(2) * u.ms)


def test_a_delay_beyond_the_table_is_refused():
    comm = nn.EventFixedProb(PRE, POST, 0.1, 1.0 * u.mS, conn_delay=1e7 * u.ms)
    with pytest.raises(ParameterError, match="more than a table holds"):
        nn.init_all_states(comm)
