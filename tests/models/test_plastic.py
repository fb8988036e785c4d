"""Synapses of Modules that change with spikes: against NEST, against a sum over pairs, and the same on any mesh."""

from __future__ import annotations

import re

import brainunit as u
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from reference.oracle import run_nest
from reference.protocols import DT
from reference.synapses import CHANGING, KINDS, RANDOM, protocols, trains

import dist_sim as ds
from dist_sim import init, nn, transform
from dist_sim.errors import ParameterError, UnitError, UnknownNameError

PRE, POST, STEPS = 60, 40, 1500


@pytest.fixture(autouse=True)
def dt():
    with ds.environ.context(dt=DT * u.ms):
        yield


class Given(ds.Module):
    """Targets whose spikes are given."""

    def __init__(self, size):
        super().__init__()
        self.spikes = ds.State(jnp.zeros(size, bool), axes=("neuron",))

    def get_spike(self):
        return self.spikes.value


def run(plastic, pre, post):
    """What arrives in each step of spikes (steps, sources) and (steps, targets)."""

    def step(sources, targets):
        plastic.post.spikes.value = targets
        return plastic(sources)

    return transform.for_loop(step, jnp.asarray(pre), jnp.asarray(post))


SPREAD = init.Uniform(0.2, 0.6, unit=u.nS)


def connected(synapse, *, size=POST, weight=SPREAD, **taus):
    ds.random.seed(2)
    comm = nn.EventFixedProb(PRE, size, 0.3, weight, seed=4)
    return nn.init_all_states(nn.Plastic(comm, synapse, post=Given(size), **taus))


def stdp(**given):
    return ds.stdp_synapse(**{"lambda_": 0.05, "Wmax": 1 * u.nS} | given)


def spikes(steps=STEPS, pre=PRE, post=POST, rate=0.01):
    rng = np.random.default_rng(1)
    return rng.random((steps, pre)) < rate, rng.random((steps, post)) < rate


@pytest.mark.nest
@pytest.mark.parametrize("name", [name for name in CHANGING if name not in RANDOM])
def test_what_becomes_of_them_is_nests(name):
    """Random trains; the delay, which is a dendrite's in NEST, is one of the targets' spikes here."""
    pairs = [(*pair[:4], 20.0) for pair in trains()]
    description = protocols(name, pairs, duration=920.0)
    reference, kinds = run_nest(description), KINDS[name]
    steps, n, seen = round(920.0 / DT), len(pairs), []
    fired = np.zeros((2 * n, steps), bool)
    fired[reference.senders, np.rint(reference.times / DT).astype(int) - 1] = True
    of_pair = reference.plastic[:, 0].astype(int)
    assert sorted(of_pair) == list(range(n))
    taus = {"tau_minus": 20.0 * u.ms, "tau_minus_triplet": 80.0 * u.ms}
    for number, kind in enumerate(kinds):
        mine = np.arange(number, n, len(kinds))
        late = [round(pairs[k][2] / DT) for k in mine]
        pre = fired[mine].T
        post = np.stack([np.roll(fired[n + k], shift) for k, shift in zip(mine, late, strict=True)], axis=1)
        with ds.environ.context(precision=64):
            weights = np.full(len(mine), 0.5 * kind.get("Wmax", 1.0))
            diagonal = np.arange(len(mine))
            matrix = u.sparse.COO((weights * u.pA, diagonal, diagonal), shape=(len(mine),) * 2)
            model = CHANGING[name]
            given = ({"Wmax": model.parameters["Wmax"].default} if "Wmax" in model.parameters else {}) | kind
            synapse = model(**{k: _quantity(k, v) for k, v in given.items()})
            wanted = {k: v for k, v in taus.items() if k in {trace.tau for trace in model.traces.values()}}
            plastic = nn.init_all_states(nn.Plastic(nn.SparseLinear(matrix), synapse, post=Given(len(mine)), **wanted))
            passed = run(plastic, pre, post).to_decimal(u.pA)
            found = [plastic.weight.value["weight"].to_decimal(u.pA)[:, 0]]
            found += [plastic.variables[v].value[:, 0] for v in description.read]
        row = np.argsort(of_pair)[mine]
        np.testing.assert_allclose(np.stack(found, 1), reference.plastic[row, 3:], rtol=1e-9, atol=1e-12)
        for column, k in enumerate(mine):
            theirs = reference.passed[reference.passed[:, 1] == k, 3]  # in order of time
            ours = np.asarray(passed[:, column])[pre[:, column]]
            np.testing.assert_allclose(ours[: len(theirs)], theirs, rtol=1e-9, atol=1e-12)
            seen.append(theirs)
    assert len(np.unique(np.round(np.concatenate(seen), 6))) > 100


