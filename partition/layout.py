"""Where every neuron lies: global id -> device, place in its model's array, source slot.

A device's neurons of one model form a block, in order of global ids, padded to a multiple of 128; the global array of a model
is the devices' blocks one after the other. Source slots number the padded neurons of all models device by device, then the
sources from outside (spike generators), which every device knows without exchange.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, final

import numpy as np

from dist_sim.kernels.backend import BLOCK

NOWHERE = -1
_PIECE = 1 << 18  # ids that are looked at together: bounds the memory of what passes over all of them


def span(ids: np.ndarray) -> slice | np.ndarray:
    """What picks these entries of an array: a slice, which copies nothing, where the ids are consecutive; else the ids."""
    n = len(ids)
    consecutive = n > 0 and int(ids[-1]) - int(ids[0]) == n - 1 and bool((ids[1:] > ids[:-1]).all())
    return slice(int(ids[0]), int(ids[-1]) + 1) if consecutive else ids


@final
class Ids(Sequence[int]):
    """Global ids that are stretches of consecutive ones, ascending: as few numbers as there are stretches."""

    def __init__(self, *runs: range):
        self.runs = runs
        self._ends = np.cumsum([len(run) for run in runs])

    def __len__(self) -> int:
        return int(self._ends[-1]) if self.runs else 0

    def __getitem__(self, index: Any) -> Any:
        if not 0 <= index < len(self):
            raise IndexError(index)
        which = int(np.searchsorted(self._ends, index, side="right"))
        return self.runs[which][index - int(self._ends[which])]

    def array(self) -> np.ndarray:
        """(n,) int64."""
        return np.concatenate([np.arange(run.start, run.stop) for run in self.runs])


@dataclass(frozen=True, kw_only=True)
class Layout:
    """What every process keeps of the whole network is `owner` and `slot`: 5 to 8 bytes per neuron; what says where the neurons
    of one device lie (`ids_on`) is made for the devices that are asked for.

    Attributes:
        owner: (num_ids,) device of each global id; `NOWHERE` for spike generators.
        groups: per model, its global ids.
        num_devices: devices of the mesh.
    """

    owner: np.ndarray
    groups: Sequence[Ids]
    num_devices: int
    _ids_on: dict[int, np.ndarray] = field(default_factory=dict, repr=False, compare=False)

    @cached_property
    def block(self) -> list[int]:
        """Padded neurons per device of each model."""
        sizes = []
        for group in range(len(self.groups)):
            count = np.zeros(self.num_devices, dtype=np.int64)
            for piece in self._pieces(group):
                count += np.bincount(self.owner[piece], minlength=self.num_devices)
            sizes.append(count.max(initial=0))
        return [int(-(-max(1, s) // BLOCK) * BLOCK) for s in sizes]

    @cached_property
    def first(self) -> list[int]:
        """Where the block of each model begins among a device's source slots."""
        return [0, *np.cumsum(self.block)[:-1].tolist()]

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
    def slot(self) -> np.ndarray:
        """(num_ids,) uint32 source slot of each global id."""
        slot = np.zeros(len(self.owner), dtype=np.uint32)
        for group, first in enumerate(self.first):
            taken = np.zeros(self.num_devices, dtype=np.int64)  # places of the model on each device so far
            for piece in self._pieces(group):
                device = self.owner[piece].astype(np.int64)
                order = np.argsort(device, kind="stable")
                count = np.bincount(device, minlength=self.num_devices)
                place = np.empty(len(device), dtype=np.int64)
                place[order] = np.arange(len(device)) - np.repeat(np.cumsum(count) - count, count)
                slot[piece] = device * self.slots_per_device + first + taken[device] + place
                taken += count
        slot[self.external_ids] = self.num_slots + np.arange(len(self.external_ids))
        return slot

    def place(self, group: int, ids: np.ndarray) -> np.ndarray:
        """(n,) int64 places of neurons of a model in its block on their devices."""
        return self.slot[span(ids)].astype(np.int64) % self.slots_per_device - self.first[group]

    def positions(self, group: int, ids: np.ndarray | None = None) -> np.ndarray:
        """Where neurons of a model, None for all, lie in its padded global order; all in order of their ids."""
        ids = self.groups[group].array() if ids is None else ids
        return self.owner[span(ids)].astype(np.int64) * self.block[group] + self.place(group, ids)

    def on(self, device: int, ids: np.ndarray) -> np.ndarray:
        """(k,) which of the ids are of neurons of a device."""
        return np.flatnonzero(self.owner[span(ids)] == device)

    def ids_on(self, device: int) -> np.ndarray:
        """(slots_per_device,) global ids of a device's neurons in order of their source slots, `NOWHERE` in the padding."""
        if device not in self._ids_on:
            found = np.full(self.slots_per_device, NOWHERE, dtype=np.int64)
            for ids, first in zip(self.groups, self.first, strict=True):
                here = [run.start + np.flatnonzero(self.owner[run.start : run.stop] == device) for run in ids.runs]
                mine = np.concatenate(here)
                found[first : first + len(mine)] = mine
            self._ids_on[device] = found
        return self._ids_on[device]

    def ids_of(self, slots: np.ndarray) -> np.ndarray:
        """(n,) global ids of source slots of neurons, `NOWHERE` in the padding; made for the devices that occur."""
        device, place = np.divmod(slots.astype(np.int64), self.slots_per_device)
        ids = np.empty(len(slots), dtype=np.int64)
        for d in np.unique(device):
            here = device == d
            ids[here] = self.ids_on(int(d))[place[here]]
        return ids

    @cached_property
    def id_of_slot(self) -> np.ndarray:
        """(num_slots,) global id of each neuron's source slot, `NOWHERE` in the padding."""
        ids = np.full(self.num_slots, NOWHERE, dtype=np.int64)
        neurons = np.flatnonzero(self.owner != NOWHERE)
        ids[self.slot[neurons]] = neurons
        return ids

    def gather(self, group: int, padded: np.ndarray) -> np.ndarray:
        """Padded global order -> order of global ids, along the last axis."""
        return padded[..., self.positions(group)]

    def _pieces(self, group: int) -> Iterator[slice]:
        for run in self.groups[group].runs:
            for start in range(run.start, run.stop, _PIECE):
                yield slice(start, min(start + _PIECE, run.stop))
