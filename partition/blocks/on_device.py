"""A program over blocks on one device, inside `shard_map`: arrays are its own blocks, and the devices meet to gather.

Devices that meet (see `kernels.gather`) come to all places of a program at which something is gathered in one order: each takes a
turn, and returns the next. Nothing else may wait for the other devices in between. So the compiler is given the program of one
device, in which it has nothing to communicate, and no program over the mesh, in which it finds communication of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, final

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from dist_sim.kernels.gather import Meeting, after, gather
from dist_sim.partition.blocks.program import Blocks, Kind, Part, PartKind, Shard, Split, Value, padded, padded_size
from dist_sim.partition.mesh import NEURON

Program = Callable[[Blocks, list[Value]], list[Value]]


@final
class OnDevice(Blocks):
    """On a mesh of CPUs with the one axis `neuron`."""

    def __init__(self, mesh: Mesh, meeting: Meeting) -> None:
        super().__init__(mesh)
        self._meeting, self._here = meeting, jax.sharding.get_abstract_mesh()
        self.turn = jnp.int32(0)

    def surroundings(self) -> AbstractContextManager[Any]:
        # Written over a mesh, done on one of its devices.
        return jax.sharding.use_abstract_mesh(self._here)

    def length(self, size: int) -> int:
        return padded_size(size, self.devices) // self.devices

    def cut(self, x: jax.Array, kind: Kind) -> jax.Array:
        axis, size = kind
        block = self.length(size)
        first = jax.lax.axis_index(NEURON) * block
        return jax.lax.dynamic_slice_in_dim(padded(x, axis, block * self.devices), first, block, axis)

    def everywhere(self, x: jax.Array, axis: int) -> jax.Array:
        if jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
            bits = self.everywhere(jax.random.key_data(x), axis)
            return jax.random.wrap_key_data(bits, impl=jax.random.key_impl(x))
        assert self.turn is not None
        place = jax.lax.axis_index(NEURON)
        if axis == 0:
            found, self.turn = gather(place, x, self.turn, self._meeting)
            return found
        found, self.turn = gather(place, x[None], self.turn, self._meeting)
        joined = jnp.moveaxis(found, 0, axis).reshape(*x.shape[:axis], -1, *x.shape[axis + 1 :])
        # A compiler that saw how it was joined would take a sum part by part, and so in another order.
        return jax.lax.optimization_barrier(joined)

    def places(self, dtype: Any, shape: Sequence[int], along: int, kind: Kind) -> jax.Array:
        block = self.length(kind.size)
        found = jax.lax.broadcasted_iota(dtype, (*shape[: kind.axis], block, *shape[kind.axis + 1 :]), along)
        if along != kind.axis:
            return found
        return jnp.minimum(found + jnp.asarray(jax.lax.axis_index(NEURON) * block, dtype), jnp.asarray(kind.size - 1, dtype))

    def total(self, numbers: jax.Array, kind: Kind, axes: Sequence[int], dtype: Any) -> Value:
        block = numbers.shape[kind.axis]
        real = jnp.arange(block) < kind.size - jax.lax.axis_index(NEURON) * block
        real = jnp.expand_dims(real, [n for n in range(numbers.ndim) if n != kind.axis])
        return Part(jnp.sum(jnp.where(real, numbers, 0), axes, numbers.dtype), PartKind(dtype))

    def lying(self, value: Value, sharding: NamedSharding, shape: tuple[int, ...]) -> Value:
        if NEURON not in sharding.spec:
            return value
        kind = Kind(sharding.spec.index(NEURON), shape[sharding.spec.index(NEURON)])
        return Split(self.split(value, kind), kind)


def on_devices(
    mesh: Mesh, meeting: Meeting, program: Program, inputs: Sequence[jax.Array], kinds: Sequence[Kind | NamedSharding | None]
) -> list[jax.Array]:
    """What a program returns, run on each device of a mesh: arrays of their own size, lying wherever they lie.

    Args:
        program: of the blocks that run it and the values of its inputs.
        kinds: of the inputs: how it is split; or how it lies, where that is not as neurons do; or None for what is whole.
    """
    devices = mesh.shape[NEURON]
    even = [isinstance(kind, Kind) and kind.size % devices == 0 for kind in kinds]

    def spec(axis: int | None) -> PartitionSpec:
        return PartitionSpec() if axis is None else PartitionSpec(*(None,) * axis, NEURON)

    def run(arrays: Sequence[jax.Array]) -> tuple[OnDevice, list[Value]]:
        blocks = OnDevice(mesh, meeting)
        values: list[Value] = []
        for x, kind, is_even in zip(arrays, kinds, even, strict=True):
            if isinstance(kind, NamedSharding):
                values.append(Shard(x, kind.spec.index(NEURON)))
            elif kind is None:
                values.append(x)
            elif x.shape[kind.axis] == blocks.length(kind.size) and is_even:
                values.append(Split(x, kind))  # what lies here is its block
            else:
                values.append(Split(blocks.cut(blocks.everywhere(x, kind.axis) if is_even else x, kind), kind))
        return blocks, program(blocks, values)

    given = tuple(
        kind.spec if isinstance(kind, NamedSharding) else spec(kind.axis if isinstance(kind, Kind) and is_even else None)
        for kind, is_even in zip(kinds, even, strict=True)
    )
    found: list[Kind | None] = []

    def look(*arrays: jax.Array) -> None:
        found[:] = [value.kind if isinstance(value, Split) else None for value in run(arrays)[1]]

    def finished(*arrays: jax.Array) -> list[jax.Array]:
        blocks, out = run(arrays)
        plain = [value.array if isinstance(value, Split) else blocks.whole(value) for value in out]
        assert blocks.turn is not None
        # Whatever is sent of the results is sent after the last turn.
        return [after(x, blocks.turn) if kind is not None else x for x, kind in zip(plain, found, strict=True)]

    def mapped(f: Callable[..., Any], out: Any) -> Callable[..., Any]:
        return jax.shard_map(f, mesh=mesh, in_specs=given, out_specs=out, check_vma=False)

    jax.eval_shape(mapped(look, None), *inputs)
    results = mapped(finished, [spec(None if kind is None else kind.axis) for kind in found])(*inputs)
    pairs = zip(results, found, strict=True)
    return [x if kind is None else jax.lax.slice_in_dim(x, 0, kind.size, axis=kind.axis) for x, kind in pairs]
