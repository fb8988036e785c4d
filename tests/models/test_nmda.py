"""NMDA receptors that saturate, as Wang (2002) has them: their solution, what they rest at, and projections by them in nS."""

from itertools import pairwise

import brainunit as u
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp

import dist_sim as ds
from dist_sim.core import environ, init_all_states, transform
from dist_sim.errors import UnitError

SIZES = 200, 101, 399
N = sum(SIZES)


@pytest.fixture(autouse=True)
def clock():
    with environ.context(dt=0.1 * u.ms):
        yield


def run(model, given):
    """What it returns at each step."""
    return np.asarray(transform.jit(lambda xs: transform.for_loop(model, xs))(jnp.asarray(given)))


def saturating(times, at, alpha=0.5, rise=2.0, decay=100.0):
    """s of Wang (2002) at these times, after spikes at others, x of which is known: within 1e-11."""
    at, times = np.asarray(at), np.asarray(times)

    def slope(t, s):
        x = np.sum(np.where(at <= t, np.exp(-(t - at) / rise), 0.0))
        return alpha * x * (1 - s) - s / decay

    ends, start, found = [*at, times[-1] + 1e-9], [0.0], np.zeros(len(times))
    for a, b in pairwise(ends):
        inside = (times >= a) & (times < b)
        # On this side of the next spike.
        part = solve_ivp(slope, (a, np.nextafter(b, a)), start, rtol=1e-11, atol=1e-13, dense_output=True, max_step=0.5)
        found[inside], start = part.sol(times[inside])[0], part.y[:, -1]
    return found


@pytest.mark.parametrize("dt", [0.1, 0.02])
def test_nmda_of_wang_is_its_solution_for_a_train_of_spikes(dt):
    at = np.cumsum(np.random.default_rng(1).exponential(20.0, 20)).round(1)
    with environ.context(dt=dt * u.ms, precision=64):
        count = round(500 / dt)
        sizes = np.bincount(np.round(at / dt).astype(int), minlength=count)[:count, None]
        found = run(init_all_states(ds.NMDA(1)), sizes.astype(float))[:, 0]
    wanted = saturating(dt * np.arange(1, count + 1), at)
    assert wanted.max() > 0.7 and np.abs(found - wanted).max() < 1e-5 * (dt / 0.1) ** 2


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3, 1e6])
def test_nmda_of_wang_rests_where_it_should_whatever_drives_it(scale):
    """A spike in every step: x and g in the steady state, at which opening and closing cancel."""
    made = init_all_states(ds.NMDA(1, alpha=scale / u.ms))
    found = run(made, np.ones((20_000, 1)))[-1, 0]
    kept, mean = np.exp(-0.1 / 2.0), 2.0 / 0.1
    # In single precision it comes as close as a step that rounds to nothing.
    assert np.isclose(found, scale * mean / (scale * mean + 0.01), rtol=1e-4) and 0 < found <= 1
    assert np.isclose(made.x.value[0], kept / (1 - kept), rtol=1e-5)


def test_a_spike_of_another_size_counts_as_that_and_none_at_all_as_nothing():
    made = init_all_states(ds.NMDA(3))
    made(jnp.array([1.0, 0.25, 0.0]))
    after = np.asarray(made.x.value)
    assert np.allclose(after, np.array([1.0, 0.25, 0.0]) * np.exp(-0.05)) and np.all(np.diff(made.g.value) < 0)
    made()
    assert np.allclose(made.x.value, after * np.exp(-0.05))


def cells(size=N):
    return ds.LIF(
        size, R=40 * u.Mohm, tau=20 * u.ms, V_rest=-70 * u.mV, V_th=-50 * u.mV, V_reset=-55 * u.mV,
        V_initializer=ds.init.Uniform(-70.0, -50.0, unit=u.mV), spk_reset="hard",
    )  # fmt: skip


def recurrent(post, comm):
    return ds.align_pre_projection(syn=ds.NMDA.desc(N), comm=comm, out=ds.MgBlock.desc(), post=post, delay=0.5 * u.ms)


