"""Poisson input to many neurons as one Module: all first drives of the neurons together, all second drives together, ..."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import final

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P

from dist_sim import kernels
from dist_sim.core import LongTermState, Module
from dist_sim.kernels.poisson import alike_blocks, count_tables
from dist_sim.network.tables import Backend, Channels
from dist_sim.partition.layout import NOWHERE, Layout
from dist_sim.partition.mesh import NEURON, sharded, spread

POISSON_STREAMS = 1 << 31  # synapses have the streams from 0, parameters those from 1 << 30


@dataclass(frozen=True, kw_only=True)
class PoissonDrive:
    """What one connection of Poisson generators to neurons of one model says.

    Attributes:
        target_ids: (n,) global ids of the targets; group: their model.
        mean: (n,) events per step; weight: (n,) in the unit of the input.
        delay, start, stop: steps.
        order: (n,) how many drives each target had before this one: the stream of its random numbers.
    """

    target_ids: np.ndarray
    group: int
    mean: np.ndarray
    weight: np.ndarray
    delay: int
    start: int
    stop: int
    order: np.ndarray


@final
class PoissonInput(Module):
    """Drives that share a stream, a delay and an active window, one per neuron at most.

    Args:
        drives: of one (order, delay, start, stop), with disjoint targets.
    """

    def __init__(
        self,
        drives: Sequence[PoissonDrive],
        order: int,
        layout: Layout,
        mesh: Mesh,
        channels: Sequence[Channels],
        *,
        seed: int,
        backend: Backend,
    ) -> None:
        super().__init__()
        self.mesh, self.backend, self.seed, self.stream = mesh, backend, seed, POISSON_STREAMS + order
        self.delay, self.start, self.stop = drives[0].delay, drives[0].start, drives[0].stop
        num_ids = len(layout.owner)
        mean, weight, index = np.zeros(num_ids), np.zeros(num_ids, dtype=backend.integer), np.zeros(num_ids, dtype=np.uint32)
        for d in drives:
            channel = channels[d.group]
            mean[d.target_ids] = d.mean
            weight[d.target_ids] = np.floor(d.weight / channel.quantum + 0.5)
            inhibitory = (d.weight < 0) & (channel.count == 2)
            index[d.target_ids] = channel.offset + layout.place[d.target_ids] + np.where(inhibitory, layout.block[d.group], 0)
        means, row = np.unique(mean[mean > 0], return_inverse=True)
        table = np.full(num_ids, -1, dtype=np.int32)
        table[mean > 0] = row
        tables = count_tables(means)

        # The padding goes on counting after its neurons, and has the last one's weight and no table.
        ids = layout.id_of_slot.reshape(layout.num_devices, -1)
        real = ids != NOWHERE
        last = np.maximum.accumulate(np.where(real, np.arange(ids.shape[1]), 0), axis=1)
        known = np.where(real.any(axis=1, keepdims=True), np.take_along_axis(ids, last, axis=1), 0)
        beyond = np.arange(ids.shape[1]) - last
        parts = {
            "table": np.where(real, table[known], -1).astype(np.int32),
            "ids": (known + beyond).astype(np.uint32),
            "index": (index[known] + beyond).astype(np.uint32),
            "weight": weight[known],
        }
        split, whole = sharded(mesh, NEURON), sharded(mesh)
        alike = alike_blocks(*(a.reshape(-1) for a in parts.values()))
        self.alike = LongTermState(spread(alike, split), sharding=split)
        self.table, self.ids, self.index, self.weight = (
            LongTermState(spread(a.reshape(-1), split), sharding=split) for a in parts.values()
        )
        self.thresholds, self.first, self.guide = (
            LongTermState(spread(jnp.asarray(a), whole), sharding=whole) for a in (tables.thresholds, tables.first, tables.guide)
        )

    def update(self, step: jax.Array, arriving: jax.Array) -> jax.Array:
        """Adds what arrives at the end of `step` to the input (threads, devices * size)."""
        run = partial(
            kernels.poisson, seed=self.seed, stream=self.stream, delay=self.delay, start=self.start, stop=self.stop,
            threads=self.backend.threads, backend=self.backend.name,
        )  # fmt: skip
        specs = (P(), (P(), P(), P()), (P(NEURON),) * 5, P(None, NEURON))
        island = jax.shard_map(run, mesh=self.mesh, in_specs=specs, out_specs=P(None, NEURON), check_vma=False)
        tables = (self.thresholds.value, self.first.value, self.guide.value)
        return island(
            step, tables, (self.alike.value, self.table.value, self.ids.value, self.index.value, self.weight.value), arriving
        )


def poisson_inputs(
    drives: Sequence[PoissonDrive], layout: Layout, mesh: Mesh, channels: Sequence[Channels], *, seed: int, backend: Backend
) -> list[PoissonInput]:
    """As few Modules as the drives allow. The random numbers of a neuron do not depend on the grouping."""
    layers: dict[tuple[int, int, int, int], list[PoissonDrive]] = {}
    for d in drives:
        for order in np.unique(d.order):
            chosen = d.order == order
            part = PoissonDrive(
                target_ids=d.target_ids[chosen], group=d.group, mean=d.mean[chosen], weight=d.weight[chosen], delay=d.delay,
                start=d.start, stop=d.stop, order=d.order[chosen],
            )  # fmt: skip
            layers.setdefault((int(order), d.delay, d.start, d.stop), []).append(part)
    return [
        PoissonInput(parts, order, layout, mesh, channels, seed=seed, backend=backend)
        for (order, *_), parts in sorted(layers.items(), key=lambda x: x[0])
    ]
