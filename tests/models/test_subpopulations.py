"""Some neurons of a population as targets and as sources: what reaches them is what would reach them alone."""

import brainunit as u
import jax.numpy as jnp
import numpy as np
import pytest

import dist_sim as ds
from dist_sim.core import environ, init_all_states, transform
from dist_sim.errors import ParameterError

PRE, MINE = 40, 10
INDICES = {
    "slice": np.s_[5:15], "steps": np.s_[3:23:2], "numbers": [7, 2, 9, 4, 11, 0, 20, 21, 22, -1],
    "booleans": np.arange(30) % 3 == 0,
}  # fmt: skip
PROJECTIONS = ("align_post", "delta", "align_pre", "current", "late")


@pytest.fixture(autouse=True)
def clock():
    with environ.context(dt=0.1 * u.ms):
        yield


def cells(size):
    return ds.LIF(size, V_rest=-60 * u.mV, V_th=-50 * u.mV, V_reset=-60 * u.mV, V_initializer=-60 * u.mV, tau=20 * u.ms)


def projection(kind, post):
    n = post.in_size[0]

    def comm(weight):
        return ds.nn.EventFixedNumConn(PRE, n, 3, weight, seed=1)

    out = ds.COBA.desc(E=0 * u.mV)
    if kind == "align_post":
        return ds.AlignPostProj(comm=comm(7 * u.mS), syn=ds.Expon.desc(n, tau=5 * u.ms), out=out, post=post)
    if kind == "align_pre":
        syn = ds.Expon(PRE, tau=5 * u.ms, g_initializer=ds.init.Constant(0.0))
        return ds.align_pre_projection(syn=syn, comm=comm(7 * u.mS), out=out, post=post)
    if kind == "current":
        return ds.CurrentProj(comm=comm(7 * u.mS), out=out, post=post)
    return ds.DeltaProj(comm=comm(0.7 * u.mV), post=post, delay=0.5 * u.ms if kind == "late" else None)


class Net(ds.Module):
    def __init__(self, kind, size, index):
        super().__init__()
        self.cells = cells(size)
        self.proj = projection(kind, self.cells if index is None else self.cells[index])

    def update(self, x):
        self.proj(x)
        self.cells(0 * u.mA)
        return self.cells.V.value.to_decimal(u.mV)


def potentials(kind, size, index, *, devices=1, batch=None):
    shape = (60, PRE) if batch is None else (60, batch, PRE)
    spikes = jnp.asarray(np.random.default_rng(0).random(shape) < 0.2)
    with ds.use_mesh(devices=devices):
        net = init_all_states(Net(kind, size, index), batch_size=batch)
    return np.asarray(transform.jit(lambda xs: transform.for_loop(net, xs))(spikes))


@pytest.mark.parametrize("index", INDICES)
@pytest.mark.parametrize("kind", PROJECTIONS)
def test_some_neurons_are_what_they_are_alone(kind, index):
    alone, among = potentials(kind, MINE, None), potentials(kind, 30, INDICES[index])
    picked = np.arange(30)[np.asarray(INDICES[index]) if isinstance(INDICES[index], list) else INDICES[index]]
    assert np.array_equal(among[:, picked], alone) and alone.std() > 1e-3
    assert (np.delete(among, picked, axis=1) == -60.0).all()


@pytest.mark.parametrize("kind", ["align_post", "delta"])
def test_on_any_devices_and_in_trials(kind):
    one = potentials(kind, 300, np.s_[130:140])
    for devices in (2, 3):
        assert np.array_equal(potentials(kind, 300, np.s_[130:140], devices=devices), one)
    trials = potentials(kind, 30, np.s_[5:15], batch=3)
    assert np.array_equal(trials[:, :, 5:15], potentials(kind, MINE, None, batch=3))


class Groups(ds.Module):
    """Two groups of one population: the first excites the second, which inhibits the first."""

    def __init__(self):
        super().__init__()
        self.cells = cells(30)
        self.exc, self.inh = self.cells[:20], self.cells[20:]

        def onto(pre, post, E):
            comm = ds.nn.EventFixedNumConn(pre.in_size, post.in_size, 5, 150 * u.mS, seed=1)
            syn = ds.Expon.desc(post.in_size, tau=5 * u.ms)
            return ds.AlignPostProj(comm=comm, syn=syn, out=ds.COBA.desc(E=E), post=post)

        self.projections = onto(self.exc, self.inh, 0 * u.mV), onto(self.inh, self.exc, -80 * u.mV)

    def update(self):
        for proj, source in zip(self.projections, (self.exc, self.inh), strict=True):
            proj(source.get_spike())
        self.cells(jnp.where(jnp.arange(30) < 20, 20.0, 0.0) * u.mA)
        return self.cells.get_spike()


def test_groups_of_one_population_are_connected():
    net = init_all_states(Groups())
    spikes = np.asarray(transform.for_loop(lambda _: net(), jnp.arange(600)))
    assert spikes[:, :20].sum() > 0 and spikes[:, 20:].sum() > 0
    run = ds.Run(lambda: net(), record={"second": net.inh})
    assert run.advance(20 * u.ms).summary["rates"].keys() == {"second"}


def test_projections_share_synapses_onto_the_same_neurons_alone():
    post = cells(30)

    def onto(index):
        comm = ds.nn.EventFixedNumConn(PRE, 10, 3, 1 * u.mS, seed=1)
        syn = ds.Expon.desc(10, tau=5 * u.ms)
        return ds.AlignPostProj(comm=comm, syn=syn, out=ds.COBA.desc(E=0 * u.mV), post=post[index])

    first, again, other = onto(np.s_[:10]), onto(np.s_[:10]), onto(np.s_[10:20])
    assert first.syn is again.syn and other.syn is not first.syn


@pytest.mark.parametrize(
    ("index", "words"),
    [
        (np.s_[30:40], "no neuron"),
        ([1, 1], "twice"),
        ([31], "out of bounds"),
        (np.ones(7, bool), "30 booleans"),
        (np.s_[1, 2], "2 indices for 1 axes"),
        ("first", "numbers below 30"),
    ],
)
def test_what_is_no_part_is_refused(index, words):
    with pytest.raises(ParameterError, match=rf"LIF\[30\].*{words}"):
        cells(30)[index]


def test_it_is_not_called():
    with pytest.raises(ParameterError, match=r"LIF\[5:15\]: call the population"):
        cells(30)[5:15](1 * u.mA)
