"""Draws the incoming synapses of one device and lays them out by (source row, delay).

The draw of a synapse is a function of (seed, stream of its connection, global id of the target, slot), so a device draws its own
targets alone, without communication, and every partition holds the same network. `cpp/build.h` is the compiled backend.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dist_sim import units
from dist_sim.errors import ConnectError
from dist_sim.kernels import backend as backends
from dist_sim.kernels import exact
from dist_sim.kernels.philox import philox4x32, split_key, uniform_index

UNIFORM, DISTINCT, ENUMERATE, LISTED = range(4)
CONSTANT, NORMAL, LOGNORMAL, UNIFORM_REAL, ARRAY = range(5)
NO_INDEX = 0xFFFFFFFF
_MAX_SYNAPSES = 2**32 - 2
_CURSOR_BYTES = 2**29  # scratch memory of a build, which bounds its threads


@dataclass(frozen=True, kw_only=True)
class Draw:
    """A number per synapse: constant `a`; normal or lognormal with mean `a` and deviation `b` (of the logarithm); uniform in
    [a, b); or `values`, one per synapse in order of (target, slot), which were given in the form `shape`. Redrawn until
    low <= value <= high."""

    kind: int
    a: float = 0.0
    b: float = 0.0
    low: float = -np.inf
    high: float = np.inf
    values: np.ndarray | None = None
    shape: tuple[int, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Connection:
    """The synapses of one connection that end on one device.

    Attributes:
        source_kind: how sources are drawn: uniform with replacement, uniform without, all in order, or listed.
        stream: number of the connection, the same on every device.
        pre_slot: (num_pre,) uint32, source slot of each presynaptic neuron.
        target_id, target_slot: (num_targets,) uint32, global id and source slot of the targets on this device.
        target_index: (num_targets,) uint32, place in the input vector for positive weights.
        channel_stride: (num_targets,) int64, from there to the place for negative weights; 0 where there is one channel.
        per_quantum: (num_targets,) float64, one over the weight that one unit of the integer weight stands for.
        offsets: (num_targets + 1,) int64; target t has offsets[t + 1] - offsets[t] synapses.
        self_index: (num_targets,) uint32, index of the target in pre or `NO_INDEX`; None where autapses are allowed.
        source_index: (num_synapses,) uint32, index in pre, for listed sources.
        weight: in the unit of the target's input; delay: ms.
    """

    source_kind: int
    stream: int
    autapses: bool
    pre_slot: np.ndarray
    target_id: np.ndarray
    target_slot: np.ndarray
    target_index: np.ndarray
    channel_stride: np.ndarray
    per_quantum: np.ndarray
    offsets: np.ndarray
    self_index: np.ndarray | None
    source_index: np.ndarray | None
    weight: Draw
    delay: Draw


@dataclass(frozen=True, kw_only=True)
class RawTable:
    """Synapses of one device.

    Attributes:
        present, rank: (words,) uint32: a bit per source slot that has synapses here, and the rows before each word.
        pointers: (num_rows * num_delays + 1,) uint32, first synapse of each run; run = row * num_delays + delay - min_delay.
        synapses: (num_synapses, 2) int32 or int64: place in the input vector, integer weight.
    """

    present: np.ndarray
    rank: np.ndarray
    pointers: np.ndarray
    synapses: np.ndarray
    num_rows: int


def build_table(
    connections: Sequence[Connection],
    *,
    num_source_slots: int,
    min_delay: int,
    num_delays: int,
    seed: int,
    dt: float,
    wide: bool,
    backend: str,
    threads: int,
    also: np.ndarray | None = None,
) -> RawTable:
    """The table of one device. All backends give the same arrays.

    Args:
        min_delay, num_delays: delays of all connections lie in min_delay .. min_delay + num_delays - 1 steps.
        wide: int64 weights instead of int32.
        also: source slots that get a row even if they have no synapses in this table.

    Raises:
        ConnectError: more synapses than a table can address.
    """
    total = sum(int(c.offsets[-1]) for c in connections)
    if total > _MAX_SYNAPSES:
        raise ConnectError(f"{total:,} synapses end on one device; a table holds {_MAX_SYNAPSES:,}. Use more devices.")
    present = np.zeros((num_source_slots + 31) // 32, dtype=np.uint32)
    if also is not None:
        np.bitwise_or.at(present, also >> 5, np.uint32(1) << (also & 31).astype(np.uint32))
    shape = (present, min_delay, num_delays, seed, dt, wide)
    return _build(connections, *shape, threads, backend=backend)


def _aligned(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """An uninitialised array that begins at a cache line: XLA takes such memory over instead of copying it."""
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    memory = np.empty(size + 64, dtype=np.uint8)
    start = -memory.ctypes.data % 64
    return memory[start : start + size].view(dtype).reshape(shape)


def _draw_sources(connection: Connection, *, seed: int, threads: int) -> np.ndarray:
    table, kept = _pass([connection])
    sources = np.empty(int(connection.offsets[-1]), dtype=np.uint32)
    build = _Task(num_connections=1, threads=threads, key=seed, dt=1.0, connections=ctypes.cast(table, ctypes.c_void_p))
    draw = backends.library()._lib.dist_sim_draw_sources
    draw.argtypes = [ctypes.c_void_p, ctypes.c_void_p]
    draw(ctypes.byref(build), sources.ctypes.data)
    del kept
    return sources


@backends.kernel(native=_draw_sources, on_host=True)
def draw_sources(connection: Connection, *, seed: int, threads: int) -> np.ndarray:
    """Source slot of every synapse of one connection, (num_synapses,) uint32, in order of (target, slot)."""
    return draw_synapses(connection, seed=seed, dt=1.0)[0].astype(np.uint32)


def _rank(present: np.ndarray) -> tuple[np.ndarray, int]:
    """Rows before each word, and the number of rows."""
    counts = np.bitwise_count(present).astype(np.uint32)
    ends = np.cumsum(counts, dtype=np.uint32)
    return ends - counts, int(ends[-1]) if len(ends) else 0


# ---- compiled ----


class _Distribution(ctypes.Structure):
    _fields_ = [("kind", ctypes.c_int64), *((n, ctypes.c_double) for n in ("a", "b", "low", "high")), ("values", ctypes.c_void_p)]


_COUNTS = ("kind", "stream", "autapses", "num_pre", "num_targets")
_ARRAYS = {
    "pre_slot": np.uint32, "target_id": np.uint32, "target_slot": np.uint32, "target_index": np.uint32,
    "channel_stride": np.int64, "per_quantum": np.float64, "offsets": np.int64,
    "self_index": np.uint32, "source_index": np.uint32,
}  # fmt: skip


class _Connection(ctypes.Structure):
    _fields_ = [
        *((n, ctypes.c_int64) for n in _COUNTS), *((n, ctypes.c_void_p) for n in _ARRAYS),
        ("weight", _Distribution), ("delay", _Distribution),
    ]  # fmt: skip


class _Task(ctypes.Structure):
    _fields_ = [
        *((n, ctypes.c_int64) for n in ("num_connections", "min_delay", "num_delays", "num_rows", "threads", "wide")),
        ("key", ctypes.c_uint64), ("dt", ctypes.c_double),
        *((n, ctypes.c_void_p) for n in ("connections", "present", "rank", "pointers", "cursors", "synapses")),
    ]  # fmt: skip


def _pass(connections: Sequence[Connection]) -> tuple[Any, list[np.ndarray]]:
    """The connections as C++ sees them, and the arrays that must stay alive until it has ended."""
    kept: list[np.ndarray] = []
    known: dict[Any, int] = {}  # many connections share the arrays of their ends

    def address(array: np.ndarray | None, dtype: type) -> int | None:
        if array is None:
            return None
        if (key := (id(array), dtype)) not in known:
            kept.append(np.ascontiguousarray(array, dtype=dtype))
            known[key] = kept[-1].ctypes.data
        return known[key]

    def distribution(d: Draw) -> _Distribution:
        return _Distribution(d.kind, d.a, d.b, d.low, d.high, address(d.values, np.float64))

    table = (_Connection * max(1, len(connections)))()
    for entry, c in zip(table, connections, strict=False):
        entry.kind, entry.stream, entry.autapses = c.source_kind, c.stream, c.autapses
        entry.num_pre, entry.num_targets = len(c.pre_slot), len(c.target_id)
        for name, dtype in _ARRAYS.items():
            setattr(entry, name, address(getattr(c, name), dtype))
        entry.weight, entry.delay = distribution(c.weight), distribution(c.delay)

    return table, kept


def _build_native(connections, present, min_delay, num_delays, seed, dt, wide, threads) -> RawTable:
    table, kept = _pass(connections)
    threads = min(threads, 256)  # what the pool of threads has places for
    call = {name: getattr(backends.library()._lib, f"dist_sim_{name}") for name in ("mark_sources", "count_runs", "fill_runs")}
    build = _Task(
        num_connections=len(connections), min_delay=min_delay, num_delays=num_delays, threads=threads, wide=wide, key=seed, dt=dt,
        connections=ctypes.cast(table, ctypes.c_void_p), present=present.ctypes.data,
    )  # fmt: skip
    call["mark_sources"](ctypes.byref(build))
    rank, num_rows = _rank(present)
    num_runs = num_rows * num_delays
    build.threads = max(1, min(threads, _CURSOR_BYTES // (4 * num_runs + 1)))
    pointers = _aligned((num_runs + 1,), np.uint32)
    cursors = np.zeros(build.threads * num_runs, dtype=np.uint32)
    synapses = _aligned((sum(int(c.offsets[-1]) for c in connections), 2), np.int64 if wide else np.int32)
    build.rank, build.num_rows = rank.ctypes.data, num_rows
    build.pointers, build.cursors, build.synapses = pointers.ctypes.data, cursors.ctypes.data, synapses.ctypes.data
    call["count_runs"](ctypes.byref(build))
    call["fill_runs"](ctypes.byref(build))
    del kept
    return RawTable(present=present, rank=rank, pointers=pointers, synapses=synapses, num_rows=num_rows)


# ---- reference ----


@backends.kernel(native=_build_native, on_host=True)
def _build(connections, present, min_delay, num_delays, seed, dt, wide, threads) -> RawTable:
    drawn = [draw_synapses(c, seed=seed, dt=dt) for c in connections]
    source, target, weight, delay = (
        np.concatenate([d[k] for d in drawn]) if drawn else np.zeros(0, dtype=np.int64) for k in range(4)
    )
    np.bitwise_or.at(present, source >> 5, np.uint32(1) << (source & 31).astype(np.uint32))
    rank, num_rows = _rank(present)
    run = row_of(source, present, rank) * num_delays + (delay - min_delay)
    order = np.lexsort((weight, target, run))
    pointers = np.zeros(num_rows * num_delays + 1, dtype=np.uint32)
    pointers[1:] = np.cumsum(np.bincount(run, minlength=num_rows * num_delays)) if num_rows else 0
    synapses = np.stack([target, weight], axis=1)[order].astype(np.int64 if wide else np.int32)
    return RawTable(present=present, rank=rank, pointers=pointers, synapses=synapses, num_rows=num_rows)


def row_of(source: np.ndarray, present: np.ndarray, rank: np.ndarray) -> np.ndarray:
    """(n,) int64 rows of a table of source slots (n,) that are present."""
    below = present[source >> 5] & ((np.uint32(1) << (source & 31).astype(np.uint32)) - np.uint32(1))
    return rank[source >> 5].astype(np.int64) + np.bitwise_count(below)


def rows_known(source: np.ndarray, present: np.ndarray, rank: np.ndarray) -> np.ndarray:
    """(n,) int64 rows of a table of source slots (n,), -1 for those without synapses in it."""
    known = present[source >> 5] >> (source & 31).astype(np.uint32) & np.uint32(1)
    return np.where(known == 1, row_of(source, present, rank), -1)


def draw_synapses(c: Connection, *, seed: int, dt: float) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Source slot, place in the input vector, integer weight and delay in steps of every synapse, in order of (target, slot)."""
    drawn = draw_values(c, seed=seed, dt=dt)
    weight = np.floor(drawn.weight * c.per_quantum[drawn.target] + 0.5).astype(np.int64)
    place = c.target_index[drawn.target] + np.where(weight < 0, c.channel_stride[drawn.target], 0)
    return drawn.source, place, weight, drawn.delay


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """Synapses of one connection, (num_synapses,) each, in order of (target, slot).

    Attributes:
        target: position among the targets on the device; slot: number among the synapses of the target.
        source: source slot; weight: in the unit of the target's input; delay: steps.
    """

    target: np.ndarray
    slot: np.ndarray
    source: np.ndarray
    weight: np.ndarray
    delay: np.ndarray


