"""Spikes in flight without placement: (step, global id) pairs, to and from the histories and the outbox of a `Projection`.

A device's history names rows of its own table, in a ring of its own size; the outbox has a bit per source slot. Both stand for
the spikes of the last steps, and those have global ids on any number of devices. Spikes from outside (spike generators) are not
kept: every device knows them from the description.
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
    outbox: np.ndarray,
    slots_of_outbox: np.ndarray,
    *,
    step: int,
    sent: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Steps and global ids, sorted by (step, id), of the spikes that may still be due or sent when `step` is about to begin.

    Args:
        histories: per device (sources, ring, marks): the source slot of each row of its table, and its history.
        outbox: (interval, words) bits of the steps from `sent` on; `slots_of_outbox`: the source slot of each bit.
    """
    found = [np.zeros((0, 2), np.int64)]
    for sources, ring, marks in histories:
        reach = len(marks)
        for emitted in range(max(0, sent - reach), sent):
            start, count = (int(x) for x in marks[emitted % reach])
            slots = sources[ring[(start + np.arange(count)) % len(ring)]]
            ids = layout.id_of_slot[slots[slots < layout.num_slots]]
            found.append(np.stack([np.full(len(ids), emitted), ids], axis=1))
    for emitted in range(sent, step):
        ids = layout.id_of_slot[slots_of_outbox[sources_of(np.ascontiguousarray(outbox[emitted % len(outbox)]))]]
        found.append(np.stack([np.full(len(ids), emitted), ids], axis=1))
    # Several devices know a spike that has targets on each of them.
    pairs = np.unique(np.concatenate(found), axis=0)
    return pairs[:, 0], pairs[:, 1]


def outbox_of(layout: Layout, steps: np.ndarray, ids: np.ndarray, shape: tuple[int, int], *, sent: int) -> np.ndarray:
    """(interval, words) uint32: the bits of the spikes from step `sent` on."""
    bits = np.zeros((shape[0], shape[1] * 32), dtype=np.uint8)
    late = steps >= sent
    bits[steps[late] % shape[0], layout.slot[ids[late]]] = 1
    return np.packbits(bits, axis=1, bitorder="little").view(np.uint32)


def history_of(
    layout: Layout, sources: np.ndarray, events: np.ndarray, steps: np.ndarray, ids: np.ndarray, *, sent: int, reach: int
) -> tuple[np.ndarray, np.ndarray]:
    """The live rows, oldest first, and the marks (reach, 2) of a device that has been sent all spikes before step `sent`."""
    marks, rows = np.zeros((reach, 2), dtype=np.uint32), [np.zeros(0, np.int64)]
    row = np.full(layout.num_slots + len(layout.external_ids), -1, dtype=np.int64)
    row[sources] = np.arange(len(sources))
    live = 0
    for emitted in range(max(0, sent - reach), sent):
        # In the order in which the exchange hands them over: neurons by source slot, then those from outside.
        known = row[np.sort(layout.slot[ids[steps == emitted]])]
        now = np.concatenate([known[known >= 0], events[1, events[0] == emitted]])
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
