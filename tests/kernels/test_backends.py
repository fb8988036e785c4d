"""The compiled kernels do what the reference does: bit for bit where arithmetic is integer."""

import functools
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dist_sim import kernels
from dist_sim.kernels import build, history
from dist_sim.kernels.philox import key_words
from dist_sim.kernels.poisson import alike_blocks, count_tables, poisson

pytestmark = pytest.mark.skipif(shutil.which("g++") is None and shutil.which("clang++") is None, reason="no C++ compiler")

NUM_PRE, NUM_TARGETS, NUM_SLOTS, SIZE = 150, 90, 256, 200
DT = 0.1
CONSTANT = build.Draw(kind=build.CONSTANT, a=1.5)
DISTRIBUTIONS = {
    "constant": CONSTANT,
    "normal": build.Draw(kind=build.NORMAL, a=1.0, b=0.6, low=0.05, high=2.9),
    "lognormal": build.Draw(kind=build.LOGNORMAL, a=0.1, b=0.5, low=0.05, high=2.9),
    "uniform": build.Draw(kind=build.UNIFORM_REAL, a=0.1, b=2.9, low=0.1, high=2.9),
}
SOURCES = {"uniform": build.UNIFORM, "distinct": build.DISTINCT, "all": build.ENUMERATE, "listed": build.LISTED}


def connection(kind, weight=CONSTANT, delay=CONSTANT, *, autapses=True, stream=0, seed=0):
    """Targets overlap with the sources, so that autapses can occur; in-degrees differ and exceed a batch of the C++ code."""
    rng = np.random.default_rng(seed)
    pre_slot, target_slot = (rng.permutation(NUM_SLOTS)[:n].astype(np.uint32) for n in (NUM_PRE, NUM_TARGETS))
    place = np.full(NUM_SLOTS, build.NO_INDEX, dtype=np.uint32)
    place[pre_slot] = np.arange(NUM_PRE)
    self_index = None if autapses or kind not in (build.DISTINCT, build.ENUMERATE) else place[target_slot]
    pool = NUM_PRE - (0 if self_index is None else self_index != build.NO_INDEX)
    degrees = {build.DISTINCT: rng.integers(0, 120, NUM_TARGETS), build.ENUMERATE: np.broadcast_to(pool, NUM_TARGETS)}
    degrees = degrees.get(kind, rng.integers(0, 700, NUM_TARGETS))
    total = int(degrees.sum())

    def filled(draw):
        if draw.kind != build.ARRAY:
            return draw
        return build.Draw(kind=build.ARRAY, values=rng.uniform(draw.low, draw.high, total), low=draw.low, high=draw.high)

    return build.Connection(
        source_kind=kind, stream=stream, autapses=autapses, pre_slot=pre_slot,
        target_id=rng.integers(0, 2**32, NUM_TARGETS, dtype=np.uint32), target_slot=target_slot,
        target_index=np.arange(NUM_TARGETS, dtype=np.uint32), self_index=self_index,
        channel_stride=np.where(np.arange(NUM_TARGETS) < 45, 100, 0), per_quantum=np.full(NUM_TARGETS, 2.0**20),
        offsets=np.concatenate([[0], np.cumsum(degrees)]), weight=filled(weight), delay=filled(delay),
        source_index=rng.integers(0, NUM_PRE, total).astype(np.uint32) if kind == build.LISTED else None,
    )  # fmt: skip


def table(connections, backend, *, wide=False, threads=1):
    options = dict(num_source_slots=NUM_SLOTS, min_delay=1, num_delays=29, seed=2**40 + 3, dt=DT)
    return build.build_table(connections, **options, wide=wide, backend=backend, threads=threads)


def assert_same_table(connections, **options):
    ours, theirs = (table(connections, backend, **options) for backend in ("native", "reference"))
    assert ours.num_rows == theirs.num_rows
    for name in ("present", "rank", "pointers", "synapses"):
        a, b = getattr(ours, name), getattr(theirs, name)
        assert a.dtype == b.dtype and a.shape == b.shape
        np.testing.assert_array_equal(a, b, err_msg=name)