def _quantity(name, value):
    if name.startswith("tau"):
        return value * u.ms
    return value * u.pA if name == "Wmax" else value


def test_additive_ones_add_up_all_pairs():
    """Bounds out of reach: every pair of spikes counts for itself."""
    pre, post = spikes()
    with ds.environ.context(precision=64):
        plastic = connected(
            stdp(lambda_=1e-4, alpha=0.9, mu_plus=0.0, mu_minus=0.0, tau_plus=15 * u.ms, Wmax=2 * u.nS), tau_minus=30 * u.ms
        )
        before = plastic.weight.value.to_decimal(u.nS)
        run(plastic, pre, post)
        change = np.asarray(plastic.weight.value.to_decimal(u.nS) - before)
    (rows,) = plastic.comm.synapses.incoming.values()
    for target, slot, source in zip(*rows.ends, rows.sources, strict=True):
        gap = np.flatnonzero(post[:, target])[:, None] * DT - np.flatnonzero(pre[:, source])[None] * DT
        # At the same time they are no pair.
        grown = np.where(gap > 1e-9, np.exp(-np.abs(gap) / 15.0), 0.0).sum()
        shrunk = np.where(gap < -1e-9, np.exp(-np.abs(gap) / 30.0), 0.0).sum()
        assert np.isclose(change[target, slot], 2 * 1e-4 * (grown - 0.9 * shrunk), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", [name for name in CHANGING if name not in RANDOM])
def test_compiled_and_reference_are_equal_to_the_bit(name):
    numbers = np.random.default_rng(2).random((300, PRE)) * spikes(300, rate=0.05)[0]
    given = {"Wmax": 1 * u.nS} if "Wmax" in CHANGING[name].parameters else {}
    taus = {trace.tau: 20 * u.ms for trace in CHANGING[name].traces.values()}
    outcomes = []
    for backend in ("native", "reference"):
        weight = 0.5 * u.nS if CHANGING[name].common_weight else SPREAD
        plastic = connected(CHANGING[name](**given), weight=weight, **taus)
        plastic.comm.synapses.table = plastic.comm.synapses.table._replace(backend=backend)
        arrived = run(plastic, numbers.astype(np.float32), spikes(300, rate=0.05)[1])
        outcomes.append([arrived, *(s.value for s in plastic.states().values() if s is not plastic.post.spikes)])
    real = np.asarray(plastic.comm.synapses.sources.value)[0, :POST] >= 0
    for one, other in zip(*map(jax.tree.leaves, outcomes), strict=True):
        one, other = (np.where(real, x, 0) if np.shape(x) == real.shape else x for x in map(np.asarray, (one, other)))
        np.testing.assert_array_equal(one, other)


class Learning(ds.Module):
    """Cells that excite each other by synapses that both release by what was released before, and change with pairs of
    spikes; a delay before them; and cells that inhibit them."""

    def __init__(self):
        super().__init__()
        start = init.Uniform(-60.0, -50.0, unit=u.mV)
        self.exc, self.inh = (
            ds.LIFRef(n, V_rest=-60 * u.mV, V_th=-50 * u.mV, V_reset=-60 * u.mV, tau=20 * u.ms, tau_ref=3 * u.ms,
                      V_initializer=start) for n in (200, 50)
        )  # fmt: skip
        comm = nn.EventFixedProb(200, 200, 0.2, init.Uniform(0.2, 0.6, unit=u.mS), seed=1)
        self.plastic = nn.Plastic(comm, ds.stdp_synapse(lambda_=0.05, Wmax=1.2 * u.mS), post=self.exc, tau_minus=20 * u.ms)
        self.to_exc = ds.AlignPostProj(
            comm=self.plastic, stp=ds.STP.desc(200, U=0.4, tau_f=100 * u.ms), delay=1.5 * u.ms,
            syn=ds.Expon.desc(200, tau=5 * u.ms), out=ds.COBA.desc(E=0 * u.mV), post=self.exc,
        )  # fmt: skip
        self.to_inh, self.back = (
            ds.AlignPostProj(
                comm=nn.EventFixedProb(a, b, 0.2, w * u.mS, seed=2), syn=ds.Expon.desc(b, tau=5 * u.ms),
                out=ds.COBA.desc(E=E * u.mV), post=to,
            )
            for a, b, w, E, to in ((200, 50, 0.5, 0.0, self.inh), (50, 200, 4.0, -80.0, self.exc))
        )

    def update(self):
        sent = self.exc.get_spike()
        self.to_exc(sent)
        self.to_inh(sent)
        self.back(self.inh.get_spike())
        return self.exc(20.0 * u.mA), self.inh(20.0 * u.mA)


def learned(devices, exchange="mask"):
    ds.random.seed(5)
    with ds.use_mesh(devices=devices, exchange=exchange):
        net = nn.init_all_states(Learning())
        before = np.asarray(net.plastic.weight.value.mantissa)
        out = transform.for_loop(net, length=2000)
    found = [np.asarray(x) for x in (*out, net.plastic.weight.value.mantissa, net.plastic.variables["Kplus"].value)]
    return before, found


@pytest.mark.parametrize("exchange", ["mask", "memory"])
def test_learning_with_release_is_the_same_on_any_mesh(exchange):
    before, one = learned(1)
    rate = one[0].sum() / 200 / 0.2
    assert 2 < rate < 100 and np.abs(one[2] - before).max() > 0.05, "without spikes nothing is learnt"
    for devices in (2, 3):
        again, found = learned(devices, exchange)
        np.testing.assert_array_equal(again, before)
        for a, b in zip(found, one, strict=True):
            np.testing.assert_array_equal(a, b)


def test_a_checkpoint_goes_on_on_other_devices(tmp_path):
    whole = learned(1)[1]
    for devices in (2, 1):
        ds.random.seed(5 if devices == 2 else 6)
        with ds.use_mesh(devices=devices):
            net = nn.init_all_states(Learning())
            if devices == 1:
                ds.checkpoint.restore(tmp_path / "saved", net=net)
            out = transform.for_loop(net, length=1000)
            ds.checkpoint.save(tmp_path / "saved", net=net)
    np.testing.assert_array_equal(out[0], whole[0][1000:])
    np.testing.assert_array_equal(net.plastic.weight.value.mantissa, whole[2])


def test_release_is_what_they_weight():
    """With no change of weights, STP and a plastic projection give what STP and a static one give."""
    pre = jnp.asarray(spikes()[0])
    found = []
    for change in (False, True):
        ds.random.seed(3)
        post = ds.LIF(POST, V_th=1e6 * u.mV)
        comm = nn.EventFixedProb(PRE, POST, 0.3, init.Uniform(0.2, 0.6, unit=u.mV), seed=4)
        if change:
            comm = nn.Plastic(comm, ds.stdp_synapse(lambda_=0.0, Wmax=1 * u.mV), post=post, tau_minus=20 * u.ms)
        proj = nn.init_all_states(ds.DeltaProj(comm=comm, post=post, stp=ds.STP(PRE), delay=1.2 * u.ms))
        nn.init_all_states(post)

        def step(x, proj=proj, post=post):
            proj(x)
            post(0 * u.mA)
            return post.V.value

        found.append(transform.for_loop(step, pre).to_decimal(u.mV))
    assert found[0].std() > 0.1
    np.testing.assert_allclose(*found, rtol=1e-5)


def test_networks_side_by_side_are_each_alone():
    pre, post = spikes(200, rate=0.05)
    alone = []
    for k in range(3):
        plastic = connected(stdp(), tau_minus=20 * u.ms)
        run(plastic, np.roll(pre, k, axis=1), post)
        alone.append(plastic.weight.value.mantissa)
    plastic = connected(stdp(), tau_minus=20 * u.ms)
    states = [plastic.weight, *plastic.variables.values(), plastic.now, plastic.last, plastic.last_post, plastic.traces]
    start = [state.value for state in states]

    def weights(sources):
        for state, value in zip(states, start, strict=True):
            state.value = value
        run(plastic, sources, post)
        return plastic.weight.value.mantissa

    together = transform.vmap(weights, out_states=states)(jnp.stack([np.roll(pre, k, axis=1) for k in range(3)]))
    np.testing.assert_array_equal(together, jnp.stack(alone))


def test_one_weight_for_all_becomes_one_for_each():
    plastic = connected(stdp(), weight=0.5 * u.nS, tau_minus=20 * u.ms)
    run(plastic, *spikes())
    assert plastic.weight.value.shape == (POST, plastic.comm.synapses.width)
    assert np.asarray(plastic.weight.value.to_decimal(u.nS)).std() > 0.01


def test_they_have_no_derivative_and_say_so():
    plastic = connected(stdp(), tau_minus=20 * u.ms)
    loss = transform.grad(lambda: (plastic(jnp.ones(PRE)).mantissa ** 2).sum(), plastic.weight)
    with pytest.raises(ParameterError, match="have no derivative. Cut what reaches them"):
        loss()


def comm(**given):
    return nn.EventFixedProb(PRE, POST, 0.3, 0.5 * u.nS, seed=4, **given)


@pytest.mark.parametrize(
    ("wrong", "error", "says"),
    [
        (lambda: nn.Plastic(nn.Linear(3, 4), stdp(), post=Given(4)), ParameterError, "has no synapses that could change"),
        (lambda: nn.Plastic(comm(), ds.STP(PRE), post=Given(POST)), ParameterError, "is no synapse model"),
        (lambda: nn.Plastic(comm(), stdp(), post=Given(POST)), ParameterError, "give tau_minus, of the traces"),
        (lambda: connected(stdp(), tau_minus=20 * u.ms, tau_x=1 * u.ms), ParameterError, "has no tau_x"),
        (lambda: connected(stdp(), tau_minus=20 * u.mV), UnitError, "tau_minus"),
        (lambda: connected(stdp(), tau_minus=-1 * u.ms), ParameterError, "at least 0"),
        (lambda: connected(ds.stdp_synapse(), tau_minus=20 * u.ms), ParameterError, "give the largest weight"),
        (lambda: connected(stdp(Wmax=1 * u.pA), tau_minus=20 * u.ms), UnitError, "Wmax"),
        (lambda: connected(stdp(Wmax=0.3 * u.nS), tau_minus=20 * u.ms), ParameterError, "no weight may be beyond Wmax"),
        (lambda: connected(stdp(weight=1 * u.nS), tau_minus=20 * u.ms), ParameterError, "is the Simulator's"),
        (lambda: connected(ds.static_synapse()), ParameterError, "do not change"),
        (lambda: connected(ds.bernoulli_synapse()), ParameterError, "draws random numbers"),
        (lambda: nn.Plastic(comm(conn_delay=1 * u.ms), stdp(), post=Given(POST)), ParameterError, "synapses of comm have delays"),
        (lambda: ds.stdp_synapse(lamda_=0.1), UnknownNameError, "lamda_"),
        (lambda: nn.init_all_states(connected(stdp(), tau_minus=20 * u.ms), batch_size=2), ParameterError, "and not to a batch"),
        (lambda: connected(stdp(), tau_minus=20 * u.ms)(jnp.ones((2, PRE))), ParameterError, "spikes have the shape"),
        (lambda: connected(stdp(), size=30, tau_minus=20 * u.ms)(jnp.ones(PRE + 1)), ParameterError, "spikes have the shape"),
        (
            lambda: ds.align_pre_projection(
                comm=connected(stdp(), tau_minus=20 * u.ms), syn=ds.Expon(PRE), out=ds.COBA(E=0 * u.mV), post=ds.LIF(POST)
            ),
            ParameterError, "take spikes, and here come conductances",
        ),
        (lambda: ds.DeltaProj(comm=comm(), post=ds.LIF(POST), stp=ds.STP(3)), ParameterError, "stp has (3,) sources; comm has"),
    ],
)  # fmt: skip
def test_errors(wrong, error, says):
    with pytest.raises(error, match=re.escape(says)):
        wrong()


def test_states_are_made_first_and_for_one_dt():
    fresh = nn.Plastic(comm(), stdp(), post=Given(POST), tau_minus=20 * u.ms)
    with pytest.raises(ParameterError, match="are not there yet"):
        fresh(jnp.ones(PRE))
    nn.init_all_states(fresh)
    with ds.environ.context(dt=0.2 * u.ms), pytest.raises(ParameterError, match="were made for dt=0.1 ms; now it is 0.2 ms"):
        fresh(jnp.ones(PRE))
