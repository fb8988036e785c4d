"""Sparse connectivity that can be differentiated: a table on each device of the synapses that end on its neurons.

`Sparse.to_targets` is bilinear in spikes and weights; its derivatives are the other two sums of :mod:`dist_sim.kernels.sparse`,
and theirs again these, so that every transform of JAX goes through. Inside a program over a mesh, spikes come whole, and results
and weights stay on the device of their target.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple, final

import jax
import jax.numpy as jnp
import numpy as np
from jax.ad_checkpoint import checkpoint_name
from jax.core import ShapedArray
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir
from jax.sharding import Mesh, PartitionSpec

from dist_sim import kernels
from dist_sim.core import LongTermState
from dist_sim.core.transform.loops import KEPT
from dist_sim.kernels import build, sparse
from dist_sim.network.connection import Connection, on_host
from dist_sim.partition.blocks import Blocks, Kind, Split, padded_size, rule
from dist_sim.partition.mesh import NEURON, neuron_mesh, sharded
from dist_sim.partition.processes import processes_of


class Table(NamedTuple):
    """What the sums over a table need to know besides its arrays. Hashable.

    Attributes:
        num_sources, num_targets: of the whole connection.
        width: weights per target: the largest in-degree; 0 where there is one weight for all.
        mesh: over which its targets are spread.
        backend: of the kernels.
    """

    num_sources: int
    num_targets: int
    width: int
    mesh: Mesh
    backend: str

    @property
    def devices(self) -> int:
        return self.mesh.shape[NEURON]

    @property
    def block(self) -> int:
        """Targets of one device, with padding."""
        return padded_size(self.num_targets, self.devices) // self.devices


@final
class Sparse:
    """The synapses of a connection.

    Args:
        connection: its rule and sizes; weights and delays in it are not looked at.
        weighted: every synapse has a weight of its own.
        mesh: over which its targets are spread; None for one device.

    Attributes:
        table, pointers, synapses: see :mod:`dist_sim.kernels.sparse`; the arrays have the devices along their first axis.
        incoming: place along the mesh axis `neuron` to the synapses of its targets, for the devices of this process.
    """

    def __init__(self, connection: Connection, *, seed: int, weighted: bool, mesh: Mesh | None = None) -> None:
        mesh = neuron_mesh() if mesh is None else mesh
        backend = kernels.choose(None, mesh.devices.flat[0].platform)
        num_sources, num_targets = len(connection.pre_ids), len(connection.post_ids)
        table = Table(num_sources, num_targets, 0, mesh, backend)
        rows = {d: _incoming(connection, d, table, seed) for d in _own_positions(mesh)}
        processes = processes_of(mesh)
        width = max(int(r.degrees.max(initial=1)) for r in rows.values())
        width, longest = processes.largest([width, max(len(r.sources) for r in rows.values())])
        self.table = table._replace(width=width if weighted else 0)
        arrays = {d: _laid_out(r, self.table, longest) for d, r in rows.items()}
        # Given where they lie: a program over blocks leaves them as they are.
        split = sharded(mesh, NEURON)
        self.pointers = LongTermState(_on_devices(mesh, {d: pointers for d, (pointers, _) in arrays.items()}), sharding=split)
        self.synapses = LongTermState(_on_devices(mesh, {d: synapses for d, (_, synapses) in arrays.items()}), sharding=split)
        self.incoming = rows

    def to_targets(self, spikes: jax.Array, weights: jax.Array | None = None) -> jax.Array:
        """(..., num_targets): the sum of what `spikes` (..., num_sources) send.

        Args:
            weights: (num_targets, width), a row per target in order of its synapses; None for ones.
        """
        lead = spikes.shape[:-1]
        w = jnp.zeros(0, spikes.dtype) if weights is None else weights.astype(spikes.dtype)
        operands = spikes.reshape(-1, spikes.shape[-1]), w, self.pointers.value, self.synapses.value
        out = _TO_TARGETS.bind(*operands, table=self.table, blocked=False)
        return checkpoint_name(out.reshape(*lead, self.table.num_targets), KEPT)


class Incoming(NamedTuple):
    """The synapses of the targets of one device: `degrees` (targets,), how many each has; `sources` (n,), in order of targets."""

    degrees: np.ndarray
    sources: np.ndarray


def _own_positions(mesh: Mesh) -> list[int]:
    """Places along the axis `neuron` of the mesh that have a device of this process."""
    along = list(mesh.shape).index(NEURON)
    here = [at[along] for at, device in np.ndenumerate(mesh.devices) if device.process_index == jax.process_index()]
    return sorted(set(here))


def _on_devices(mesh: Mesh, parts: Mapping[int, np.ndarray]) -> jax.Array:
    """(devices, *shape of a part): the part of each place along the axis `neuron`."""

    def part(index: Any) -> np.ndarray:
        return parts[index[0].start or 0][None]

    shape = (mesh.shape[NEURON], *next(iter(parts.values())).shape)
    return jax.make_array_from_callback(shape, sharded(mesh, NEURON), part)


def _incoming(connection: Connection, device: int, table: Table, seed: int) -> Incoming:
    first = device * table.block
    local = np.arange(min(first, table.num_targets), min(first + table.block, table.num_targets))
    drawn = on_host(connection, local, seed=seed, backend=table.backend)
    sources = build.draw_sources(drawn, seed=seed, backend=table.backend, threads=1)
    return Incoming(np.diff(drawn.offsets), sources)


def _laid_out(rows: Incoming, table: Table, longest: int) -> tuple[np.ndarray, np.ndarray]:
    """A device's synapses in order of (source, target): where each source's begin, and (longest, 2) target and weight's place."""
    target = np.repeat(np.arange(len(rows.degrees)), rows.degrees)
    slot = np.arange(len(target)) - np.repeat(np.cumsum(rows.degrees) - rows.degrees, rows.degrees)
    order = np.argsort(rows.sources, kind="stable")
    pointers = np.zeros(table.num_sources + 1, np.uint32)
    pointers[1:] = np.cumsum(np.bincount(rows.sources, minlength=table.num_sources))
    synapses = np.zeros((longest, 2), np.uint32)
    synapses[: len(order), 0] = target[order]
    synapses[: len(order), 1] = (target * table.width + slot)[order]
    return pointers, synapses


