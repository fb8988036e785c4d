"""The kernels of synapses that change: compiled and reference bit for bit."""

import functools
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dist_sim.kernels import history, plastic
from dist_sim.kernels.decays import decayed, decays
from dist_sim.kernels.philox import key_words
from dist_sim.kernels.plastic_source import load_compiled
from dist_sim.kernels.scalar.guarded import run
from dist_sim.kernels.scalar.text import trace
from dist_sim.nest.synapses import SYNAPSES
from dist_sim.nest.synapses.powers import power
from dist_sim.nest.synapses.text import Model

pytestmark = pytest.mark.skipif(shutil.which("g++") is None and shutil.which("clang++") is None, reason="no C++ compiler")

ROWS, DELAYS, MIN_DELAY, TARGETS, SLOTS = 12, 5, 2, 20, 32
LONGEST, PERIOD = MIN_DELAY + DELAYS - 1, 50


CHANGING = {name: model for name, model in SYNAPSES.items() if model.on_pre is not None}


def text_of(name, dtype):
    model = CHANGING[name]
    p = {n: float(q.default) for n, q in model.settable().items()} | ({"n": 5.0} if name == "quantal_stp_synapse" else {})
    return Model(model).text(dtype, model.uniforms(p)), p


def problem(rng, text, defaults, capacity):
    """Some kinds of synapses whose parameters are not far from the defaults, and exponents that are powers or none."""
    n, kinds, dtype = 400, 4, text.dtype
    run = np.sort(rng.integers(0, ROWS * DELAYS, n))
    pointers = np.concatenate([[0], np.cumsum(np.bincount(run, minlength=ROWS * DELAYS))]).astype(np.uint32)
    fixed = np.stack([rng.integers(0, TARGETS, n), rng.integers(0, kinds, n)], axis=1).astype(np.int32)
    given = {
        "Wmax": [2, 2, 2, -2],
        "mu_plus": [1, 0, 0.4, 0.02],
        "mu_minus": [1, 0, 0.7, 1],
        "mu": [0.4, 1, 0, 0.2],
        "n": [5, 5, 3, 1],
    }
    given |= {
        "lambda_": [0.1, 0.05, 0.2, 0.1],
        "alpha": [1, 1.2, 1, 0.7],
        "p_transmit": [0.5, 0.1, 0.9, 1.0],
        "dt": [0.1] * kinds,
    }
    numbers = np.array([given.get(name, [defaults.get(name)] * kinds) for name in text.parameters], dtype).T
    weight = rng.uniform(0.2, 1.9, n) * np.sign(np.array(given["Wmax"])[fixed[:, 1]] if "Wmax" in text.parameters else 1)
    start = np.stack([weight, *(np.full(n, defaults.get(name, 0.0)) for name in text.variables[1:])], axis=1)
    table = decays(np.array([0.0, 10.0, 20.0, 33.0]), 0.1, dtype)
    index = np.full(SLOTS, -1, np.int32)
    index[rng.permutation(SLOTS)[:TARGETS]] = np.arange(TARGETS)
    rows = [np.arange(TARGETS), TARGETS + np.arange(TARGETS), *(rng.integers(1, 4, TARGETS) for _ in text.traces)]
    constants = (
        np.stack(rows, axis=1).astype(np.int32),
        np.full(TARGETS, 2.0**18, dtype),
        numbers,
        rng.integers(0, 4, (kinds, len(text.decays))).astype(np.int32),
        table.fine,
        table.coarse,
    )
    posts = (
        np.zeros((TARGETS, capacity), np.int32),
        np.zeros((TARGETS, capacity, text.stored), dtype),
        np.zeros(TARGETS, np.uint32),
    )
    return (
        pointers,
        [fixed, rng.permutation(n).astype(np.uint32), start.astype(dtype), np.full(n, -1, np.int32)],
        posts,
        constants,
        index,
        table.bits,
    )


