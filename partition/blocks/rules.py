"""How the operations of JAX act on arrays that are split along one axis: see :mod:`dist_sim.partition.blocks.program`.

A rule returns split results where each device can compute its block from the blocks it has. Where it cannot, it computes from
the whole arrays, as every operation without a rule does.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import NamedSharding

from dist_sim.partition.blocks.program import Blocks, Counted, Kind, Part, Split, Uniform, Value, bind, rule

_ELEMENTWISE = (
    "abs", "acos", "acosh", "add", "add_any", "and", "asin", "asinh", "atan", "atan2", "atanh", "bessel_i0e", "bessel_i1e",
    "cbrt", "ceil", "clamp", "clz", "complex", "conj", "copy", "copy_p", "cos", "cosh", "digamma", "div",
    "eq", "erf", "erf_inv", "erfc", "exp", "exp2", "expm1", "floor", "ge", "gt", "igamma", "imag", "integer_pow", "is_finite",
    "le", "lgamma", "log", "log1p", "logistic", "lt", "max", "min", "mul", "mulhi", "ne", "neg", "nextafter", "not", "or",
    "population_count", "pow", "real", "reduce_precision", "rem", "round", "rsqrt", "select_n", "shift_left",
    "shift_right_arithmetic", "shift_right_logical", "sign", "sin", "sinh", "sqrt", "square", "sub", "tan", "tanh", "xor",
    "bitcast_convert_type", "stop_gradient",
)  # fmt: skip
_REDUCTIONS = (
    "argmax", "argmin", "reduce_and", "reduce_max", "reduce_min", "reduce_or", "reduce_prod", "reduce_xor",
)  # fmt: skip
_CUMULATIVE = ("cumsum", "cumprod", "cummax", "cummin", "cumlogsumexp")
_SCATTERS = ("scatter", "scatter-add", "scatter_add", "scatter_mul", "scatter-mul", "scatter_min", "scatter_max")


def _first_kind(values: Sequence[Value]) -> Kind:
    return next(x.kind for x in values if isinstance(x, Split))


def _whole(blocks: Blocks, eqn: Any, values: Sequence[Value]) -> list[Value]:
    return bind(eqn, list(map(blocks.whole, values)))


def _padded(shape: Sequence[int], axis: int, blocks: Blocks) -> tuple[int, ...]:
    return (*shape[:axis], blocks.length(shape[axis]), *shape[axis + 1 :])


# ---- along each neuron ----


@rule("iota", always=True)
def iota(blocks: Blocks, eqn: Any, values: list[Value]) -> list[Value]:
    shape, along, dtype = eqn.params["shape"], eqn.params["dimension"], eqn.params["dtype"]
    if values:
        return _whole(blocks, eqn, values)

    return [Counted(lambda: bind(eqn, [])[0], lambda kind: blocks.places(dtype, shape, along, kind))]


@rule(*_ELEMENTWISE, always=True, by_place=True)
def elementwise(blocks: Blocks, eqn: Any, values: list[Value]) -> list[Value]:
    shape = eqn.outvars[0].aval.shape
    if shape and all(isinstance(x, Uniform) or not var.aval.ndim for x, var in zip(values, eqn.invars, strict=True)):
        (number,) = bind(eqn, [x.number if isinstance(x, Uniform) else x for x in values])
        return [Uniform(number, shape)]
    kinds = [x.kind for x in values if isinstance(x, Split) and shape[x.kind.axis] == x.kind.size]

    def on(kind: Kind) -> jax.Array:
        def array(value: Value, its_shape: tuple[int, ...]) -> jax.Array:
            """One number for all neurons stays that."""
            return blocks.split(value, kind) if its_shape and its_shape[kind.axis] == kind.size else blocks.whole(value)

        (out,) = bind(eqn, [array(x, var.aval.shape) for x, var in zip(values, eqn.invars, strict=True)])
        return out

    if kinds:
        return [Split(on(kinds[0]), kinds[0])]
    if any(isinstance(x, Counted) for x in values):
        return [Counted(lambda: _whole(blocks, eqn, values)[0], on)]
    return _whole(blocks, eqn, values)


@rule("name", always=True, by_place=True, with_parts=True)
def name(blocks: Blocks, eqn: Any, values: list[Value]) -> list[Value]:
    """What a loop keeps of a step for its gradient has names."""
    (x,) = values
    if isinstance(x, Part):
        return [Part(bind(eqn, [x.array])[0], x.kind)]
    return elementwise(blocks, eqn, values)


@rule("broadcast_in_dim", always=True)
def broadcast_in_dim(blocks: Blocks, eqn: Any, values: list[Value]) -> list[Value]:
    x, shape, into = values[0], eqn.params["shape"], eqn.params["broadcast_dimensions"]
    if isinstance(x, Split):
        axis = into[x.kind.axis]
        if shape[axis] == x.kind.size:
            padded = _padded(shape, axis, blocks)
            return [Split(bind(eqn, [x.array], shape=padded, sharding=None)[0], Kind(axis, x.kind.size))]
    elif len(values) == 1 and not eqn.invars[0].aval.ndim and not jnp.issubdtype(eqn.invars[0].aval.dtype, jax.dtypes.extended):
        return [Uniform(jnp.asarray(x, eqn.invars[0].aval.dtype), shape)]
    # `jnp.where` writes a sharding on the mesh in use; where a value lies is decided here.
    return bind(eqn, list(map(blocks.whole, values)), sharding=None)


# ---- along other axes ----


@rule("reshape")
def reshape(blocks: Blocks, eqn: Any, values: list[Value]) -> list[Value]:
    x, sizes = values[0], eqn.params["new_sizes"]
    axis, size = x.kind
    before = x.array.shape[:axis]
    ahead = 1
    for new, n in enumerate(sizes):
        if ahead == math.prod(before) and n == size and eqn.params["dimensions"] is None:
            return [Split(bind(eqn, [x.array], new_sizes=_padded(sizes, new, blocks))[0], Kind(new, size))]
        ahead *= n
    return _whole(blocks, eqn, values)


@rule("squeeze")
def squeeze(blocks: Blocks, eqn: Any, values: list[Value]) -> list[Value]:
    return _without_axes(blocks, eqn, values, eqn.params["dimensions"])


@rule("convert_element_type", always=True, by_place=True)
def convert_element_type(blocks: Blocks, eqn: Any, values: list[Value]) -> list[Value]:
    (out,) = elementwise(blocks, eqn, values)
    if isinstance(out, Split) and eqn.invars[0].aval.dtype == jnp.bool_:
        out.booleans = blocks.split(values[0], out.kind)
    return [out]


@rule(*_REDUCTIONS)
def reduction(blocks: Blocks, eqn: Any, values: list[Value]) -> list[Value]:
    return _without_axes(blocks, eqn, values, eqn.params["axes"])


@rule("reduce_sum")
def reduce_sum(blocks: Blocks, eqn: Any, values: list[Value]) -> list[Value]:
    """A sum of whole numbers is the same in any order: each device adds up its own, and no neuron is sent for it."""
    x, axes = values[0], eqn.params["axes"]
    numbers = x.array if x.booleans is None else x.booleans.astype(jnp.int32)
    axis, size = x.kind
    if axis not in axes and jnp.issubdtype(numbers.dtype, jnp.inexact):
        return [Split(_sum_in_order(numbers, axes), Kind(axis - sum(n < axis for n in axes), size))]
    if axis not in axes or not jnp.issubdtype(numbers.dtype, jnp.integer):
        return reduction(blocks, eqn, values)
    dtype = eqn.outvars[0].aval.dtype
    if blocks.devices == 1:
        return [_sum_of_one_device(numbers, axis, size, axes).astype(dtype)]
    return [blocks.total(numbers, x.kind, axes, dtype)]


def _sum_in_order(x: jax.Array, axes: Sequence[int]) -> jax.Array:
    """The sum along some axes, of halves that are added to each other. A compiler takes sums in an order that depends on how
    many neurons a block has."""
    for axis in sorted(axes, reverse=True):
        while (size := x.shape[axis]) > 1:
            half = size // 2
            first, second = (jax.lax.slice_in_dim(x, n * half, (n + 1) * half, axis=axis) for n in range(2))
            rest = [jax.lax.slice_in_dim(x, size - 1, size, axis=axis)] if size % 2 else []
            x = jax.lax.concatenate([first + second, *rest], axis) if rest else first + second
        x = jax.lax.squeeze(x, (axis,)) if x.shape[axis] else jnp.sum(x, axis)
    return x


def _sum_of_one_device(numbers: jax.Array, axis: int, size: int, axes: Sequence[int]) -> jax.Array:
    """The same without a mask, which costs as much as the sum, and with eight parts added to each other first, in vector
    registers. Over several devices parts would not lie where they are added, and sending takes longer than either."""
    part, rest = divmod(size, 8)
    first, *others = (jax.lax.slice_in_dim(numbers, n * part, (n + 1) * part, axis=axis) for n in range(8))
    total = jnp.sum(sum(others, start=first), axes, numbers.dtype)
    if rest:
        total += jnp.sum(jax.lax.slice_in_dim(numbers, size - rest, size, axis=axis), axes, numbers.dtype)
    return total


def _without_axes(blocks: Blocks, eqn: Any, values: list[Value], axes: Sequence[int]) -> list[Value]:
    x = values[0]
    axis, size = x.kind
    if axis in axes:
        return _whole(blocks, eqn, values)
    kept = Kind(axis - sum(n < axis for n in axes), size)
    return [Split(bind(eqn, [x.array])[0], kept)]


@rule("transpose")
def transpose(blocks: Blocks, eqn: Any, values: list[Value]) -> list[Value]:
    x = values[0]
    return [Split(bind(eqn, [x.array])[0], Kind(eqn.params["permutation"].index(x.kind.axis), x.kind.size))]


@rule(*_CUMULATIVE)
def cumulative(blocks: Blocks, eqn: Any, values: list[Value]) -> list[Value]:
    x = values[0]
    if eqn.params["axis"] == x.kind.axis:
        return _whole(blocks, eqn, values)
    return [Split(bind(eqn, [x.array])[0], x.kind)]


@rule("rev")
def rev(blocks: Blocks, eqn: Any, values: list[Value]) -> list[Value]:
    x = values[0]
    if x.kind.axis in eqn.params["dimensions"]:
        return _whole(blocks, eqn, values)
    return [Split(bind(eqn, [x.array])[0], x.kind)]


@rule("concatenate")
def concatenate(blocks: Blocks, eqn: Any, values: list[Value]) -> list[Value]:
    kind = _first_kind(values)
    if eqn.params["dimension"] == kind.axis or any(isinstance(x, Split) and x.kind != kind for x in values):
        return _whole(blocks, eqn, values)
    return [Split(bind(eqn, [blocks.split(x, kind) for x in values])[0], kind)]


@rule("split")
def split(blocks: Blocks, eqn: Any, values: list[Value]) -> list[Value]:
    x = values[0]
    if eqn.params["axis"] == x.kind.axis:
        return _whole(blocks, eqn, values)
    return [Split(out, x.kind) for out in bind(eqn, [x.array])]


@rule("pad")
def pad(blocks: Blocks, eqn: Any, values: list[Value]) -> list[Value]:
    x, number = values
    if not isinstance(x, Split) or eqn.params["padding_config"][x.kind.axis] != (0, 0, 0):
        return _whole(blocks, eqn, values)
    return [Split(bind(eqn, [x.array, blocks.whole(number)])[0], x.kind)]


@rule("slice")
def slice_(blocks: Blocks, eqn: Any, values: list[Value]) -> list[Value]:
    x, params = values[0], eqn.params
    axis, size = x.kind
    strides = params["strides"]
    if params["start_indices"][axis] or params["limit_indices"][axis] != size or (strides is not None and strides[axis] != 1):
        return _whole(blocks, eqn, values)
    return [Split(bind(eqn, [x.array], limit_indices=_padded(params["limit_indices"], axis, blocks))[0], x.kind)]


@rule("dynamic_slice")
def dynamic_slice(blocks: Blocks, eqn: Any, values: list[Value]) -> list[Value]:
    x, *starts = values
    if not isinstance(x, Split) or eqn.params["slice_sizes"][x.kind.axis] != x.kind.size:
        return _whole(blocks, eqn, values)
    starts = list(map(blocks.whole, starts))
    starts[x.kind.axis] = jnp.zeros_like(starts[x.kind.axis])  # as clamping to the whole axis makes it
    sizes = _padded(eqn.params["slice_sizes"], x.kind.axis, blocks)
    return [Split(bind(eqn, [x.array, *starts], slice_sizes=sizes)[0], x.kind)]


@rule("dynamic_update_slice")
def dynamic_update_slice(blocks: Blocks, eqn: Any, values: list[Value]) -> list[Value]:
    kind = _first_kind(values[:2]) if any(isinstance(x, Split) for x in values[:2]) else None
    into, update = eqn.invars[:2]
    if kind is None or not update.aval.shape[kind.axis] == kind.size == into.aval.shape[kind.axis]:
        return _whole(blocks, eqn, values)
    starts = list(map(blocks.whole, values[2:]))
    starts[kind.axis] = jnp.zeros_like(starts[kind.axis])
    return [Split(bind(eqn, [*(blocks.split(x, kind) for x in values[:2]), *starts])[0], kind)]


@rule("gather")
def gather(blocks: Blocks, eqn: Any, values: list[Value]) -> list[Value]:
    x, indices = values
    numbers, sizes = eqn.params["dimension_numbers"], eqn.params["slice_sizes"]
    out = eqn.outvars[0].aval
    if not isinstance(x, Split):
        # Each neuron takes from the same whole array; the last axis of indices is that of their components.
        if not isinstance(indices, Split) or numbers.operand_batching_dims or indices.kind.axis == indices.array.ndim - 1:
            return _whole(blocks, eqn, values)
        at, size = indices.kind
        batch = [n for n in range(out.ndim) if n not in numbers.offset_dims]
        return [Split(bind(eqn, [blocks.whole(x), indices.array])[0], Kind(batch[at], size))]
    axis, size = x.kind
    if axis in numbers.operand_batching_dims:
        # One index per neuron: each takes from its own.
        at = numbers.start_indices_batching_dims[numbers.operand_batching_dims.index(axis)]
        batch = [n for n in range(out.ndim) if n not in numbers.offset_dims]
        return [Split(bind(eqn, [x.array, blocks.split(indices, Kind(at, size))])[0], Kind(batch[at], size))]
    if axis in numbers.collapsed_slice_dims or axis in numbers.start_index_map or sizes[axis] != size:
        return _whole(blocks, eqn, values)
    windows = [n for n in range(x.array.ndim) if n not in (*numbers.collapsed_slice_dims, *numbers.operand_batching_dims)]
    kept = Kind(numbers.offset_dims[windows.index(axis)], size)
    return [Split(bind(eqn, [x.array, blocks.whole(indices)], slice_sizes=_padded(sizes, axis, blocks))[0], kept)]


@rule(*_SCATTERS)
def scatter(blocks: Blocks, eqn: Any, values: list[Value]) -> list[Value]:
    into, indices, updates = values
    numbers = eqn.params["dimension_numbers"]
    if not isinstance(into, Split):
        return _whole(blocks, eqn, values)
    axis, size = into.kind
    if axis in numbers.operand_batching_dims:
        at = numbers.scatter_indices_batching_dims[numbers.operand_batching_dims.index(axis)]
        batch = [n for n in range(eqn.invars[2].aval.ndim) if n not in numbers.update_window_dims]
        arrays = [into.array, blocks.split(indices, Kind(at, size)), blocks.split(updates, Kind(batch[at], size))]
        return [Split(bind(eqn, arrays)[0], into.kind)]
    windows = [n for n in range(into.array.ndim) if n not in (*numbers.inserted_window_dims, *numbers.operand_batching_dims)]
    if axis in numbers.scatter_dims_to_operand_dims or axis not in windows:
        return _whole(blocks, eqn, values)
    at = numbers.update_window_dims[windows.index(axis)]
    if eqn.invars[2].aval.shape[at] != size:
        return _whole(blocks, eqn, values)
    arrays = [into.array, blocks.whole(indices), blocks.split(updates, Kind(at, size))]
    return [Split(bind(eqn, arrays)[0], into.kind)]


@rule("dot_general")
def dot_general(blocks: Blocks, eqn: Any, values: list[Value]) -> list[Value]:
    (contracted, batched) = eqn.params["dimension_numbers"]
    sides = list(values)
    found: list[Kind | None] = [None, None]
    for side in (0, 1):
        x = values[side]
        if not isinstance(x, Split):
            continue
        axis, size = x.kind
        if axis in contracted[side] or axis in batched[side]:
            return _whole(blocks, eqn, values)
        rank = eqn.invars[side].aval.ndim
        free = [n for n in range(rank) if n not in (*contracted[side], *batched[side])]
        ahead = len(batched[0]) + (eqn.invars[0].aval.ndim - len(contracted[0]) - len(batched[0]) if side else 0)
        found[side] = Kind(ahead + free.index(axis), size)
    # Where both sides could stay split, the right one does: weights lie (from, to), split by where they lead to.
    kept = found[1] or found[0]
    keep = 1 if found[1] else 0
    assert kept is not None
    arrays = [x.array if n == keep else blocks.whole(x) for n, x in enumerate(sides)]
    return [Split(bind(eqn, arrays)[0], kept)]


@rule("sharding_constraint", always=True)
def sharding_constraint(blocks: Blocks, eqn: Any, values: list[Value]) -> list[Value]:
    sharding = eqn.params["sharding"]
    if not isinstance(sharding, NamedSharding) or sharding.mesh != blocks.mesh:
        return _whole(blocks, eqn, values)
    return [blocks.lying(values[0], sharding, eqn.invars[0].aval.shape)]


@rule("reshard")
def reshard(blocks: Blocks, eqn: Any, values: list[Value]) -> list[Value]:
    """What broadcasting in `jnp.where` writes; where a value lies is decided here."""
    return values