# ---- the three sums as operations of JAX ----


def _local(kind: str, table: Table, one: jax.Array, other: jax.Array, pointers: jax.Array, synapses: jax.Array) -> jax.Array:
    """The sum over the synapses of one device."""
    if kind == "to_targets":
        return sparse.to_targets(one, other, pointers, synapses, num_targets=table.block, backend=table.backend)
    if kind == "to_sources":
        return sparse.to_sources(one, other, pointers, synapses, num_sources=table.num_sources, backend=table.backend)
    flat = sparse.to_weights(one, other, pointers, synapses, num_weights=table.block * table.width, backend=table.backend)
    return flat.reshape(table.block, table.width)


# Per sum: whether its operands and its result have targets along an axis, and which.
_TARGET_AXES: dict[str, tuple[int | None, int | None, int | None]] = {
    "to_targets": (None, 0, 1), "to_sources": (1, 0, None), "to_weights": (None, 1, 0),
}  # fmt: skip


def _over_blocks(kind: str, table: Table, one: jax.Array, other: jax.Array, *arrays: jax.Array) -> jax.Array:
    """The sum over the synapses of all devices, where what has targets along an axis is padded, and split over the mesh."""
    mesh, axes = table.mesh, _TARGET_AXES[kind]
    trials = tuple(name for name in mesh.shape if name != NEURON)
    trials = trials if trials and one.shape[0] % math.prod(mesh.shape[n] for n in trials) == 0 else None

    def spec(x: Any, axis: int | None, weights: bool) -> PartitionSpec:
        return PartitionSpec(*(NEURON if n == axis and x.size else None if n or weights else trials for n in range(x.ndim)))

    def local(one: jax.Array, other: jax.Array, pointers: jax.Array, synapses: jax.Array) -> jax.Array:
        out = _local(kind, table, one, other, pointers[0], synapses[0])
        summed = (*(trials or () if kind == "to_weights" else ()), *((NEURON,) if kind == "to_sources" else ()))
        return jax.lax.psum(out, summed) if summed else out

    result = jax.ShapeDtypeStruct((1, 1), one.dtype)
    return jax.shard_map(
        local,
        mesh=mesh,
        in_specs=(
            spec(one, axes[0], False), spec(other, axes[1], kind != "to_weights"),
            PartitionSpec(NEURON), PartitionSpec(NEURON),
        ),
        out_specs=spec(result, axes[2], kind == "to_weights"),
        check_vma=False,
    )(one, other, *arrays)  # fmt: skip


def _computed(one: jax.Array, other: jax.Array, *arrays: jax.Array, kind: str, table: Table, blocked: bool) -> jax.Array:
    if blocked:
        return _over_blocks(kind, table, one, other, *arrays)
    axes = _TARGET_AXES[kind]
    missing = table.block * table.devices - table.num_targets

    def padded(x: jax.Array, axis: int | None) -> jax.Array:
        if axis is None or not missing or not x.size:
            return x
        return jnp.pad(x, [(0, missing if n == axis else 0) for n in range(x.ndim)])

    out = _over_blocks(kind, table, padded(one, axes[0]), padded(other, axes[1]), *arrays)
    return out if axes[2] is None else jax.lax.slice_in_dim(out, 0, table.num_targets, axis=axes[2])


def _shape(kind: str, table: Table, batch: int, blocked: bool) -> tuple[int, int]:
    targets = table.block * table.devices if blocked else table.num_targets
    return {"to_targets": (batch, targets), "to_sources": (batch, table.num_sources), "to_weights": (targets, table.width)}[kind]


def _primitive(kind: str) -> Primitive:
    made = Primitive(f"sparse_{kind}")
    made.def_impl(partial(jax.jit(_computed, static_argnames=("kind", "table", "blocked")), kind=kind))

    def shape(one: Any, other: Any, *arrays: Any, table: Table, blocked: bool) -> ShapedArray:
        return ShapedArray(_shape(kind, table, one.shape[0], blocked), one.dtype)

    made.def_abstract_eval(shape)
    mlir.register_lowering(made, mlir.lower_fun(partial(_computed, kind=kind), multiple_results=False))
    return made