def simulated(backend, wide, name="stdp_synapse", *, steps=130, capacity=64, threads=1, period=PERIOD):
    """Random spikes of both sides, sources up to three times in a step: all inputs, and what is left in the end."""
    rng = np.random.default_rng(8)
    dtype, integer = (np.float64, np.int64) if wide else (np.float32, np.int32)
    text, defaults = text_of(name, dtype)
    if backend == "native":
        load_compiled([text])
    *arrays, bits = problem(rng, text, defaults, capacity)
    pointers, (fixed, place, state, last), posts, constants, index = jax.tree.map(jnp.asarray, arrays)
    options = dict(period=period, bits=int(bits), backend=backend)
    deliver = jax.jit(
        functools.partial(plastic.deliver, text, min_delay=MIN_DELAY, num_delays=DELAYS, threads=threads, stream=7, **options)
    )
    record = jax.jit(functools.partial(plastic.record, stored=text.stored, longest=LONGEST, **options))
    ring, marks = np.zeros(512, np.uint32), np.zeros((LONGEST + 1, 2), np.uint32)
    counters, full, head = jnp.zeros(history.NUM_COUNTERS, jnp.uint32), jnp.zeros(1, jnp.uint32), 0
    inputs = []
    for step in range(steps):
        now = jnp.int32(step)
        empty = jnp.zeros((threads, 2 * TARGETS), integer)
        flight = jnp.asarray(ring), jnp.asarray(marks), counters
        synapses = fixed, place, state, last
        counters, state, last, arriving = deliver(now, key_words(3), flight, pointers, synapses, posts, constants, empty)
        inputs.append(np.asarray(arriving).sum(axis=0))
        rows = np.repeat(np.arange(ROWS), rng.choice(4, ROWS, p=[0.85, 0.1, 0.03, 0.02]))
        ring[(head + np.arange(len(rows))) % 512] = rows
        marks[step % len(marks)] = head, len(rows)
        head = (head + len(rows)) % 512
        words = jnp.asarray(np.packbits(rng.random(SLOTS) < 0.08, bitorder="little").view(np.uint32))
        *new, full = record(now, words, index, posts, full, constants)
        posts = tuple(new)
    return np.array(inputs), counters, last, state, posts[0], posts[1], posts[2], full


@pytest.mark.parametrize("wide", [False, True], ids=["float32", "float64"])
@pytest.mark.parametrize("name", CHANGING)
def test_both_backends_do_the_same(name, wide):
    with jax.enable_x64(wide):
        ours, theirs = simulated("native", wide, name), simulated("reference", wide, name)
    assert not ours[-1].any() and (np.abs(ours[0]).sum(axis=1) > 0).mean() > 0.9
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(np.asarray(a), np.asarray(b))


def test_a_thread_more_or_a_sweep_more_changes_no_bit():
    wanted = simulated("native", False)
    for given in (dict(threads=3), dict(period=7), dict(period=10_000, capacity=256)):
        np.testing.assert_array_equal(simulated("native", False, **given)[0], wanted[0])


@pytest.mark.parametrize("backend", ["native", "reference"])
def test_a_ring_that_is_too_small_says_so(backend):
    assert simulated(backend, False, steps=120, capacity=4)[-1].all()
    assert not simulated(backend, False, steps=12, capacity=16)[-1].any()


def test_exponentials_come_from_the_tables():
    taus = np.array([0.5, 20.0, 3000.0])
    table = decays(taus, 0.1, np.float64)
    k = np.unique(np.concatenate([np.arange(5000), np.geomspace(1, 2**31 - 1, 3000).astype(np.int64)])).astype(np.int32)
    for row, tau in enumerate(taus):
        with jax.enable_x64(True):
            found = np.asarray(decayed(table.fine, table.coarse, table.bits, row, k))
        wanted = np.exp(-k * (0.1 / tau))
        np.testing.assert_allclose(found[wanted > 1e-290], wanted[wanted > 1e-290], rtol=3e-13)
        assert (found[wanted < 1e-300] < 1e-299).all()


@pytest.mark.parametrize("mu", [0.0, 0.02, 0.4, 1.0, 2.5])
def test_powers(mu):
    x = np.concatenate([[0.0, 1.0, 1e-320], np.geomspace(1e-12, 1, 500)])
    with jax.enable_x64(True):
        text = trace("power", lambda x, mu: (power(x, mu),), ("float", "float"), np.float64)
        (found,) = run(text, [jnp.asarray(x), jnp.asarray(mu)])
    wanted = np.where((x < 1e-300) & (mu != 1) & (mu > 0), 0.0, x**mu)
    np.testing.assert_allclose(np.broadcast_to(found, x.shape), wanted, rtol=2e-14, atol=1e-319)