@pytest.mark.parametrize("wide", [False, True], ids=["int32", "int64"])
@pytest.mark.parametrize("autapses", [True, False], ids=["autapses", "none"])
@pytest.mark.parametrize("kind", SOURCES)
def test_tables_of_every_kind_of_source(kind, autapses, wide):
    made = connection(SOURCES[kind], DISTRIBUTIONS["normal"], DISTRIBUTIONS["uniform"], autapses=autapses)
    assert_same_table([made], wide=wide, threads=2)


@pytest.mark.parametrize("delay", [*DISTRIBUTIONS, "array"])
@pytest.mark.parametrize("weight", [*DISTRIBUTIONS, "array", "signed"])
def test_tables_of_every_distribution(weight, delay):
    draws = DISTRIBUTIONS | {
        "array": build.Draw(kind=build.ARRAY, low=0.1, high=2.9),
        "signed": build.Draw(kind=build.NORMAL, a=0.0, b=1.0),
    }
    assert_same_table([connection(build.UNIFORM, draws[weight], draws[delay])], wide=True)


@pytest.mark.parametrize("threads", [1, 3, 8])
def test_tables_of_many_connections_on_many_threads(threads):
    signed = build.Draw(kind=build.NORMAL, a=0.0, b=1.0)
    kinds = [*SOURCES.values()] * 2
    made = [connection(kind, signed, DISTRIBUTIONS["lognormal"], stream=k, seed=k) for k, kind in enumerate(kinds)]
    assert_same_table(made, threads=threads)


def test_tables_of_nothing():
    assert_same_table([])
    sources = np.zeros(0, np.uint32)
    empty = connection(build.LISTED)
    for backend in ("native", "reference"):
        assert build.draw_sources(empty, seed=1, backend=backend, threads=2).dtype == sources.dtype


@pytest.mark.parametrize("kind", SOURCES)
def test_sources_alone(kind):
    made = connection(SOURCES[kind], autapses=False)
    ours, theirs = (build.draw_sources(made, seed=9, backend=b, threads=3) for b in ("native", "reference"))
    np.testing.assert_array_equal(ours, theirs)


# ---- spikes in flight ----


@functools.cache
def compiled(kernel, backend, options):
    return jax.jit(functools.partial(kernel, backend=backend, **dict(options)))


def both(kernel, *operands, **options):
    """The results of both backends, as lists of numpy arrays."""
    results = []
    for backend in ("native", "reference"):
        run = compiled(kernel, backend, tuple(options.items()))
        results.append([np.asarray(a) for a in jax.tree.leaves(run(*jax.tree.map(jnp.asarray, operands)))])
    return results


def empty_history(capacity, slots):
    return (
        np.zeros(capacity, np.uint32),
        np.zeros((slots, 2), np.uint32),
        np.zeros(history.NUM_COUNTERS, np.uint32),
    )


def made_table(wide=False):
    signed = build.Draw(kind=build.NORMAL, a=0.0, b=1.0)
    return table([connection(build.UNIFORM, signed, DISTRIBUTIONS["uniform"])], "reference", wide=wide)


def some_masks(rng, devices, steps, share):
    words = NUM_SLOTS // 32 // devices
    spiking = rng.random((devices, steps, words * 32)) < share
    return np.packbits(spiking, axis=-1, bitorder="little").view(np.uint32)


def listed(masks, capacity):
    """The source slots of the spikes, (devices, steps, capacity), and how many there are."""
    bits = np.unpackbits(masks.view(np.uint8), axis=-1, bitorder="little")
    ids = np.zeros((*masks.shape[:2], capacity), np.uint32)
    for device, step in np.ndindex(masks.shape[:2]):
        found = np.flatnonzero(bits[device, step]) + device * bits.shape[2]
        ids[device, step, : len(found)] = found
    return ids, bits.sum(axis=-1, dtype=np.uint32)


WHOLE = kernels.DueCapacity(runs=2000, width=64, whole=True)
TILED = kernels.DueCapacity(runs=2000, width=3, whole=False)