@pytest.mark.parametrize("unit", [u.nS, u.mS, u.uS])
@pytest.mark.parametrize("syn", [ds.NMDA, ds.Expon, ds.BioNMDA], ids=lambda syn: syn.__name__)
@pytest.mark.parametrize("out", [ds.MgBlock, ds.COBA], ids=lambda out: out.__name__)
def test_the_unit_of_the_weights_is_that_of_the_conductance(unit, syn, out):
    post = cells(10)
    weight = (5 * u.nS).in_unit(unit)
    given = {} if syn is ds.NMDA else {"g_initializer": ds.init.Constant(0.0)}
    proj = ds.align_pre_projection(syn=syn(4, **given), comm=ds.nn.AllToAll(4, 10, weight), out=out(E=0 * u.mV), post=post)
    init_all_states(proj)
    post.V.value = jnp.full(10, -65.0) * u.mV
    proj(np.ones(4, bool))
    post(0 * u.nA)
    g, V = 4 * float(proj.syn.g.value[0]) * 5e-9, -65e-3
    g = g / (1 + 1.2 / 3.57 * np.exp(0.062 * 65)) if out is ds.MgBlock else g
    slope = ((-70e-3 - V) - 40e6 * g * V) / 20e-3
    # One step is linear but for the block.
    assert np.allclose(post.V.value.to_decimal(u.mV), -65 + slope * 0.1, atol=0.01) and slope > -0.25


class Net(ds.Module):
    """Three groups that excite each other and themselves, all to all, and inhibit all alike."""

    def __init__(self):
        super().__init__()
        self.cells = cells()
        matrix = np.array([[0.17, 0.09, 0.1], [0.09, 0.17, 0.1], [0.1, 0.1, 0.1]])
        weights = ds.init.Groups(matrix * u.nS, pre=SIZES, post=SIZES)
        self.exc = recurrent(self.cells, ds.nn.AllToAll(N, N, weights, include_self=False))
        self.inh = ds.AlignPostProj(
            comm=ds.nn.AllToAll(N, N, 0.2 * u.nS), syn=ds.Expon.desc(N, tau=5 * u.ms, g_initializer=0 * u.nS),
            out=ds.COBA.desc(E=-70 * u.mV), post=self.cells, delay=0.5 * u.ms,
        )  # fmt: skip

    def update(self):
        spikes = self.cells.get_spike() != 0.0
        self.exc(spikes)
        self.inh(spikes)
        return self.cells(0.6 * u.nA) != 0.0


@pytest.mark.parametrize("batch", [None, 2], ids=["alone", "batch"])
def test_spikes_do_not_depend_on_the_devices(batch):
    found = []
    for devices in (1, 2, 3):
        ds.random.seed(1)
        with ds.use_mesh(devices=devices):
            net = init_all_states(Net(), batch)
        found.append(np.asarray(transform.for_loop(net, length=600)))
    assert found[0].mean() > 1e-3 and found[0].std((0, -1)).min() > 0
    assert all(np.array_equal(found[0], other) for other in found[1:])


def test_many_strengths_at_once_are_each_alone():
    def of(scale):
        ds.random.seed(1)
        post = cells(20)
        proj = ds.align_pre_projection(
            syn=ds.NMDA(8, alpha=scale / u.ms), comm=ds.nn.AllToAll(8, 20, 5 * u.nS), out=ds.MgBlock(), post=post
        )
        init_all_states(proj)
        transform.for_loop(lambda: (proj(jnp.ones(8)), post(0 * u.nA)), length=50)
        return post.V.value.to_decimal(u.mV)

    scales = jnp.array([0.05, 0.5, 2.0])
    together = transform.vmap(of)(scales)
    assert np.allclose(together, [of(scale) for scale in scales], rtol=1e-5) and np.ptp(together, axis=0).min() > 0.1


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: recurrent(cells(), ds.nn.AllToAll(N, N, 1.0)), "LIF takes"),
        (lambda: recurrent(cells(), ds.nn.AllToAll(N, N, 1 * u.pA)), "LIF takes"),
        (lambda: ds.NMDA(3, alpha=0.5), r"NMDA\(alpha=...\)"),
    ],
)
def test_units_that_make_no_current_are_refused(call, message):
    with pytest.raises(UnitError, match=message):
        call()
