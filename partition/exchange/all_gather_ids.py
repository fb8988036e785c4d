from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Self, final

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from dist_sim import kernels
from dist_sim.errors import ParameterError
from dist_sim.partition.mesh import NEURON


@final
@dataclass(frozen=True)
class AllGatherIds:
    """Lists of source slots of fixed capacity, gathered from all devices: 4 bytes per place, fewer than a mask where under 3 % of
    the neurons spike per step. A list that overflows is not sent short: the chunk is run again with twice the capacity.

    Args:
        capacity: spikes per device and step.
    """

    name: ClassVar[str] = "ids"
    capacity: int = 256

    def __post_init__(self) -> None:
        if self.capacity < 1:
            raise ParameterError(f"AllGatherIds(capacity={self.capacity}): at least 1 spike per device and step.")

    def on(self, mesh: Mesh) -> Self:
        """For this mesh: any."""
        return self

    def __call__(self, step, outbox, events, sources, history, *, num_delays: int, backend: str, counted=()):
        """As `AllGather`."""
        devices = jax.lax.axis_size(NEURON)
        slots = (outbox.shape[1] - sum(c.count for c in counted)) * 32
        first = jax.lax.axis_index(NEURON).astype(jnp.uint32) * jnp.uint32(slots)
        ids, counts = kernels.compact(outbox, first, capacity=self.capacity, backend=backend, counted=counted)
        if devices > 1:
            ids, counts = jax.lax.all_gather(ids, NEURON), jax.lax.all_gather(counts, NEURON)
        else:
            ids, counts = ids[None], counts[None]
        return kernels.push_ids(step, ids, counts, events, sources, history, num_delays=num_delays, backend=backend)

    def bytes_per_step(self, num_slots: int, num_devices: int) -> int:
        """Bytes that a device receives per step."""
        return 4 * num_devices * (self.capacity + 1)

    def grown(self) -> Self:
        """The strategy to run a chunk again with after an overflow."""
        return replace(self, capacity=2 * self.capacity)