@pytest.mark.parametrize("capacity", [WHOLE, TILED], ids=["runs", "tiles"])
@pytest.mark.parametrize("exchange", ["mask", "ids"])
@pytest.mark.parametrize(("devices", "interval"), [(1, 1), (2, 3), (4, 1)])
def test_pushes_and_deliveries_follow_each_other_alike(devices, interval, exchange, capacity):
    """120 steps: the ring of spikes goes round many times, with events from outside in between."""
    rng = np.random.default_rng(1)
    found = made_table()
    sources = found.present, found.rank, found.pointers
    events = np.stack([np.sort(rng.integers(0, 120, 60)), rng.integers(0, found.num_rows, 60)]).astype(np.uint32)
    slots = 29 + interval
    states = {backend: jax.tree.map(jnp.asarray, empty_history(700, slots)) for backend in ("native", "reference")}
    delivered = 0
    pushes, deliveries = {}, {}
    for backend in states:
        push = history.push_masks if exchange == "mask" else history.push_ids
        pushes[backend] = jax.jit(functools.partial(push, num_delays=29, backend=backend))
        deliveries[backend] = jax.jit(
            functools.partial(
                kernels.deliver, size=SIZE, min_delay=1, num_delays=29, threads=3 if backend == "native" else 1,
                capacity=capacity, backend=backend,
            )
        )
    for step in range(120):
        inputs = {}
        for backend, (ring, marks, counters) in states.items():
            arriving, counters = deliveries[backend](jnp.int32(step), (ring, marks, counters), found.pointers, found.synapses)
            inputs[backend] = np.asarray(arriving).sum(axis=0)
            states[backend] = ring, marks, counters
        np.testing.assert_array_equal(inputs["native"], inputs["reference"])
        delivered += np.abs(inputs["native"]).sum()
        if step % interval < interval - 1:
            continue
        masks = some_masks(rng, devices, interval, 0.06)
        spikes = (masks,)
        if exchange == "ids":
            spikes = listed(masks, 80)
        for backend in states:
            states[backend] = pushes[backend](jnp.int32(step - interval + 1), *spikes, events, sources, states[backend])
        assert 0 < np.asarray(states["reference"][2])[history.DUE_MAX] <= capacity.runs or step < interval
        states["reference"] = *states["reference"][:2], states["reference"][2].at[history.DUE_MAX].set(0)
        for ours, theirs in zip(states["native"], states["reference"], strict=True):
            np.testing.assert_array_equal(np.asarray(ours), np.asarray(theirs))
    counters = np.asarray(states["native"][2])
    assert delivered > 0 and not counters[history.OVERFLOW]
    assert history.count64(counters, history.SCHEDULED) > history.count64(counters, history.DELIVERED) > 10_000


@pytest.mark.parametrize("step", [0, 2, 6])
def test_deliveries_of_wide_weights(step):
    with jax.enable_x64(True):
        found = made_table(wide=True)
        state = empty_history(500, 30)
        for s in range(step):
            masks = some_masks(np.random.default_rng(s), 1, 1, 0.1)
            events, sources = np.zeros((2, 1), np.uint32), (found.present, found.rank, found.pointers)
            state, _ = both(history.push_masks, np.int32(s), masks, events, sources, tuple(state), num_delays=29)
        options = dict(size=SIZE, min_delay=1, num_delays=29, threads=1, capacity=TILED)
        ours, theirs = both(kernels.deliver, np.int32(step), tuple(state), found.pointers, found.synapses, **options)
        assert ours[0].dtype == np.int64 and (step < 2 or ours[0].any())
        np.testing.assert_array_equal(ours[0], theirs[0])
        np.testing.assert_array_equal(ours[1][: history.DUE_MAX], theirs[1][: history.DUE_MAX])


