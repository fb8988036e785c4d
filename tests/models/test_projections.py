"""Projections: one value per target, or per source, is the sum of the synapses; delays; plasticity; electrical coupling."""

import brainunit as u
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dist_sim as ds
from dist_sim.core import HiddenState, environ, init_all_states, transform
from dist_sim.errors import ParameterError, UnitError
from dist_sim.models import synapses

PRE, POST, STEPS = 40, 30, 60
SYNAPSES = [x for x in vars(synapses).values() if isinstance(x, type) and issubclass(x, ds.Synapse) and x is not ds.Synapse]
LINEAR = [x for x in SYNAPSES if x.is_align_post]


@pytest.fixture(autouse=True)
def clock():
    with environ.context(dt=0.1 * u.ms):
        yield


def sent(*shape, rate=0.1):
    return np.random.default_rng(0).random(shape) < rate


def connection(seed=1, unit=u.mS):
    ds.random.seed(seed)
    return ds.nn.EventFixedNumConn(PRE, POST, 6, ds.init.Uniform(0.5, 1.5, unit=unit), seed=seed)


def dense(comm):
    """Its weights (PRE, POST)."""
    return np.asarray(u.get_mantissa(comm(np.eye(PRE, dtype=bool))), np.float64)


def target(size=POST):
    return ds.LIF(size, V_rest=-60 * u.mV, V_th=-40 * u.mV, V_reset=-60 * u.mV, V_initializer=-60 * u.mV, tau=20 * u.ms)


def run(proj, post, spikes):
    """Potentials of each step, mV, in the program of a loop."""

    def step(x):
        proj(x)
        post(0.0 * u.mA)
        return post.V.value.to_decimal(u.mV)

    return np.asarray(transform.jit(lambda xs: transform.for_loop(step, xs))(jnp.asarray(spikes)))


def by_source(syn, out=ds.CUBA, **options):
    post = target()
    free = ds.init.Constant(0.0)
    proj = ds.align_pre_projection(syn=syn(PRE, g_initializer=free), comm=connection(), out=out(), post=post, **options)
    return proj, post


def by_target(syn, out=ds.CUBA, **options):
    post = target()
    proj = ds.align_post_projection(comm=connection(), syn=syn.desc(POST), out=out.desc(), post=post, **options)
    return proj, post


def test_equal_synapses_by_target_by_source_and_one_by_one():
    spikes = sent(STEPS, PRE)
    for syn in LINEAR:
        proj, post = by_target(syn)
        init_all_states([proj, post][0])
        weights = dense(proj.comm)
        with environ.context(precision=32):
            # Every synapse by itself: conductances of each pair.
            pair = init_all_states(syn(PRE * POST))
            each = transform.for_loop(
                lambda x, pair=pair, weights=weights: pair((x[:, None] * weights).reshape(-1) * u.mS),
                jnp.asarray(spikes, float),
            )
        wanted = np.asarray(each.to_decimal(u.mS)).reshape(STEPS, PRE, POST).sum(1)

        def step(x, proj=proj, post=post):
            proj(x)
            post(0.0 * u.mA)
            return proj.syn.g.value if hasattr(proj.syn, "g") else post.V.value

        if syn is not ds.DualExpon:
            found = transform.for_loop(step, jnp.asarray(spikes)).to_decimal(u.mS)
            assert np.allclose(found, wanted, rtol=1e-5, atol=1e-6)
            states = sum(x.value.size for x in proj.syn.states(HiddenState).values())
            assert states <= 2 * POST
        results = []
        for made in (by_source, by_target):
            projection, post = made(syn)
            init_all_states(projection)
            results.append(run(projection, post, spikes))
        assert results[0].std() > 0.01 and np.allclose(*results, rtol=1e-5)


