"""The kernels of plastic synapses: compiled and reference bit for bit where arithmetic is integer, else to a few roundings."""

import functools
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dist_sim.kernels import history, stdp

pytestmark = pytest.mark.skipif(shutil.which("g++") is None and shutil.which("clang++") is None, reason="no C++ compiler")

ROWS, DELAYS, MIN_DELAY, TARGETS, SLOTS = 12, 5, 2, 20, 32
LONGEST, PERIOD = MIN_DELAY + DELAYS - 1, 50


def problem(rng, dtype, capacity):
    n = 400
    run = np.sort(rng.integers(0, ROWS * DELAYS, n))
    pointers = np.concatenate([[0], np.cumsum(np.bincount(run, minlength=ROWS * DELAYS))]).astype(np.uint32)
    fixed = np.stack([rng.integers(0, TARGETS, n), rng.integers(0, 4, n)], axis=1).astype(np.int32)
    # Exponents that are powers, and those that are none; one kind of negative weights.
    kinds = np.array([[2, 0.1, 1, 1, 1], [2, 0.05, 1.2, 0, 0], [2, 0.2, 1, 0.4, 0.7], [-2, 0.1, 1, 0.02, 1]], dtype)
    weight = rng.uniform(0.2, 1.9, n) * np.sign(kinds[fixed[:, 1], 0])
    decays = stdp.decays(np.array([10.0, 20.0, 33.0]), 0.1, dtype)
    index = np.full(SLOTS, -1, np.int32)
    index[rng.permutation(SLOTS)[:TARGETS]] = np.arange(TARGETS)
    places = np.stack([np.arange(TARGETS), TARGETS + np.arange(TARGETS), rng.integers(0, 3, TARGETS)], axis=1).astype(np.int32)
    constants = (
        places,
        np.full(TARGETS, 2.0**18, dtype),
        kinds,
        rng.integers(0, 3, 4).astype(np.int32),
        decays.fine,
        decays.coarse,
    )
    posts = np.zeros((TARGETS, capacity), np.int32), np.zeros((TARGETS, capacity), dtype), np.zeros(TARGETS, np.uint32)
    synapses = [fixed, np.stack([weight, np.zeros(n)], axis=1).astype(dtype), np.full(n, -1, np.int32)]
    return pointers, synapses, posts, constants, index, decays.bits


def simulated(backend, wide, *, steps=130, capacity=64, threads=1, period=PERIOD):
    """Random spikes of both sides, sources up to twice in a step: all inputs, and what is left in the end."""
    rng = np.random.default_rng(8)
    dtype, integer = (np.float64, np.int64) if wide else (np.float32, np.int32)
    pointers, (fixed, state, last), posts, constants, index, bits = jax.tree.map(jnp.asarray, problem(rng, dtype, capacity))
    bits = int(bits)
    options = dict(period=period, bits=bits, backend=backend)
    deliver = jax.jit(functools.partial(stdp.deliver, min_delay=MIN_DELAY, num_delays=DELAYS, threads=threads, **options))
    record = jax.jit(functools.partial(stdp.record, longest=LONGEST, **options))
    ring, marks = np.zeros(512, np.uint32), np.zeros((LONGEST + 1, 2), np.uint32)
    counters, full, head = jnp.zeros(history.NUM_COUNTERS, jnp.uint32), jnp.zeros(1, jnp.uint32), 0
    inputs = []
    for step in range(steps):
        now = jnp.int32(step)
        empty = jnp.zeros((threads, 2 * TARGETS), integer)
        flight = jnp.asarray(ring), jnp.asarray(marks), counters
        counters, state, last, arriving = deliver(now, flight, pointers, (fixed, state, last), posts, constants, empty)
        inputs.append(np.asarray(arriving).sum(axis=0))
        rows = np.repeat(np.arange(ROWS), rng.choice(3, ROWS, p=[0.85, 0.1, 0.05]))
        ring[(head + np.arange(len(rows))) % 512] = rows
        marks[step % len(marks)] = head, len(rows)
        head = (head + len(rows)) % 512
        words = jnp.asarray(np.packbits(rng.random(SLOTS) < 0.08, bitorder="little").view(np.uint32))
        *new, full = record(now, words, index, posts, full, constants)
        posts = tuple(new)
    return np.array(inputs), counters, last, posts[0], posts[2], full, state, posts[1]


@pytest.mark.parametrize("wide", [False, True], ids=["float32", "float64"])
def test_both_backends_do_the_same(wide):
    with jax.enable_x64(wide):
        ours, theirs = simulated("cpp", wide), simulated("reference", wide)
    assert not ours[5].any() and (np.abs(ours[0]).sum(axis=1) > 0).mean() > 0.9
    for a, b in zip(ours[1:6], theirs[1:6], strict=True):
        np.testing.assert_array_equal(np.asarray(a), np.asarray(b))
    for a, b in zip(ours[6:], theirs[6:], strict=True):
        # Contraction of a product and a sum; the series of a power; weights near 0 are differences of larger ones.
        near = 50 * np.finfo(a.dtype).eps
        np.testing.assert_allclose(np.asarray(a), np.asarray(b), rtol=near, atol=near)
    near = 50 * np.finfo(ours[6].dtype).eps * 2**18
    np.testing.assert_allclose(ours[0].astype(float), theirs[0].astype(float), rtol=0, atol=10 * near + 2)


def test_a_thread_more_or_a_sweep_more_changes_no_bit():
    wanted = simulated("cpp", False)
    for given in (dict(threads=3), dict(period=7), dict(period=10_000, capacity=256)):
        np.testing.assert_array_equal(simulated("cpp", False, **given)[0], wanted[0])


@pytest.mark.parametrize("backend", ["cpp", "reference"])
def test_a_ring_that_is_too_small_says_so(backend):
    assert simulated(backend, False, steps=120, capacity=4)[5].all()
    assert not simulated(backend, False, steps=12, capacity=16)[5].any()


def test_exponentials_come_from_the_tables():
    taus = np.array([0.5, 20.0, 3000.0])
    table = stdp.decays(taus, 0.1, np.float64)
    k = np.unique(np.concatenate([np.arange(5000), np.geomspace(1, 2**31 - 1, 3000).astype(np.int64)])).astype(np.int32)
    for row, tau in enumerate(taus):
        found = np.asarray(stdp.decayed(table.fine, table.coarse, table.bits, row, k))
        wanted = np.exp(-k * (0.1 / tau))
        np.testing.assert_allclose(found[wanted > 1e-290], wanted[wanted > 1e-290], rtol=3e-13)
        assert (found[wanted < 1e-300] < 1e-299).all()


@pytest.mark.parametrize("mu", [0.0, 0.02, 0.4, 1.0, 2.5])
def test_powers(mu):
    x = np.concatenate([[0.0, 1.0, 1e-320], np.geomspace(1e-12, 1, 500)])
    with jax.enable_x64(True):
        found = np.asarray(stdp.power(jnp.asarray(x), jnp.asarray(mu)))
    wanted = np.where((x < 1e-300) & (mu != 1) & (mu > 0), 0.0, x**mu)
    np.testing.assert_allclose(found, wanted, rtol=2e-14)