_TO_TARGETS, _TO_SOURCES, _TO_WEIGHTS = map(_primitive, ("to_targets", "to_sources", "to_weights"))


def _bilinear(made: Primitive, by_one: Callable[..., Any], by_other: Callable[..., Any]) -> None:
    """Makes an operation differentiable: it is linear in either of its first two operands.

    Args:
        by_one, by_other: of (cotangent, the other of the two operands): the cotangent of that operand.
    """

    def tangent(primals: Sequence[Any], tangents: Sequence[Any], **params: Any) -> tuple[Any, Any]:
        one, other, *arrays = primals
        parts = []
        if type(tangents[0]) is not ad.Zero:
            parts.append(made.bind(tangents[0], other, *arrays, **params))
        if type(tangents[1]) is not ad.Zero and other.size:
            parts.append(made.bind(one, tangents[1], *arrays, **params))
        out = made.bind(one, other, *arrays, **params)
        return out, sum(parts[1:], parts[0]) if parts else jnp.zeros_like(out)

    def transpose(ct: Any, one: Any, other: Any, *arrays: Any, **params: Any) -> list[Any]:
        found: list[Any] = [None] * (2 + len(arrays))
        if type(ct) is not ad.Zero:
            if ad.is_undefined_primal(one):
                found[0] = by_one(ct, other, *arrays, **params)
            else:
                found[1] = by_other(ct, one, *arrays, **params)
        return found

    ad.primitive_jvps[made] = tangent
    ad.primitive_transposes[made] = transpose


# With s spikes, g what comes back from targets, w weights: each sum leaves one of them out.
_bilinear(
    _TO_TARGETS,
    by_one=lambda ct, w, *arrays, **params: _TO_SOURCES.bind(ct, w, *arrays, **params),
    by_other=lambda ct, s, *arrays, **params: _TO_WEIGHTS.bind(s, ct, *arrays, **params),
)
_bilinear(
    _TO_SOURCES,
    by_one=lambda ct, w, *arrays, **params: _TO_TARGETS.bind(ct, w, *arrays, **params),
    by_other=lambda ct, g, *arrays, **params: _TO_WEIGHTS.bind(ct, g, *arrays, **params),
)
_bilinear(
    _TO_WEIGHTS,
    by_one=lambda ct, g, *arrays, **params: _TO_SOURCES.bind(g, ct, *arrays, **params),
    by_other=lambda ct, s, *arrays, **params: _TO_TARGETS.bind(s, ct, *arrays, **params),
)


def _batched(made: Primitive, sums_batch: bool) -> None:
    """Trials of `vmap` join those that are there already; where each needs a result of its own (other weights, weights'
    derivatives), they are computed one after the other."""

    def batch(operands: Sequence[Any], dims: Sequence[Any], **params: Any) -> tuple[Any, Any]:
        one, other, *arrays = operands
        if any(dim is not None for dim in dims[2:]):
            raise NotImplementedError("vmap over the synapses of a table. Map over its spikes or weights.")
        size = next(x.shape[d] for x, d in zip(operands, dims, strict=True) if d is not None)
        if dims[1] is None and not sums_batch:
            lanes = jnp.moveaxis(one, dims[0], 0)
            out = made.bind(lanes.reshape(-1, lanes.shape[-1]), other, *arrays, **params)
            return out.reshape(size, -1, out.shape[-1]), 0
        ones, others = (
            jnp.broadcast_to(x, (size, *x.shape)) if d is None else jnp.moveaxis(x, d, 0)
            for x, d in zip((one, other), dims[:2], strict=True)
        )
        return jax.lax.map(lambda pair: made.bind(*pair, *arrays, **params), (ones, others)), 0

    batching.primitive_batchers[made] = batch


_batched(_TO_TARGETS, sums_batch=False)
_batched(_TO_SOURCES, sums_batch=False)
_batched(_TO_WEIGHTS, sums_batch=True)


@rule(_TO_TARGETS.name, _TO_SOURCES.name, _TO_WEIGHTS.name, always=True)
def _on_blocks(blocks: Blocks, eqn: Any, values: list[Any]) -> list[Any]:
    """Over the mesh of a program: operands with targets along an axis are split, spikes are whole."""
    table: Table = eqn.params["table"]
    if table.mesh != blocks.mesh:
        return [eqn.primitive.bind(*map(blocks.whole, values), **eqn.params)]
    axes = _TARGET_AXES[eqn.primitive.name.removeprefix("sparse_")]

    pair = [
        blocks.whole(x) if axis is None or not var.aval.size else blocks.split(x, Kind(axis, table.num_targets))
        for x, axis, var in zip(values, axes[:2], eqn.invars, strict=False)
    ]
    out = eqn.primitive.bind(*pair, *map(blocks.whole, values[2:]), table=table, blocked=True)
    return [out if axes[2] is None else Split(out, Kind(axes[2], table.num_targets))]
