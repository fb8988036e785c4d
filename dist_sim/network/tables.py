"""What a device's synapse table is drawn from and measured by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from dist_sim.errors import ConnectError
from dist_sim.kernels import DueCapacity, build
from dist_sim.kernels.poisson import roomy_width
from dist_sim.network.channels import Channels
from dist_sim.network.connection import Connection, on_device
from dist_sim.network.plastic_share import PlasticShare, plastic_share
from dist_sim.partition.layout import Layout
from dist_sim.partition.processes import Processes


@dataclass(frozen=True, kw_only=True)
class Backend:
    """How kernels run: `name` of the step's backend, that of the `builder` on the host, `threads` per device, and int64 instead
    of int32 sums if `wide`."""

    name: str
    builder: str
    threads: int
    wide: bool

    @property
    def integer(self) -> Any:
        return np.int64 if self.wide else np.int32


def draw_table(
    connections: Sequence[Connection],
    layout: Layout,
    device: int,
    position: int,
    channels: Sequence[Channels],
    backend: Backend,
    threads: int,
    *,
    min_delay: int,
    num_delays: int,
    seed: int,
    dt: float,
) -> tuple[build.RawTable, dict[str, PlasticShare]]:
    """The static table of one device, and its changing synapses by family.

    Args:
        position: of the device among those of this process.

    Raises:
        ConnectError: input that could leave the integers.
    """
    shares, shared, load = [], {}, [np.zeros((c.count, block)) for c, block in zip(channels, layout.block, strict=True)]
    for c in connections:
        channel = channels[c.group]
        share = on_device(
            c, layout, device, channel, position, seed=seed, backend=backend.builder, threads=threads, shared=shared
        )
        shares.append(share)
        weights = np.diff(share.offsets) * c.at_once * (c.largest_weight() * share.per_quantum + 1)
        for row in set(channel.routes[c.receptor]):
            np.add.at(load[c.group][row], layout.place(c.group, share.target_id), weights)
    # No sum may ever leave the integers: the bound holds even if all sources of a neuron spike at once.
    heaviest = max((x.max(initial=0.0) for x in load), default=0.0)
    if heaviest >= np.iinfo(backend.integer).max / 2:
        raise ConnectError(
            "a neuron's synapses are so many and so strong that their sum could leave 32-bit integers. Use precision=64."
        )
    synapses = {}
    for family in families(connections):
        members = [share for share, c in zip(shares, connections, strict=True) if c.family == family]
        synapses[family] = plastic_share(members, seed=seed, dt=dt)
    table = build.build_table(
        [share for share, c in zip(shares, connections, strict=True) if c.plasticity is None],
        num_source_slots=layout.num_source_slots, min_delay=min_delay, num_delays=num_delays, seed=seed, dt=dt,
        wide=backend.wide, backend=backend.builder, threads=threads,
        also=np.concatenate([s.source for s in synapses.values()]) if synapses else None,
    )  # fmt: skip
    return table, synapses


def families(connections: Sequence[Connection]) -> list[str]:
    """Names of the families of synapses that change, in order of their first connections."""
    return list(dict.fromkeys(c.family for c in connections if c.family is not None))


def history_slots(min_delay: int, num_delays: int) -> int:
    """Steps that the history of spikes reaches back: the longest delay, and an interval between exchanges."""
    return 2 * min_delay + num_delays - 1


def first_capacity(rows: int, slots: int) -> int:
    """Spikes in flight that a table of so many rows begins with room for."""
    return max(1024, min(rows * slots, rows * slots // 16 + 65536))


def first_due_capacity(tables: Sequence[build.RawTable], num_delays: int, processes: Processes) -> DueCapacity:
    """What a delivery of fixed size begins with: the runs of one source in a thousand, in tiles of twice their mean
    length, or of the longest run where few are much shorter. The same on all devices."""
    runs = [np.diff(t.pointers.astype(np.int64)) for t in tables]
    runs = [lengths[lengths > 0] for lengths in runs]
    longest, mean = processes.largest([
        max(int(lengths.max(initial=0)) for lengths in runs),
        max(-(-int(lengths.sum()) // max(1, len(lengths))) for lengths in runs),
    ])  # fmt: skip
    whole = longest <= max(_SHORT, 4 * mean)
    width = roomy_width(longest if whole else max(_SHORT // 2, 2 * mean))
    (tiles,) = processes.largest([
        max(max(t.num_rows * num_delays, int((-(-lengths // width)).sum())) for t, lengths in zip(tables, runs, strict=True))
    ])  # fmt: skip
    return DueCapacity(runs=roomy_width(max(_FEW, tiles // 1000)), width=width, whole=whole)


_SHORT, _FEW = 64, 128  # synapses of a run, runs: below, there is nothing to gain


def larger_due_capacity(capacity: DueCapacity, wanted: int) -> DueCapacity:
    """For so many runs at once, and some more."""
    return replace(capacity, runs=roomy_width(wanted + wanted // 4))


def events_of(external_steps: Sequence[np.ndarray], rows: np.ndarray) -> np.ndarray:
    """(2, n) uint32: (step, row) of the spikes from outside that have synapses on a device, in order of steps."""
    known = [(steps, np.full(len(steps), row)) for steps, row in zip(external_steps, rows, strict=True) if row >= 0]
    if not known:
        return np.zeros((2, 0), dtype=np.uint32)
    steps, row = (np.concatenate(part) for part in zip(*known, strict=True))
    order = np.argsort(steps, kind="stable")
    return np.stack([steps[order], row[order]]).astype(np.uint32)
