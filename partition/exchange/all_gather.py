from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self, final

import jax
from jax.sharding import Mesh

from dist_sim import kernels
from dist_sim.partition.mesh import NEURON


@final
@dataclass(frozen=True)
class AllGather:
    """A bit per neuron and step, gathered from all devices: neurons / 8 bytes per step, and nothing that could overflow."""

    name: ClassVar[str] = "mask"

    def on(self, mesh: Mesh) -> Self:
        """For this mesh: any."""
        return self

    def __call__(self, step, outbox, events, sources, history, *, num_delays: int, backend: str, counted=()):
        """Inside `shard_map`: sends this device's spikes and appends all devices' to its history.

        Args:
            step: () int32, first step of the interval.
            outbox: (steps, words) uint32, this device's spikes.
            counted: where its words hold numbers of spikes, see `kernels.history`.
            events, sources, history: as for `kernels.push_masks`.

        Returns:
            The new history.
        """
        masks = jax.lax.all_gather(outbox, NEURON) if jax.lax.axis_size(NEURON) > 1 else outbox[None]
        return kernels.push_masks(step, masks, events, sources, history, num_delays=num_delays, backend=backend, counted=counted)

    def bytes_per_step(self, num_slots: int, num_devices: int) -> int:
        """Bytes that a device receives per step."""
        return num_slots // 8

    def grown(self) -> Self:
        """The strategy to run a chunk again with after an overflow."""
        return self
