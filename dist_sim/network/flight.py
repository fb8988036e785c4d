"""Spikes in flight without placement: (step, global id, number), to and from the histories and the outbox of a `Projection`.

A device's history names rows of its own table, in a ring of its own size; the outbox has a bit per source slot. Both stand for
the spikes of the last steps, and those have global ids on any number of devices. Spikes from outside (spike generators) are not
kept: every device knows them from the description. The number is how often a neuron spikes in the step; of one of two states, 2
where it went up and 1 where it went down (see `kernels.history.Counted`).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dist_sim.kernels import history
from dist_sim.partition.layout import Layout


def sources_of(present: np.ndarray) -> np.ndarray:
    """Source slots of the rows of a device's table, from its bits."""
    return np.flatnonzero(np.unpackbits(present.view(np.uint8), bitorder="little"))


def spikes_in_flight(
    layout: Layout,
    histories: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray]],
    outboxes: Sequence[tuple[int, np.ndarray]],
    counted: Sequence[history.Counted],
    *,
    step: int,
    sent: int,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Steps, global ids and numbers, sorted by (step, id), of the spikes that may still be due or sent when `step` is about to
    begin.

    Args:
        histories: per device (sources, ring, marks): the source slot of each row of its table, and its history.
        outboxes: per device (its place in the mesh, (interval, words)): the spikes of the steps from `sent` on.
        counted: where the words hold numbers.
    """
    found, per_device = [np.zeros((0, 3), np.int64)], layout.slots_per_device
    for sources, ring, marks in histories:
        reach = len(marks)
        for emitted in range(max(0, sent - reach), sent):
            start, count = (int(x) for x in marks[emitted % reach])
            rows = ring[(start + np.arange(count)) % len(ring)]
            slots, down = sources[rows & ~history.DOWN], rows >= history.DOWN
            slots, first, number = np.unique(slots[slots < layout.num_slots], return_index=True, return_counts=True)
            number = np.where(_binary(slots % per_device, counted), np.where(down[first], 1, 2), number)
            found.append(np.stack([np.full(len(slots), emitted), layout.id_of_slot[slots], number], axis=1))
    for device, words in outboxes:
        for emitted in range(sent, step):
            row = words[emitted % len(words)]
            within = sources_of(np.ascontiguousarray(row[: per_device // 32]))
            number = np.ones(len(within), np.int64)
            for c in counted:
                mine = np.flatnonzero((within >= c.slot) & (within < c.slot + c.count))
                number[mine] = row[c.word + within[mine] - c.slot]
            found.append(
                np.stack([np.full(len(within), emitted), layout.id_of_slot[device * per_device + within], number], axis=1)
            )
    # Several devices know a spike that has targets on each of them.
    rows = np.unique(np.concatenate(found), axis=0)
    return rows[:, 0], rows[:, 1], rows[:, 2]


def _binary(within: np.ndarray, counted: Sequence[history.Counted]) -> np.ndarray:
    """Which places of a device's slots are of neurons of two states."""
    found = np.zeros(len(within), dtype=bool)
    for c in counted:
        if c.binary:
            found |= (within >= c.slot) & (within < c.slot + c.count)
    return found


def outbox_of(
    layout: Layout, steps: np.ndarray, ids: np.ndarray, number: np.ndarray, shape: tuple[int, int],
    counted: Sequence[history.Counted], *, sent: int,
) -> np.ndarray:  # fmt: skip
    """(interval, devices * words) uint32: the spikes from step `sent` on."""
    late = steps >= sent
    place, (device, within) = steps[late] % shape[0], np.divmod(layout.slot[ids[late]].astype(np.int64), layout.slots_per_device)
    words = np.zeros((shape[0], layout.num_devices, shape[1] // layout.num_devices), dtype=np.uint32)
    np.bitwise_or.at(words, (place, device, within >> 5), np.uint32(1) << (within & 31).astype(np.uint32))
    for c in counted:
        mine = np.flatnonzero((within >= c.slot) & (within < c.slot + c.count))
        words[place[mine], device[mine], c.word + within[mine] - c.slot] = number[late][mine]
    return words.reshape(shape)


def history_of(
    layout: Layout, sources: np.ndarray, events: np.ndarray, steps: np.ndarray, ids: np.ndarray, number: np.ndarray,
    counted: Sequence[history.Counted], *, sent: int, reach: int,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """The live rows, oldest first, and the marks (reach, 2) of a device that has been sent all spikes before step `sent`."""
    marks, rows = np.zeros((reach, 2), dtype=np.uint32), [np.zeros(0, np.int64)]
    row = np.full(layout.num_slots + len(layout.external_ids), -1, dtype=np.int64)
    row[sources] = np.arange(len(sources))
    live = 0
    for emitted in range(max(0, sent - reach), sent):
        # In the order in which the exchange hands them over: neurons by source slot, then those from outside.
        slots, numbers = layout.slot[ids[steps == emitted]].astype(np.int64), number[steps == emitted]
        order = np.argsort(slots)
        slots, numbers = slots[order], numbers[order]
        binary = _binary(slots % layout.slots_per_device, counted)
        known = np.where(binary & (numbers == 1), row[slots] | int(history.DOWN), row[slots])
        known = np.repeat(known, np.where(row[slots] < 0, 0, np.where(binary, 1, numbers)))
        now = np.concatenate([known, events[1, events[0] == emitted]])
        marks[emitted % reach] = live, len(now)
        rows.append(now)
        live += len(now)
    return np.concatenate(rows).astype(np.uint32), marks


def counters_of(live: int, totals: np.ndarray | None) -> np.ndarray:
    """Counters of a device with `live` spikes, which keeps the totals (delivered, scheduled) of all, or none of them."""
    counters = np.zeros(history.NUM_COUNTERS, dtype=np.uint32)
    counters[history.HEAD] = counters[history.LIVE_MAX] = live
    for which, total in zip((history.DELIVERED, history.SCHEDULED), (0, 0) if totals is None else totals, strict=True):
        counters[which], counters[which + 1] = int(total) & 0xFFFFFFFF, int(total) >> 32
    return counters
