"""Where the value of a State lies: as it was given, or by the names of its axes."""

from __future__ import annotations

from typing import NamedTuple

from jax.sharding import NamedSharding

from dist_sim.errors import StateValueError
from dist_sim.partition.blocks import Kind
from dist_sim.partition.mesh import Axes, MeshRules


class Given(NamedTuple):
    """The sharding that a user gave, for values with so many axes (per leaf)."""

    sharding: NamedSharding
    ranks: tuple[int, ...]

    def leaf(self, index: int, shape: tuple[int, ...], label: str) -> NamedSharding:
        """The sharding of one leaf. Axes in front of those it was given for (a batch) are not split.

        Raises:
            StateValueError: fewer axes than the sharding splits, or an axis that it does not divide.
        """
        rank = self.ranks[index] if index < len(self.ranks) else len(shape)
        spec = (*self.sharding.spec, *(None,) * (rank - len(self.sharding.spec)))
        lost = max(rank - len(shape), 0)
        if len(spec) > rank or any(axis is not None for axis in spec[:lost]):
            raise StateValueError(
                f"{label}: a value with {len(shape)} axes cannot be split by {self.sharding.spec}. Give a sharding for its axes."
            )
        spec = (None,) * (len(shape) - rank) + spec[lost:]
        while spec and spec[-1] is None:
            spec = spec[:-1]
        found = NamedSharding(self.sharding.mesh, type(self.sharding.spec)(*spec), memory_kind=self.sharding.memory_kind)
        try:
            found.shard_shape(shape)
        except ValueError:
            raise StateValueError(
                f"{label}: {self.sharding.spec} on a mesh of {dict(self.sharding.mesh.shape)} does not divide the shape {shape}. "
                "Choose a size that it divides, or split another axis."
            ) from None
        return found


class ByName(NamedTuple):
    """The mesh that was in use when the State was created, and the names of the State's axes."""

    rules: MeshRules
    axes: Axes

    def leaf(self, index: int, shape: tuple[int, ...], label: str) -> NamedSharding:
        """The sharding of one leaf. An axis that the mesh does not divide stays whole."""
        return self.rules.sharding(self.axes, shape)

    def kind(self, shape: tuple[int, ...]) -> Kind | None:
        """How a leaf is split inside of programs, where the mesh need not divide it."""
        axis = self.rules.neuron_axis(self.axes, len(shape))
        return None if axis is None else Kind(axis, shape[axis])


Placement = Given | ByName