@pytest.mark.parametrize(("width", "whole"), [(64, True), (3, False)], ids=["runs", "tiles"])
def test_a_delivery_says_what_capacity_it_wants(width, whole):
    """At least: what exceeds it is not looked at. With that capacity, and no less, it is what the compiled one gives."""
    found = made_table()
    events, sources = np.zeros((2, 1), np.uint32), (found.present, found.rank, found.pointers)
    masks = some_masks(np.random.default_rng(0), 1, 1, 0.5)
    state, _ = both(history.push_masks, np.int32(1), masks, events, sources, empty_history(900, 30), num_delays=29)

    def delivered(runs):
        options = dict(size=SIZE, min_delay=1, num_delays=29, threads=1)
        options["capacity"] = kernels.DueCapacity(runs=runs, width=width, whole=whole)
        return both(kernels.deliver, np.int32(9), tuple(state), found.pointers, found.synapses, **options)

    _, (_, counters) = delivered(10_000)
    wanted = int(counters[history.DUE_MAX])
    assert wanted > 20
    ours, theirs = delivered(wanted)
    np.testing.assert_array_equal(ours[0], theirs[0])
    assert theirs[1][history.OVERFLOW] == 0
    for runs in (wanted - 1, 10):
        _, (_, counters) = delivered(runs)
        assert counters[history.OVERFLOW] == 1 and counters[history.DUE_MAX] > runs


@pytest.mark.parametrize("kernel", ["masks", "ids"])
def test_both_say_when_there_is_no_room(kernel):
    """The flag and how much room is wanted; what the ring then holds is thrown away."""
    found = made_table()
    sources, events = (found.present, found.rank, found.pointers), np.zeros((2, 1), np.uint32)
    masks = some_masks(np.random.default_rng(0), 1, 1, 0.5)
    if kernel == "masks":
        ours, theirs = both(history.push_masks, np.int32(1), masks, events, sources, empty_history(20, 30), num_delays=29)
        assert ours[2][history.LIVE_MAX] == theirs[2][history.LIVE_MAX] > 20
    else:
        ids, counts = kernels.compact(jnp.asarray(masks[0]), jnp.uint32(0), capacity=10, backend="native")
        spikes = np.asarray(ids)[None], np.asarray(counts)[None]
        ours, theirs = both(history.push_ids, np.int32(1), *spikes, events, sources, empty_history(500, 30), num_delays=29)
    assert ours[2][history.OVERFLOW] == theirs[2][history.OVERFLOW] == 1


@pytest.mark.parametrize("capacity", [1, 13, 300])
def test_lists_of_spikes(capacity):
    masks = some_masks(np.random.default_rng(2), 1, 5, 0.2)[0]
    ours, theirs = both(kernels.compact, masks, np.uint32(1024), capacity=capacity)
    np.testing.assert_array_equal(ours[1], theirs[1])
    for a, b, count in zip(ours[0], theirs[0], ours[1], strict=True):
        np.testing.assert_array_equal(a[:count], b[:count])
        assert (a[:count] >= 1024).all()


# ---- input ----


@pytest.mark.parametrize("wide", [False, True], ids=["int32", "int64"])
@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("ids", ["consecutive", "dealt"])
def test_poisson_input(ids, threads, wide):
    n, rng = 512, np.random.default_rng(3)
    tables = count_tables(np.array([0.001, 0.4, 1.28, 60.0, 2e4]))
    row = np.repeat(rng.integers(-1, 5, 4), 128) if ids == "consecutive" else rng.integers(-1, 5, n)
    id_of = 7 + np.arange(n) if ids == "consecutive" else rng.permutation(5 * n)[:n]
    index = np.arange(n) if ids == "consecutive" else rng.permutation(n)
    weight = np.repeat([3, -7, 11, 5], 128) if ids == "consecutive" else rng.integers(-999, 999, n)
    with jax.enable_x64(wide):
        dtype = np.int64 if wide else np.int32
        targets = row.astype(np.int32), id_of.astype(np.uint32), index.astype(np.uint32), weight.astype(dtype)
        alike = alike_blocks(targets[0], *targets[1:])
        assert ids == "dealt" or (alike > 0).all()
        vector = rng.integers(-5, 5, (threads, n)).astype(dtype)
        options = dict(stream=2**31 + 2, threads=threads)
        key, window = key_words(2**50 + 1), np.array([3, 5, 40], np.int32)
        differing = 0
        for step in (0, 7, 8, 30, 42, 43):
            arrays = (tables.thresholds, tables.first, tables.guide)
            (ours,), (theirs,) = both(poisson, np.int32(step), key, window, arrays, (alike, *targets), vector, **options)
            np.testing.assert_array_equal(ours.sum(axis=0), theirs.sum(axis=0))
            assert (ours != vector).any() == (8 <= step < 43)
            differing += (ours != vector).any()
        assert differing == 3