def draw_values(c: Connection, *, seed: int, dt: float) -> Drawn:
    """The synapses of a connection, with weights as they are drawn."""
    key0, key1 = split_key(seed)
    degree = np.diff(c.offsets)
    t = np.repeat(np.arange(len(degree)), degree)
    slot = (np.arange(c.offsets[-1]) - c.offsets[t]).astype(np.uint32)
    ids = c.target_id[t].astype(np.uint32)

    def words(which: np.ndarray, attempt: int) -> tuple[np.ndarray, ...]:
        return philox4x32(key0, key1, ids[which], slot[which], np.uint32(attempt), np.uint32(c.stream))

    everything = np.arange(len(t))
    first = words(everything, 0)
    num_pre = np.uint32(len(c.pre_slot))
    if c.source_kind == UNIFORM:
        source = c.pre_slot[uniform_index(np, first[0], first[1], num_pre)]
        attempt, again = 0, np.zeros(0, dtype=np.int64) if c.autapses else np.flatnonzero(source == c.target_slot[t])
        while len(again):
            attempt += 1
            w = words(again, attempt)
            source[again] = c.pre_slot[uniform_index(np, w[0], w[1], num_pre)]
            again = again[source[again] == c.target_slot[t[again]]]
    else:
        self_index = np.full(len(degree), NO_INDEX, dtype=np.uint32) if c.self_index is None else c.self_index
        if c.source_kind == ENUMERATE:
            index = slot.astype(np.int64)
        elif c.source_kind == DISTINCT:
            index = _distinct(first, c, self_index)
        else:
            assert c.source_index is not None
            index = c.source_index.astype(np.int64)
        if c.source_kind != LISTED:
            index = index + (index >= self_index[t])
        source = c.pre_slot[index]

    def values(d: Draw, which: int) -> np.ndarray:
        if d.kind == CONSTANT:
            return np.full(len(t), d.a)
        if d.kind == ARRAY:
            assert d.values is not None
            return d.values
        x = _transform(d, first[which])
        attempt, again = 0, np.flatnonzero(~((x >= d.low) & (x <= d.high)))
        while len(again):
            attempt += 1
            x[again] = _transform(d, words(again, attempt)[which])
            again = again[~((x[again] >= d.low) & (x[again] <= d.high))]
        return x

    delay = np.floor(values(c.delay, 3) / dt + units.HALF_UP).astype(np.int64)
    return Drawn(target=t, slot=slot, source=source.astype(np.int64), weight=values(c.weight, 2), delay=delay)


def _transform(d: Draw, word: np.ndarray) -> np.ndarray:
    if d.kind == UNIFORM_REAL:
        return d.a + (d.b - d.a) * exact.unit_interval(word)
    x = d.a + d.b * exact.normal_quantile(word)
    return exact.exp(x) if d.kind == LOGNORMAL else x


def _distinct(first: tuple[np.ndarray, ...], c: Connection, self_index: np.ndarray) -> np.ndarray:
    """Floyd's sample without replacement (Bentley & Floyd 1987, doi:10.1145/30401.315746), target by target."""
    index = np.empty(int(c.offsets[-1]), dtype=np.int64)
    for t, (begin, end) in enumerate(zip(c.offsets[:-1], c.offsets[1:], strict=True)):
        pool = len(c.pre_slot) - int(self_index[t] != NO_INDEX)
        chosen: set[int] = set()
        tops = np.arange(pool - (end - begin), pool)
        picks = uniform_index(np, first[0][begin:end], first[1][begin:end], (tops + 1).astype(np.uint32))
        for place, pick, top in zip(range(begin, end), picks, tops, strict=True):
            index[place] = int(top) if int(pick) in chosen else int(pick)
            chosen.add(int(index[place]))
    return index
