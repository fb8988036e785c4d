"""Poisson input to many neurons as one Module: all first drives of the neurons together, all second drives together, ..."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import final

import jax
import numpy as np
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P

from dist_sim import kernels
from dist_sim.core import LongTermState, Module
from dist_sim.kernels.philox import key_words
from dist_sim.kernels.poisson import alike_blocks, count_tables
from dist_sim.network.arguments import everywhere
from dist_sim.network.channels import Channels
from dist_sim.network.stimulus import STIMULUS_STREAMS
from dist_sim.network.tables import Backend
from dist_sim.partition.layout import NOWHERE
from dist_sim.partition.mesh import NEURON, joined, sharded
from dist_sim.partition.share import Share


@dataclass(frozen=True, kw_only=True)
class PoissonDrive:
    """What one connection of Poisson generators to neurons of one model says.

    Attributes:
        place: (n,) targets: their places in a `Share`; group: their model; receptor: type of their receptors.
        mean: (n,) events per step; weight: (n,) in the unit of the input.
        delay, start, stop: steps.
        order: (n,) how many drives each target had before this one: the stream of its random numbers.
    """

    place: np.ndarray
    group: int
    mean: np.ndarray
    weight: np.ndarray
    delay: int
    start: int
    stop: int
    order: np.ndarray
    receptor: int = 0


_FEW_MEANS = 4  # rows of tables for so many more: where two means are equal, or 0, the tables stay of one size


@final
class PoissonInput(Module):
    """Drives that share a stream, a delay and an active window, one per neuron at most.

    Args:
        drives: of one (order, delay, start, stop), with disjoint targets; none where this process has no target.
        key: order, delay, start and stop.
        share: the neurons of this process's devices.
    """

    structure = ("mesh", "backend", "stream")

    def __init__(
        self,
        drives: Sequence[PoissonDrive],
        key: tuple[int, int, int, int],
        share: Share,
        mesh: Mesh,
        channels: Sequence[Channels],
        *,
        seed: int,
        backend: Backend,
    ) -> None:
        super().__init__()
        self.mesh, self.backend, self.stream = mesh, backend, STIMULUS_STREAMS + key[0]
        layout, n = share.layout, share.num_slots
        mean, weight, index = np.zeros(n), np.zeros(n, dtype=backend.integer), np.zeros(n, dtype=np.uint32)
        for d in drives:
            channel = channels[d.group]
            mean[d.place] = d.mean
            device, within = np.divmod(d.place, layout.slots_per_device)
            within, block = within - layout.first[d.group], layout.block[d.group]
            positive, negative = channel.routes[d.receptor]
            row = np.where(d.weight < 0, negative, positive)
            units = 1.0 if positive in channel.counting else d.weight / channel.quanta(d.receptor, device * block + within)
            weight[d.place] = np.floor(units + 0.5)
            index[d.place] = channel.offset + row * block + within
        # Every process holds the tables of all.
        means = np.unique(np.concatenate(share.processes.gather_ragged(np.unique(mean[mean > 0]))))
        table = np.where(mean > 0, np.searchsorted(means, mean), -1).astype(np.int32)
        tables = count_tables(means, rows=max(_FEW_MEANS, -(-len(means) // _FEW_MEANS) * _FEW_MEANS))

        # The padding goes on counting after its neurons, and has the last one's weight and no table.
        real = (share.ids != NOWHERE).reshape(len(share.devices), -1)
        last = np.maximum.accumulate(np.where(real, np.arange(real.shape[1]), 0), axis=1)
        beyond = (np.arange(real.shape[1]) - last).reshape(-1)
        last = (last + np.arange(len(last))[:, None] * real.shape[1]).reshape(-1)
        parts = {
            "table": table,
            "ids": (share.ids[last] + beyond).astype(np.uint32),
            "index": (index[last] + beyond).astype(np.uint32),
            "weight": weight[last],
        }
        split = sharded(mesh, NEURON)
        self.key, self.window = everywhere(mesh, key_words(seed)), everywhere(mesh, np.array(key[1:], np.int32))
        self.alike = LongTermState(joined(mesh, alike_blocks(*parts.values())), sharding=split)
        self.table, self.ids, self.index, self.weight = (LongTermState(joined(mesh, a), sharding=split) for a in parts.values())
        self.thresholds, self.first, self.guide = (everywhere(mesh, a) for a in (tables.thresholds, tables.first, tables.guide))

    def update(self, step: jax.Array, arriving: jax.Array) -> jax.Array:
        """Adds what arrives at the end of `step` to the input (threads, devices * size)."""
        run = partial(kernels.poisson, stream=self.stream, threads=self.backend.threads, backend=self.backend.name)
        specs = (P(), P(), P(), (P(), P(), P()), (P(NEURON),) * 5, P(None, NEURON))
        island = jax.shard_map(run, mesh=self.mesh, in_specs=specs, out_specs=P(None, NEURON), check_vma=False)
        tables = (self.thresholds.value, self.first.value, self.guide.value)
        targets = (self.alike.value, self.table.value, self.ids.value, self.index.value, self.weight.value)
        return island(step, self.key.value, self.window.value, tables, targets, arriving)


def poisson_inputs(
    drives: Sequence[PoissonDrive], share: Share, mesh: Mesh, channels: Sequence[Channels], *, seed: int, backend: Backend
) -> list[PoissonInput]:
    """As few Modules as the drives allow, the same ones on every process. The random numbers of a neuron do not depend on the
    grouping."""
    parts = layers(drives)
    keys = np.array(list(parts), dtype=np.int64).reshape(-1, 4)
    keys = np.unique(np.concatenate(share.processes.gather_ragged(keys)), axis=0)
    return [
        PoissonInput(parts.get(key, []), key, share, mesh, channels, seed=seed, backend=backend)
        for key in map(tuple, keys.tolist())
    ]


def layers(drives: Sequence[PoissonDrive]) -> dict[tuple[int, int, int, int], list[PoissonDrive]]:
    """Drives that go into one Module, by (order, delay, start, stop)."""
    found: dict[tuple[int, int, int, int], list[PoissonDrive]] = {}
    for d in drives:
        for order in np.unique(d.order):
            chosen = d.order == order
            part = PoissonDrive(
                place=d.place[chosen], group=d.group, mean=d.mean[chosen], weight=d.weight[chosen], delay=d.delay,
                start=d.start, stop=d.stop, order=d.order[chosen], receptor=d.receptor,
            )  # fmt: skip
            found.setdefault((int(order), d.delay, d.start, d.stop), []).append(part)
    return found