@pytest.mark.parametrize("syn", SYNAPSES, ids=lambda x: x.__name__)
def test_every_synapse_may_be_aligned_with_its_sources(syn):
    spikes = sent(STEPS, PRE)
    proj, post = by_source(syn, ds.MgBlock if syn in (ds.BioNMDA, ds.NMDA) else ds.CUBA, stp=ds.STP(PRE))
    init_all_states(proj)
    alone = run(proj, post, spikes)
    assert np.isfinite(alone).all() and (alone[-1] != -60).any()
    init_all_states(proj, 2)
    both = run(proj, post, np.stack([spikes, np.zeros_like(spikes)], 1))
    assert np.allclose(both[:, 0], alone, rtol=1e-6) and np.allclose(both[:, 1], -60)


@pytest.mark.parametrize("plastic", [ds.STP, ds.STD])
def test_plasticity_scales_what_spikes_bring(plastic):
    spikes = sent(STEPS, PRE, rate=0.3)
    proj, post = by_target(ds.Expon, stp=plastic.desc(PRE))
    init_all_states(proj)
    model = init_all_states(plastic(PRE))
    released = transform.for_loop(model, jnp.asarray(spikes))
    other, there = by_target(ds.Expon)
    init_all_states(other)
    assert np.allclose(run(proj, post, spikes), run(other, there, released), rtol=1e-6)
    assert 0 < np.asarray(released)[spikes].min() < 0.99


# Delays

