"""What watched plastic synapses pass on during a chunk, on the devices of their targets."""

from __future__ import annotations

from typing import Any, NamedTuple, final

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from dist_sim.core import LongTermState, Module, ShortTermState
from dist_sim.partition.mesh import NEURON, local_part, local_positions, sharded, spread

_FIRST_ROOM = 1 << 13  # spikes of synapses that a device has room for


class Passed(NamedTuple):
    """Spikes that synapses have passed on, (n,) each: number of the synapse on its device, step at which the spike was emitted,
    and the weight. In order of time for each synapse."""

    synapse: np.ndarray
    emitted: np.ndarray
    weight: np.ndarray


@final
class WeightLog(Module):
    """A log per device, emptied between chunks, with a count that says what it should have had room for.

    Args:
        watched: per kind of synapses, whether they are watched.
        dtype: of the weights.

    States: watched (kinds,); synapse, emitted, weight (devices * room,); count (devices,).
    """

    structure = ("mesh",)

    def __init__(self, watched: np.ndarray, mesh: Mesh, dtype: Any):
        super().__init__()
        self.mesh, self.local, self._dtype = mesh, local_positions(mesh), dtype
        everywhere = sharded(mesh)
        self.watched = LongTermState(spread(watched.astype(np.int32), everywhere), sharding=everywhere)
        count = jnp.zeros(mesh.size, jnp.uint32, device=sharded(mesh, NEURON))
        self.count = ShortTermState(count, sharding=sharded(mesh, NEURON))
        self.synapse, self.emitted, self.weight = (
            ShortTermState(empty, sharding=sharded(mesh, NEURON)) for empty in self._empty(_FIRST_ROOM)
        )

    def _empty(self, room: int) -> tuple[jax.Array, ...]:
        where = sharded(self.mesh, NEURON)
        return tuple(jnp.zeros(self.mesh.size * room, t, device=where) for t in (jnp.uint32, jnp.int32, self._dtype))

    @property
    def values(self) -> tuple[jax.Array, ...]:
        """The log as `kernels.plastic.deliver` takes it."""
        return self.synapse.value, self.emitted.value, self.weight.value, self.count.value

    def assign(self, values: tuple[jax.Array, ...]) -> None:
        """Takes what `kernels.plastic.deliver` gives."""
        self.synapse.value, self.emitted.value, self.weight.value, self.count.value = values

    @property
    def room(self) -> int:
        """Spikes that a device has room for."""
        return self.synapse.value.shape[0] // self.mesh.size

    @property
    def wanted(self) -> int:
        """Spikes that a device of this process should have had room for."""
        return int(local_part(self.count.value).max())

    def grow(self, wanted: int) -> None:
        """Room for so many, and nothing in it: call on the state at the beginning of a chunk."""
        empty = self._empty(1 << (wanted - 1).bit_length())
        for state, value in zip((self.synapse, self.emitted, self.weight), empty, strict=True):
            state.reset_value(value)

    def take(self) -> list[Passed]:
        """What the devices of this process have put down since it was asked last."""
        counts = local_part(self.count.value)
        columns = [local_part(s.value).reshape(len(self.local), -1) for s in (self.synapse, self.emitted, self.weight)]
        self.count.value = jnp.zeros_like(self.count.value, device=self.count.value.sharding)
        return [Passed(*(column[d, : counts[d]] for column in columns)) for d in range(len(self.local))]
