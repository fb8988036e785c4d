"""A program over blocks on a whole mesh: arrays are global, of the padded length, and the compiler communicates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, final

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from dist_sim.partition.blocks.program import Blocks, Kind, Split, Value, padded_size
from dist_sim.partition.mesh import NEURON


@final
class OverMesh(Blocks):
    """On any devices, and on meshes of several axes."""

    def __init__(self, mesh: Mesh) -> None:
        super().__init__(mesh)
        self._others = PartitionSpec.UNCONSTRAINED if len(mesh.shape) > 1 else None

    def length(self, size: int) -> int:
        return padded_size(size, self.devices)

    def cut(self, x: jax.Array, kind: Kind) -> jax.Array:
        return self._cut(self._constrained(x, kind.axis, None), kind)

    def take(self, x: jax.Array, kind: Kind) -> Split:
        """An input of a program, which lies wherever it lies, in blocks."""
        return Split(self._cut(x, kind), kind)

    def _cut(self, x: jax.Array, kind: Kind) -> jax.Array:
        axis, size = kind
        if (missing := self.length(size) - size) > 0:
            last = jnp.broadcast_to(jax.lax.index_in_dim(x, size - 1, axis), (*x.shape[:axis], missing, *x.shape[axis + 1 :]))
            # Every device has it: unsaid, the compiler would share out the padding, and gather it.
            x = jax.lax.concatenate([x, self._constrained(last, axis, None)], axis)
        return self._constrained(x, axis, NEURON)

    def everywhere(self, x: jax.Array, axis: int) -> jax.Array:
        # What is gathered is this array: said of it alone, the compiler would gather what it is computed from.
        return self._constrained(self._constrained(x, axis, NEURON), axis, None)

    def places(self, dtype: Any, shape: Sequence[int], along: int, kind: Kind) -> jax.Array:
        own = (*shape[: kind.axis], self.length(kind.size), *shape[kind.axis + 1 :])
        found = jax.lax.broadcasted_iota(dtype, own, along)
        return self._constrained(jnp.minimum(found, kind.size - 1) if along == kind.axis else found, kind.axis, NEURON)

    def total(self, numbers: jax.Array, kind: Kind, axes: Sequence[int], dtype: Any) -> Value:
        real = np.expand_dims(np.arange(numbers.shape[kind.axis]) < kind.size, [n for n in range(numbers.ndim) if n != kind.axis])
        return jnp.sum(jnp.where(real, numbers, 0), axes, numbers.dtype).astype(dtype)

    def lying(self, value: Value, sharding: NamedSharding, shape: tuple[int, ...]) -> Value:
        spec = [*sharding.spec, *(None,) * (len(shape) - len(sharding.spec))]
        if NEURON in spec:
            kind = Kind(spec.index(NEURON), shape[spec.index(NEURON)])
        elif isinstance(value, Split):
            kind = value.kind
            spec[kind.axis] = NEURON
        else:
            return jax.lax.with_sharding_constraint(self.whole(value), sharding)
        placed = NamedSharding(self.mesh, PartitionSpec(*spec))
        return Split(jax.lax.with_sharding_constraint(self.split(value, kind), placed), kind)

    def plain(self, value: Value) -> jax.Array:
        """The value as an array of its own size, lying wherever it lies."""
        if not isinstance(value, Split):
            return self.whole(value)
        return jax.lax.slice_in_dim(value.array, 0, value.kind.size, axis=value.kind.axis)

    def _constrained(self, x: jax.Array, axis: int, over: str | None) -> jax.Array:
        """`x` with one axis split over a mesh axis, or whole on every device; other axes stay split as they are."""
        spec: list[Any] = [self._others] * jnp.ndim(x)
        spec[axis] = over
        return jax.lax.with_sharding_constraint(x, NamedSharding(self.mesh, PartitionSpec(*spec)))