KINDS = {
    "AlignPostProj": lambda post, **o: ds.AlignPostProj(
        comm=connection(), syn=ds.Expon.desc(POST), out=ds.CUBA.desc(), post=post, **o
    ),
    "with its own synapse": lambda post, **o: ds.AlignPostProj(
        comm=connection(), syn=ds.Expon(POST), out=ds.CUBA(), post=post, **o
    ),
    "DeltaProj": lambda post, **o: ds.DeltaProj(comm=connection(unit=u.mV), post=post, **o),
    "CurrentProj": lambda post, **o: ds.CurrentProj(comm=connection(), out=ds.CUBA(), post=post, **o),
    "align_pre_projection": lambda post, **o: ds.align_pre_projection(
        syn=ds.AMPA(PRE, g_initializer=ds.init.Constant(0.0)), comm=connection(), out=ds.CUBA(), post=post, **o
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_a_delay_shifts_what_arrives(kind):
    spikes = sent(STEPS, PRE)
    spikes[-10:] = False
    post = target()
    plain = run(init_all_states(KINDS[kind](post)), post, spikes)
    assert plain.std() > 0.01
    for batch in (None, 2):
        for delay in (0.7, np.full(PRE, 0.7), 0.0):
            late = target()
            proj = init_all_states(KINDS[kind](late, delay=delay * u.ms), batch)
            found = run(proj, late, spikes if batch is None else np.stack([spikes] * 2, 1))
            shift = round(float(np.max(delay)) / 0.1)
            assert np.allclose(found[shift:], plain[: STEPS - shift][:, None] if batch else plain[: STEPS - shift], rtol=1e-5)
            assert np.allclose(found[:shift], -60)


@pytest.mark.parametrize("delay", [0.25, 0.3, 1.0, np.linspace(0.0, 0.95, PRE)], ids=["2.5 steps", "3", "10", "per source"])
def test_a_spike_arrives_once_and_when_it_is_due(delay):
    """What is added to the potential is the weights, in all, at the delay on average."""
    post = ds.LIF(POST, tau=1e9 * u.ms, V_th=1e9 * u.mV)
    proj = ds.DeltaProj(comm=connection(unit=u.mV), post=post, delay=delay * u.ms)
    weights = dense(proj.comm)
    init_all_states(proj)
    source = 17
    spikes = np.zeros((20, PRE), bool)
    spikes[3, source] = True
    jumps = np.diff(run(proj, post, spikes), axis=0, prepend=0.0)
    assert np.allclose(jumps.sum(0), weights[source], rtol=1e-5)
    due = np.broadcast_to(delay, PRE)[source]
    reached = weights[source] > 0
    mean = (np.arange(20)[:, None] * jumps).sum(0)[reached] / weights[source][reached]
    assert np.allclose(mean, 3 + due / 0.1, rtol=1e-4) and (np.count_nonzero(jumps, axis=0)[reached] <= 2).all()


class Delayed(ds.Module):
    """The README's network with delays: the spikes of one population, sliced."""

    def __init__(self, delays, num=512):
        super().__init__()
        self.n_exc = num * 4 // 5
        self.N = ds.LIFRef(
            num, V_rest=-60.0 * u.mV, V_th=-50.0 * u.mV, V_reset=-60.0 * u.mV, tau=20.0 * u.ms, tau_ref=5.0 * u.ms,
            V_initializer=ds.init.Normal(-55.0, 2.0, unit=u.mV),
        )  # fmt: skip
        parts = (self.n_exc, 0.6, 5.0, 0.0), (num - self.n_exc, 6.7, 10.0, -80.0)
        self.E, self.I = (
            ds.align_post_projection(
                comm=ds.nn.EventFixedProb(size, num, conn_num=0.1, conn_weight=weight * u.siemens),
                syn=ds.Expon.desc(num, tau=tau * u.ms), out=ds.COBA.desc(E=E * u.mV), post=self.N, delay=delays(size),
            )
            for size, weight, tau, E in parts
        )  # fmt: skip

    def update(self):
        spikes = self.N.get_spike() != 0.0
        self.E(spikes[: self.n_exc])
        self.I(spikes[self.n_exc :])
        return self.N(20.0 * u.mA)


DELAYS = {
    "one for all": (lambda size: 0.85 * u.ms, 1),
    "one per source": (lambda size: np.linspace(0.0, 1.5, size) * u.ms, 3),
}


@pytest.mark.parametrize("delays", DELAYS)
def test_spikes_do_not_depend_on_the_devices_and_are_exchanged_once(delays):
    given, exchanges = DELAYS[delays]
    found = []
    for devices in (1, 2, 3):
        ds.random.seed(3)
        with ds.use_mesh(devices=devices, exchange="mask"):
            net = init_all_states(Delayed(given))
        step = transform.jit(lambda net=net: transform.for_loop(net, length=200))
        if devices == 2:
            text = step.lower().compile().as_text()
            looped = [line for line in text.splitlines() if "/while/" in line]
            inside = [line for line in looped if " all-gather(" in line]
            assert len(inside) == exchanges
            assert not any(word in line for line in looped for word in ("all-reduce(", "all-to-all(", "permute("))
            if exchanges == 1:
                assert "pred[512]" in inside[0]
        found.append(np.asarray(step()))
    assert 100 < found[0].sum() < 50_000 and all(np.array_equal(found[0], other) for other in found[1:])


def test_gradients_go_through_synapses_plasticity_and_delays():
    def loss(weights, scale):
        spikes = jnp.asarray(sent(25, PRE, rate=0.3), float)
        post = without_spikes(target())
        comm = ds.nn.EventFixedNumConn(PRE, POST, 6, 1.0 * u.mS, seed=1)
        proj = ds.align_post_projection(
            comm=comm, syn=ds.DualExpon.desc(POST), out=ds.COBA.desc(E=0 * u.mV), post=post, stp=ds.STP(PRE), delay=0.45 * u.ms
        )
        comm.weight.value = weights * u.mS
        for module in (*proj.nodes().values(), post):
            module.init_state()
        init_all_states(proj)
        return (
            transform.for_loop(lambda x: (proj(x), post(0 * u.mA), post.V.value.to_decimal(u.mV) + 60.0)[-1], spikes * scale)
        ).sum()

    with environ.context(precision=64):
        found = jax.jit(jax.grad(loss, (0, 1)))(1.3, 0.8)
        for n, move in enumerate(np.eye(2) * 1e-4):
            up, down = (jax.jit(loss)(*(np.array([1.3, 0.8]) + sign * move)) for sign in (1, -1))
            assert np.isclose(found[n], (up - down) / 2e-4, rtol=1e-6) and found[n] != 0


@pytest.mark.parametrize("delay", [None, 0.45], ids=["at once", "4.5 steps"])
@pytest.mark.parametrize("kind", KINDS)
def test_every_projection_gives_the_same_on_any_mesh(kind, delay):
    results = []
    for devices in (1, 3):
        with ds.use_mesh(devices=devices):
            post = target()
            proj = init_all_states(KINDS[kind](post, delay=delay if delay is None else delay * u.ms))
        results.append(run(proj, post, sent(STEPS, PRE)))
    assert np.array_equal(*results) and results[0].std() > 0.01


# "with its own synapse" is an AlignPostProj that calls the same.
@pytest.mark.parametrize("kind", [pytest.param(k, marks=pytest.mark.slow if "own" in k else []) for k in KINDS])
def test_gradients_through_every_projection_are_those_of_finite_differences(kind):
    def loss(weight, scale):
        init_all_states(proj)
        comm.weight.value = weights * weight
        spikes = jnp.asarray(sent(25, PRE, rate=0.3), float) * scale
        V = transform.for_loop(lambda x: (proj(x), post(0 * u.mA), post.V.value.to_decimal(u.mV) + 60.0)[-1], spikes)
        return jnp.sin(V * jnp.linspace(0.5, 1.5, POST)).sum()

    with environ.context(precision=64):
        post = without_spikes(target())
        proj = init_all_states(KINDS[kind](post, delay=0.45 * u.ms))
        comm = next(part for part in proj.nodes().values() if isinstance(part, ds.nn.EventFixedNumConn))
        weights = comm.weight.value
        # With 0.8, transmitter would end on a step: a kink.
        at, program = np.array([1.3, 0.83]), transform.jit(loss)
        found = transform.jit(lambda *at: transform.grad(loss, argnums=(0, 1))(*at))(*at)
        for n, move in enumerate(np.eye(2) * 1e-6):
            up, down = (program(*(at + sign * move)) for sign in (1, -1))
            assert np.isclose(found[n], (up - down) / 2e-6, rtol=1e-5, atol=1e-7) and found[n] != 0


def without_spikes(cells):
    """Nothing spikes here; the surrogate gradient is not 0 for all that."""
    cells.spk_fun = lambda x: jnp.asarray(x >= 0, x.dtype)
    return cells


# Electrical coupling


def test_gradients_through_gap_junctions_are_those_of_finite_differences():
    def loss(weight):
        cell = without_spikes(ds.LIF(6, V_initializer=np.linspace(-3.0, 0.5, 6) * u.mV, V_th=50.0 * u.mV))
        ring = np.arange(6), np.roll(np.arange(6), 1)
        gap = ds.SymmetryGapJunction(cell, "V", lambda *sizes: ring, weight * u.siemens)
        init_all_states(gap)
        V = transform.for_loop(lambda: (gap(), cell(2.0 * u.mA), cell.V.value.to_decimal(u.mV))[-1], length=20)
        return jnp.sin(V).sum()

    with environ.context(precision=64):
        at = np.linspace(0.5, 2.0, 6)
        found, program = jax.jit(jax.grad(loss))(at), jax.jit(loss)
        wanted = [(program(at + move) - program(at - move)) / 2e-6 for move in 1e-6 * np.eye(6)]
    assert found.all() and np.allclose(found, wanted, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("batch", [None, 2])
def test_gap_junctions_carry_the_difference_of_potentials(batch):
    V = np.random.default_rng(0).normal(-60, 5, (2, 5))
    pre, post = (ds.LIF(5, V_th=0 * u.mV, V_reset=-60 * u.mV, V_rest=v * u.mV, V_initializer=v * u.mV) for v in V)
    pairs = np.array([0, 1, 1, 4]), np.array([2, 2, 3, 0])
    weights = np.array([0.1, 0.2, 0.3, 0.4])
    same = ds.SymmetryGapJunction((pre, post), "V", lambda *sizes: pairs, weights * u.mS)
    other = ds.AsymmetryGapJunction(pre, "V", post, "V", lambda *sizes: pairs, np.array([0.5, 0.0]) * u.mS)
    parts = ds.Projection()
    parts.all = [same, other]
    init_all_states(parts, batch)
    parts()
    higher = V[0][pairs[0]] - V[1][pairs[1]]
    into_post = np.bincount(pairs[1], higher * (weights + 0.5), minlength=5)
    into_pre = -np.bincount(pairs[0], higher * weights, minlength=5)
    for cell, current in ((pre, into_pre), (post, into_post)):
        found = cell.sum_current_inputs(0.0 * u.uA, cell.V.value).to_decimal(u.uA)
        assert found.shape[:-1] == (() if batch is None else (batch,)) and np.allclose(found, current, rtol=1e-4, atol=1e-5)
        cell(0.0 * u.mA)
        with pytest.raises(ParameterError, match="no conductance was bound"):
            cell(0.0 * u.mA)


def test_gap_junctions_give_the_same_on_any_mesh():
    results = []
    for devices in (1, 3):
        with ds.use_mesh(devices=devices):
            cell = ds.LIF(300, V_initializer=np.linspace(-3.0, 0.5, 300) * u.mV)
            ring = np.arange(300), np.roll(np.arange(300), 1)
            gap = ds.SymmetryGapJunction(cell, "V", lambda *sizes, ring=ring: ring, 50.0 * u.siemens)
            init_all_states(gap)
        out = transform.jit(lambda c=cell, g=gap: transform.for_loop(lambda: (g(), c(2.0 * u.mA), c.V.value)[-1], length=30))()
        results.append(out.to_decimal(u.mV))
    assert np.array_equal(*results) and results[0].std() > 0.1


def bad(kind, **changed):
    return KINDS[kind](target(), **changed)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: bad("AlignPostProj", delay=1.5), UnitError, r"AlignPostProj\(delay=...\): needs a time"),
        (lambda: bad("DeltaProj", delay=-1 * u.ms), ParameterError, "must be at least 0 ms"),
        (lambda: bad("CurrentProj", delay=np.ones(3) * u.ms), ParameterError, "has shape \\(3,\\)"),
        (lambda: ds.DeltaProj(comm=connection(), post=target()), UnitError, "Give them in mV"),
        (lambda: ds.CurrentProj(comm=abs, out=ds.CUBA(), post=target(), delay=1 * u.ms), ParameterError, "in_size of comm"),
        (lambda: ds.CurrentProj(comm=connection(), out=3, post=target()), ParameterError, "needs an output"),
        (lambda: by_source(lambda n, g_initializer: ds.Expon(n, g_initializer=0.0 * u.mS)), UnitError, "LIF takes a current"),
        (lambda: by_source(lambda n, g_initializer: ds.Expon(7)), ParameterError, "the synapse has \\(7,\\) sources"),
        (lambda: by_source(lambda n, g_initializer: 3), ParameterError, "needs a synapse"),
        (lambda: by_target(ds.AMPA), ParameterError, "align_pre_projection takes every synapse"),
        (lambda: by_target(ds.Expon, stp=ds.STP(3)), ParameterError, "stp has \\(3,\\) sources"),
        (lambda: by_target(ds.Expon, stp=ds.Expon(PRE)), ParameterError, "needs short-term plasticity"),
        (lambda: ds.Projection()(), ParameterError, "holds no projections"),
        (lambda: ds.SymmetryGapJunction(target(), "V", lambda a, b: ([0], [99]), 1 * u.mS), ParameterError, "from 0 to 29"),
        (lambda: ds.SymmetryGapJunction(target(), "V", lambda a, b: ([0], [1]), 1 * u.mV), UnitError, "needs a conductance"),
        (
            lambda: ds.AsymmetryGapJunction(target(), "V", target(), "V", lambda a, b: ([0], [1]), 1 * u.mS),
            ParameterError, "has the shape",
        ),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_when_it_is_made(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_a_population_gets_what_it_takes_in_its_own_unit():
    post, alone = ds.Izhikevich(POST), ds.Izhikevich(POST)
    per_ms = ds.CUBA.desc(scale=1.0 * u.mV / u.ms / u.mS)
    proj = ds.align_post_projection(comm=connection(), syn=ds.Expon.desc(POST), out=per_ms, post=post)
    for module in (proj, post, alone):
        init_all_states(module)
    proj(np.ones(PRE, bool))
    post()
    alone()
    assert (post.V.value > alone.V.value).all()
    with pytest.raises(UnitError, match="Izhikevich takes something in mV"):
        ds.align_post_projection(comm=connection(), syn=ds.Expon.desc(POST), out=ds.CUBA.desc(), post=post)
