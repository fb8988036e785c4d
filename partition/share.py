"""The part of a layout that lies on some devices: arrays over their neurons, in order of devices and source slots."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import final

import numpy as np

from dist_sim.partition.layout import Layout, span
from dist_sim.partition.processes import ALONE, Processes


@final
@dataclass(frozen=True, kw_only=True)
class Share:
    """Neurons of some devices. What is computed of them alone is as large as they are, not as the network.

    Attributes:
        devices: their places in the mesh, ascending.
        processes: those that hold the other devices, each a share of its own.
    """

    layout: Layout
    devices: np.ndarray
    processes: Processes = ALONE

    @cached_property
    def ids(self) -> np.ndarray:
        """(num_slots,) global ids, `NOWHERE` in the padding."""
        return np.concatenate([self.layout.ids_on(int(device)) for device in self.devices])

    @property
    def num_slots(self) -> int:
        """Source slots of these devices."""
        return len(self.devices) * self.layout.slots_per_device

    @cached_property
    def _number(self) -> np.ndarray:
        # In as few bytes as hold it: it is looked up for all targets of a connection. The last entry is of sources from outside.
        number = np.full(self.layout.num_devices + 1, -1, dtype=np.min_scalar_type(-len(self.devices) - 1))
        number[self.devices] = np.arange(len(self.devices))
        return number

    def find(self, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Which of the global ids are of neurons of these devices, (k,) ascending positions; and their places in `ids`, (k,)."""
        number = self._number[self.layout.owner[span(ids)]]
        mine = np.flatnonzero(number >= 0)
        within = self.layout.slot[ids[mine]].astype(np.int64) % self.layout.slots_per_device
        return mine, number[mine].astype(np.int64) * self.layout.slots_per_device + within

    def place(self, slots: np.ndarray) -> np.ndarray:
        """(n,) places in this share of source slots, -1 on other devices; sources from outside come after all neurons."""
        layout, slots = self.layout, slots.astype(np.int64)
        device, within = np.divmod(slots, layout.slots_per_device)
        number = self._number[np.minimum(device, layout.num_devices)].astype(np.int64)
        place = np.where(number >= 0, number * layout.slots_per_device + within, -1)
        return np.where(slots < layout.num_slots, place, self.num_slots + slots - layout.num_slots)

    def of_group(self, group: int, values: np.ndarray) -> np.ndarray:
        """(num_slots,) values, cut to the blocks of one model: (devices * block,)."""
        first = self.layout.first[group]
        blocks = values.reshape(len(self.devices), -1)[:, first : first + self.layout.block[group]]
        return blocks.reshape(-1)
