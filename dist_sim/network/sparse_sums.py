"""The three sums over the synapses of a table as operations of JAX, which every transform goes through.

Each is linear in each of its operands, and the derivatives of each are the others: see :mod:`dist_sim.kernels.sparse`. Inside a
program over a mesh, spikes come whole, and what stands for targets stays on their device.

Operands: to_targets(onto, spikes, weights, ...), to_sources(gradient, weights, ...), to_weights(spikes, gradient, ...), where
what stands for targets is (batch, slots, num_targets), and what follows is the table: pointers, synapses, and which slot is the
first.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.core import ShapedArray
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir
from jax.sharding import Mesh, PartitionSpec

from dist_sim.kernels import sparse
from dist_sim.partition.blocks import Blocks, Kind, Shard, Split, Value, padded_size, rule
from dist_sim.partition.mesh import NEURON


class Table(NamedTuple):
    """What the sums over a table need to know besides its arrays. Hashable.

    Attributes:
        num_sources, num_targets: of the whole connection.
        slots: values per target: one for each step of delay that a synapse may have.
        width: weights per target: the largest in-degree; 0 where there is one weight for all.
        mesh: over which its targets are spread.
        backend: of the kernels.
    """

    num_sources: int
    num_targets: int
    slots: int
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


_TARGET_AXES: dict[str, tuple[tuple[int | None, ...], int | None]] = {
    "to_targets": ((2, None, 0), 2), "to_sources": ((2, 0), None), "to_weights": ((None, 2), 0),
}  # fmt: skip
"""Per sum: the axes of its operands and of its result that have targets along them."""


def _local(kind: str, table: Table, operands: Sequence[jax.Array]) -> jax.Array:
    """The sum over the synapses of one device."""
    if kind == "to_targets":
        return sparse.to_targets(*operands, backend=table.backend)
    if kind == "to_sources":
        return sparse.to_sources(*operands, num_sources=table.num_sources, backend=table.backend)
    flat = sparse.to_weights(*operands, num_weights=table.block * table.width, backend=table.backend)
    return flat.reshape(table.block, table.width)


def _over_blocks(kind: str, table: Table, operands: Sequence[jax.Array], arrays: Sequence[jax.Array]) -> jax.Array:
    """The sum over the synapses of all devices, where what has targets along an axis is padded, and split over the mesh."""
    mesh, (axes, result_axis) = table.mesh, _TARGET_AXES[kind]
    trials = tuple(name for name in mesh.shape if name != NEURON)
    trials = trials if trials and operands[0].shape[0] % math.prod(mesh.shape[n] for n in trials) == 0 else None

    def spec(rank: int, axis: int | None) -> PartitionSpec:
        # Weights, the one thing with targets along the first axis, have no trials.
        names: list[Any] = [None if axis == 0 else trials, *[None] * (rank - 1)]
        if axis is not None:
            names[axis] = NEURON
        return PartitionSpec(*names)

    def local(*values: jax.Array) -> jax.Array:
        *own, pointers, synapses, first = values
        out = _local(kind, table, [*own, pointers[0], synapses[0], first])
        summed = (*(trials or () if kind == "to_weights" else ()), *((NEURON,) if kind == "to_sources" else ()))
        return jax.lax.psum(out, summed) if summed else out

    in_specs = [PartitionSpec() if x.shape == (1,) else spec(x.ndim, axis) for x, axis in zip(operands, axes, strict=True)]
    table_specs = PartitionSpec(NEURON), PartitionSpec(NEURON), PartitionSpec()
    return jax.shard_map(
        local,
        mesh=mesh,
        in_specs=(*in_specs, *table_specs),
        out_specs=spec(3 if kind == "to_targets" else 2, result_axis),
        check_vma=False,
    )(*operands, *arrays)


def _computed(*values: jax.Array, kind: str, table: Table, blocked: bool) -> jax.Array:
    operands, arrays = values[:-3], values[-3:]
    if blocked:
        return _over_blocks(kind, table, operands, arrays)
    axes, result_axis = _TARGET_AXES[kind]
    missing = table.block * table.devices - table.num_targets

    def padded(x: jax.Array, axis: int | None) -> jax.Array:
        if axis is None or not missing or x.shape == (1,):
            return x
        return jnp.pad(x, [(0, missing if n == axis else 0) for n in range(x.ndim)])

    out = _over_blocks(kind, table, list(map(padded, operands, axes)), arrays)
    return out if result_axis is None else jax.lax.slice_in_dim(out, 0, table.num_targets, axis=result_axis)


def _primitive(kind: str) -> Primitive:
    made = Primitive(f"sparse_{kind}")
    made.def_impl(partial(jax.jit(_computed, static_argnames=("kind", "table", "blocked")), kind=kind))

    def shape(*operands: Any, table: Table, blocked: bool) -> ShapedArray:
        targets = table.block * table.devices if blocked else table.num_targets
        of = {
            "to_targets": operands[0].shape, "to_sources": (operands[0].shape[0], table.num_sources),
            "to_weights": (targets, table.width),
        }  # fmt: skip
        return ShapedArray(of[kind], operands[1 if kind == "to_weights" else 0].dtype)

    made.def_abstract_eval(shape)
    mlir.register_lowering(made, mlir.lower_fun(partial(_computed, kind=kind), multiple_results=False))
    return made


TO_TARGETS, TO_SOURCES, TO_WEIGHTS = map(_primitive, ("to_targets", "to_sources", "to_weights"))


def _nothing(x: Any) -> bool:
    """A tangent or cotangent that is 0, as that of booleans."""
    return type(x) is ad.Zero or x.dtype == jax.dtypes.float0


def _for_spikes(ct: jax.Array, w: Any, arrays: Sequence[Any], **params: Any) -> jax.Array:
    return TO_SOURCES.bind(ct, w, *arrays, **params)


def _for_weights(ct: jax.Array, spikes: Any, w: Any, arrays: Sequence[Any], **params: Any) -> jax.Array:
    """What comes back to weights of the shape of `w`."""
    if w.shape != (1,):
        return TO_WEIGHTS.bind(spikes, ct, *arrays, **params)
    ones = jnp.ones(1, ct.dtype)
    return (TO_TARGETS.bind(jnp.zeros_like(ct), spikes, ones, *arrays, **params) * ct).sum().reshape(1)


def _to_targets_tangent(primals: Sequence[Any], tangents: Sequence[Any], **params: Any) -> tuple[Any, Any]:
    onto, spikes, w, *arrays = primals
    moved = jnp.zeros_like(onto) if _nothing(tangents[0]) else tangents[0]
    if not _nothing(tangents[1]):
        moved = TO_TARGETS.bind(moved, tangents[1], w, *arrays, **params)
    if not _nothing(tangents[2]):
        moved = TO_TARGETS.bind(moved, spikes, tangents[2], *arrays, **params)
    return TO_TARGETS.bind(*primals, **params), moved


def _to_targets_transposed(ct: Any, onto: Any, spikes: Any, w: Any, *arrays: Any, **params: Any) -> list[Any]:
    found: list[Any] = [None] * (3 + len(arrays))
    if type(ct) is not ad.Zero:
        if ad.is_undefined_primal(onto):
            found[0] = ct
        if ad.is_undefined_primal(spikes):
            found[1] = _for_spikes(ct, w, arrays, **params)
        if ad.is_undefined_primal(w):
            found[2] = _for_weights(ct, spikes, w.aval, arrays, **params)
    return found


ad.primitive_jvps[TO_TARGETS] = _to_targets_tangent
ad.primitive_transposes[TO_TARGETS] = _to_targets_transposed


def _bilinear(made: Primitive, by_one: Callable[..., Any], by_other: Callable[..., Any]) -> None:
    """Makes an operation differentiable: it is linear in either of its first two operands.

    Args:
        by_one, by_other: of (cotangent, the other of the two operands, the operand itself, the table): its cotangent.
    """

    def tangent(primals: Sequence[Any], tangents: Sequence[Any], **params: Any) -> tuple[Any, Any]:
        one, other, *arrays = primals
        parts = []
        if not _nothing(tangents[0]):
            parts.append(made.bind(tangents[0], other, *arrays, **params))
        if not _nothing(tangents[1]):
            parts.append(made.bind(one, tangents[1], *arrays, **params))
        out = made.bind(one, other, *arrays, **params)
        return out, sum(parts[1:], parts[0]) if parts else jnp.zeros_like(out)

    def transpose(ct: Any, one: Any, other: Any, *arrays: Any, **params: Any) -> list[Any]:
        found: list[Any] = [None] * (2 + len(arrays))
        if type(ct) is not ad.Zero:
            if ad.is_undefined_primal(one):
                found[0] = by_one(ct, other, one.aval, arrays, **params)
            else:
                found[1] = by_other(ct, one, other.aval, arrays, **params)
        return found

    ad.primitive_jvps[made] = tangent
    ad.primitive_transposes[made] = transpose


def _for_targets(spikes: Any, w: Any, like: Any, arrays: Sequence[Any], **params: Any) -> jax.Array:
    return TO_TARGETS.bind(jnp.zeros(like.shape, like.dtype), spikes, w, *arrays, **params)


# With s spikes, g what comes back from targets, w weights: each sum leaves one of them out.
_bilinear(
    TO_SOURCES,
    by_one=lambda ct, w, g, arrays, **params: _for_targets(ct, w, g, arrays, **params),
    by_other=lambda ct, g, w, arrays, **params: _for_weights(g, ct, w, arrays, **params),
)
_bilinear(
    TO_WEIGHTS,
    by_one=lambda ct, g, s, arrays, **params: _for_spikes(g, ct, arrays, **params),
    by_other=lambda ct, s, g, arrays, **params: _for_targets(s, ct, g, arrays, **params),
)


def refuse_other_tables(dims: Sequence[Any]) -> None:
    """Raises NotImplementedError where lanes of `vmap` have a table each; `dims`: those of its arrays."""
    if any(dim is not None for dim in dims):
        raise NotImplementedError("vmap over the synapses of a table. Map over its spikes or weights.")


def of_this_device(x: Value) -> jax.Array:
    """The part of an array of a table that is that of the device at hand."""
    return x.array[0] if isinstance(x, Shard) else x[jax.lax.axis_index(NEURON)]


def _batched(made: Primitive) -> None:
    """Trials of `vmap` join those that are there already; where each needs a result of its own (other weights, weights'
    derivatives), they are computed one after the other."""
    trials = [axis != 0 for axis in _TARGET_AXES[made.name.removeprefix("sparse_")][0]]

    def batch(operands: Sequence[Any], dims: Sequence[Any], **params: Any) -> tuple[Any, Any]:
        values, arrays = operands[: len(trials)], operands[len(trials) :]
        refuse_other_tables(dims[len(trials) :])
        size = next(x.shape[d] for x, d in zip(operands, dims, strict=True) if d is not None)
        lanes = [jnp.broadcast_to(x, (size, *x.shape)) if d is None else jnp.moveaxis(x, d, 0)
                 for x, d in zip(values, dims, strict=False)]  # fmt: skip
        if made is not TO_WEIGHTS and dims[len(trials) - 1] is None:
            joined = [x.reshape(-1, *x.shape[2:]) for x in lanes[:-1]]
            out = made.bind(*joined, values[-1], *arrays, **params)
            return out.reshape(size, -1, *out.shape[1:]), 0
        return jax.lax.map(lambda each: made.bind(*each, *arrays, **params), tuple(lanes)), 0

    batching.primitive_batchers[made] = batch


for _made in (TO_TARGETS, TO_SOURCES, TO_WEIGHTS):
    _batched(_made)


@rule(TO_TARGETS.name, TO_SOURCES.name, TO_WEIGHTS.name, always=True)
def _on_blocks(blocks: Blocks, eqn: Any, values: list[Value]) -> list[Value]:
    """Over the mesh of a program: operands with targets along an axis are split, spikes are whole."""
    table: Table = eqn.params["table"]
    if table.mesh != blocks.mesh:
        return [eqn.primitive.bind(*map(blocks.whole, values), **eqn.params)]
    axes, result_axis = _TARGET_AXES[eqn.primitive.name.removeprefix("sparse_")]
    operands = [
        blocks.whole(x) if axis is None or var.aval.shape == (1,) else blocks.split(x, Kind(axis, table.num_targets))
        for x, axis, var in zip(values, axes, eqn.invars, strict=False)
    ]
    pointers, synapses, first = values[len(axes) :]
    if blocks.turn is None:
        arrays = map(blocks.whole, (pointers, synapses, first))
        out = eqn.primitive.bind(*operands, *arrays, table=table, blocked=True)
    else:  # on the device, whose part of the table this is
        own = map(of_this_device, (pointers, synapses))
        out = _local(eqn.primitive.name.removeprefix("sparse_"), table, [*operands, *own, blocks.whole(first)])
        out = jnp.sum(blocks.everywhere(out[None], 0), 0) if eqn.primitive is TO_SOURCES else out
    return [out if result_axis is None else Split(out, Kind(result_axis, table.num_targets))]
