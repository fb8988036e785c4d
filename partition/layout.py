"""Where every neuron lies: global id -> device, place in its model's array, source slot.

A device's neurons of one model form a block, in order of global ids, padded to a multiple of 128; the global array of a model
is the devices' blocks one after the other. Source slots number the padded neurons of all models device by device, then the
sources from outside (spike generators), which every device knows without exchange.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from dist_sim.kernels.neurons import BLOCK

NOWHERE = -1


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Attributes:
    owner: (num_ids,) device of each global id; `NOWHERE` for spike generators.
    groups: per model, its global ids in ascending order.
    num_devices: devices of the mesh.
    """

    owner: np.ndarray
    groups: Sequence[np.ndarray]
    num_devices: int

    @cached_property
    def block(self) -> list[int]:
        """Padded neurons per device of each model."""
        sizes = [np.bincount(self.owner[ids], minlength=self.num_devices).max(initial=0) for ids in self.groups]
        return [int(-(-max(1, s) // BLOCK) * BLOCK) for s in sizes]

    @cached_property
    def slots_per_device(self) -> int:
        """Padded neurons of all models on one device: a multiple of 128."""
        return sum(self.block)

    @cached_property
    def num_slots(self) -> int:
        """Source slots of the neurons of all devices."""
        return self.slots_per_device * self.num_devices

    @cached_property
    def num_source_slots(self) -> int:
        """Source slots of neurons, and after them one for each source from outside."""
        return self.num_slots + len(self.external_ids)

    @cached_property
    def external_ids(self) -> np.ndarray:
        """Global ids of the sources from outside."""
        return np.flatnonzero(self.owner == NOWHERE)

    @cached_property
    def ids_at(self) -> list[np.ndarray]:
        """Per model (num_devices, block): global id at each place, `NOWHERE` in the padding."""
        found = []
        for ids, block in zip(self.groups, self.block, strict=True):
            at = np.full((self.num_devices, block), NOWHERE, dtype=np.int64)
            for device in range(self.num_devices):
                mine = ids[self.owner[ids] == device]
                at[device, : len(mine)] = mine
            found.append(at)
        return found

    @cached_property
    def place(self) -> np.ndarray:
        """(num_ids,) place of each neuron in the block of its model on its device."""
        place = np.zeros(len(self.owner), dtype=np.int64)
        for at in self.ids_at:
            device, index = np.nonzero(at != NOWHERE)
            place[at[device, index]] = index
        return place

    @cached_property
    def slot(self) -> np.ndarray:
        """(num_ids,) uint32 source slot of each global id."""
        slot = np.zeros(len(self.owner), dtype=np.uint32)
        first = 0
        for at, block in zip(self.ids_at, self.block, strict=True):
            device, index = np.nonzero(at != NOWHERE)
            slot[at[device, index]] = device * self.slots_per_device + first + index
            first += block
        slot[self.external_ids] = self.num_slots + np.arange(len(self.external_ids))
        return slot

    @cached_property
    def id_of_slot(self) -> np.ndarray:
        """(num_slots,) global id of each neuron's source slot, `NOWHERE` in the padding."""
        return np.concatenate(self.ids_at, axis=1).reshape(-1)

    def spread(self, group: int, values: np.ndarray, fill: float = 0.0) -> np.ndarray:
        """Values in order of the ids of a model -> the padded global order, along the last axis."""
        at = self.ids_at[group].reshape(-1)
        spread = np.full((*values.shape[:-1], len(at)), fill, dtype=values.dtype)
        real = at != NOWHERE
        spread[..., real] = values[..., np.searchsorted(self.groups[group], at[real])]
        return spread

    def gather(self, group: int, padded: np.ndarray) -> np.ndarray:
        """The inverse of `spread`: padded global order -> order of global ids, along the last axis."""
        return padded[..., self.positions(group)]

    def positions(self, group: int) -> np.ndarray:
        """Where the neurons of a model lie in the padded global order, in order of their ids."""
        ids = self.groups[group]
        return self.owner[ids] * self.block[group] + self.place[ids]
