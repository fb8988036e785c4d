from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self, final

import jax
from jax.sharding import Mesh

from dist_sim import kernels
from dist_sim.errors import DeviceError
from dist_sim.kernels.gather import Meeting, gather, open_meeting
from dist_sim.partition.mesh import NEURON
from dist_sim.partition.processes import processes_of


@final
@dataclass(frozen=True)
class AllGatherMemory:
    """The masks of `AllGather`, gathered in memory by the threads of one process's CPU devices, which meet in a compiled kernel:
    a few microseconds where a collective of JAX takes tens to hundreds.

    Args:
        meeting: of the devices; None until `on` has opened it.
    """

    name: ClassVar[str] = "memory"
    meeting: Meeting | None = None

    def on(self, mesh: Mesh) -> Self:
        """For this mesh.

        Raises:
            DeviceError: devices that are no CPUs, or not all of this process; no C++ compiler.
        """
        if mesh.size == 1:
            return self
        where = "exchange='memory'"
        if (count := processes_of(mesh).count) > 1:
            raise DeviceError(f"{where}: {count} processes share no memory. Use exchange='mpi' under mpirun, else 'mask'.")
        if (platform := mesh.devices.flat[0].platform) != "cpu":
            raise DeviceError(f"{where}: the devices are {platform!r}, and CPUs are needed. Use exchange='mask'.")
        if not kernels.can_compile():
            raise DeviceError(f"{where}: it is compiled, and there is no g++ or clang++. Install one, or use exchange='mask'.")
        return replace(self, meeting=open_meeting(1, mesh.size))

    def at(self, number: jax.Array) -> Self:
        """Inside `shard_map`: with the number of the meeting as an argument of the program, (1,) int32."""
        assert self.meeting is not None
        return replace(self, meeting=replace(self.meeting, number=number))

    def __call__(self, step, outbox, events, sources, history, *, num_delays: int, backend: str, counted=()):
        """As `AllGather`."""
        return push_gathered(
            self.meeting, step, outbox, events, sources, history, num_delays=num_delays, backend=backend, counted=counted
        )

    def bytes_per_step(self, num_slots: int, num_devices: int) -> int:
        """Bytes that a device receives per step."""
        return num_slots // 8

    def grown(self) -> Self:
        """The strategy to run a chunk again with after an overflow."""
        return self


def push_gathered(meeting: Meeting | None, step, outbox, *then: Any, **options: Any):
    """Gathers the masks of all devices where they meet, and appends them to this device's history, as `AllGather` does."""
    if jax.lax.axis_size(NEURON) == 1:
        masks = outbox[None]
    else:
        assert meeting is not None, "`on` comes first"
        masks, _ = gather(jax.lax.axis_index(NEURON), outbox[None], step, meeting)
    return kernels.push_masks(step, masks, *then, **options)
