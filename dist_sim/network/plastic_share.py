"""The plastic synapses of one device, drawn on the host."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dist_sim.kernels import build


@dataclass(frozen=True, kw_only=True)
class PlasticShare:
    """Changing synapses of one family that end on one device, (num_synapses,) each.

    Attributes:
        source: source slot; delay: steps; weight: in the unit of the target's input.
        target: position in `target_ids`; number: among those of the family that the target has, in order of (connection, slot).
        kind: number of the connection among those of the family.
        target_ids: (num_targets,) global ids of neurons with plastic synapses, ascending.
        place: (num_targets, 2) int64 in the input vector, for positive and for negative weights; scale: one over the quantum.
    """

    source: np.ndarray
    delay: np.ndarray
    weight: np.ndarray
    target: np.ndarray
    number: np.ndarray
    kind: np.ndarray
    target_ids: np.ndarray
    place: np.ndarray
    scale: np.ndarray


def plastic_share(shares: Sequence[build.Connection], *, seed: int, dt: float) -> PlasticShare:
    """Draws the changing synapses of one family on one device; `shares` are those of its connections, in order."""
    drawn = [build.draw_values(c, seed=seed, dt=dt) for c in shares]
    ids = [c.target_id[d.target].astype(np.int64) for c, d in zip(shares, drawn, strict=True)]
    target_ids, target = np.unique(np.concatenate(ids), return_inverse=True)
    kind = np.repeat(np.arange(len(shares)), [len(i) for i in ids])
    order = np.lexsort((np.concatenate([d.slot for d in drawn]), kind, target))
    first = np.searchsorted(target[order], np.arange(len(target_ids)))
    number = np.empty(len(target), dtype=np.int64)
    number[order] = np.arange(len(target)) - first[target[order]]
    place, scale = np.zeros((len(target_ids), 2), dtype=np.int64), np.zeros(len(target_ids))
    for c in shares:
        at = np.searchsorted(target_ids, c.target_id)
        known = np.flatnonzero((at < len(target_ids)) & np.isin(c.target_id, target_ids))
        place[at[known], 0] = c.target_index[known]
        place[at[known], 1] = c.target_index[known] + c.channel_stride[known]
        scale[at[known]] = c.per_quantum[known]
    source, delay, weight = (np.concatenate([getattr(d, name) for d in drawn]) for name in ("source", "delay", "weight"))
    return PlasticShare(
        source=source, delay=delay, weight=weight, target=target, number=number, kind=kind,
        target_ids=target_ids, place=place, scale=scale,
    )  # fmt: skip
