"""One connection of the whole network, and its share on one device."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from dist_sim import units
from dist_sim.errors import ConnectError
from dist_sim.kernels import build
from dist_sim.network.changing import Changing
from dist_sim.network.channels import Channels
from dist_sim.network.distributions import bounds
from dist_sim.network.rules import Rule
from dist_sim.network.rules.rule import Ends
from dist_sim.partition.layout import Layout, span


@dataclass(frozen=True, kw_only=True)
class Connection:
    """What a call of `connect` says, in bare numbers.

    Attributes:
        pre_ids, post_ids: global ids; the targets are of one model, number `group`.
        weight: in the unit of the target's input; delay: ms.
        stream: number of the connection, which keys its random numbers.
        where: how error messages call it.
        receptor: type of the targets' receptors.
        synapse: name of the synapse model, as the user gave it.
        plasticity: how the synapses change; None if they do not.
        watched_by: name of the weight_recorder of its synapses, if there is one.
        at_once: the largest number of spikes that a source sends in one step.
    """

    pre_ids: np.ndarray
    post_ids: np.ndarray
    group: int
    rule: Rule
    weight: build.Draw
    delay: build.Draw
    autapses: bool
    multapses: bool
    stream: int
    where: str
    receptor: int = 0
    synapse: str = "static_synapse"
    plasticity: Changing | None = None
    watched_by: str | None = None
    at_once: int = 1

    @property
    def family(self) -> str | None:
        """Synapses that change are kept together by model and receptor type: the name of those, None of static ones."""
        if self.plasticity is None:
            return None
        name = self.plasticity.model.name
        return f"{name}.{self.receptor}" if self.receptor else name

    @property
    def logs(self) -> bool:
        """Whether its synapses put down for a weight_recorder what they pass on; of others that follows from the spikes."""
        return self.watched_by is not None and self.plasticity is not None and not self.plasticity.released

    def ends(self, local: np.ndarray, *, seed: int = 0, backend: str = "reference", threads: int = 1) -> Ends:
        """Both sides, with the targets of one device."""
        return Ends(
            pre_ids=self.pre_ids, post_ids=self.post_ids, local=local, autapses=self.autapses, multapses=self.multapses,
            seed=seed, stream=self.stream, backend=backend, threads=threads,
        )  # fmt: skip

    def check(self, dt: float) -> None:
        """Everything that can be refused before anything is drawn.

        Raises:
            ConnectError: the rule cannot be met, an array has the wrong size, a delay rounds to less than one step.
        """
        ends = self.ends(np.zeros(0, dtype=np.int64))
        self.rule.check(ends, self.where)
        wanted = self.rule.shape(ends)
        for name, draw in (("weight", self.weight), ("delay", self.delay)):
            if draw.values is None:
                continue
            if wanted is None:
                raise ConnectError(
                    f"{self.where}: {name} is an array, but the rule {self.rule.name} has no order of synapses. "
                    "Give one number or a distribution (ds.dist.Normal, ...), or use explicit_edges."
                )
            if len(draw.values) != math.prod(wanted) or (len(draw.shape) > 1 and draw.shape != wanted):
                rows = " (targets in rows)" if len(wanted) > 1 else ""
                raise ConnectError(
                    f"{self.where}: {name} has the shape {draw.shape}; the rule {self.rule.name} takes {wanted}{rows} here."
                )
        low, high = self.delay_bounds(dt)
        shortest = bounds(self.delay)[0]
        if low < 1:
            raise ConnectError(
                f"{self.where}: a delay of {shortest:g} ms rounds to no step (dt={dt:g} ms), and it takes at least one to reach "
                f"the target. Give delays of at least {dt:g} ms, or a distribution with min={dt / 2:g} ms."
            )
        if high > 1_000_000:
            raise ConnectError(
                f"{self.where}: a delay of {bounds(self.delay)[1]:g} ms is {high:,} steps; at most 1,000,000 steps "
                f"({1_000_000 * dt:g} ms) are kept in flight. Is the unit the one you meant?"
            )

    def delay_bounds(self, dt: float) -> tuple[int, int]:
        """Smallest and largest delay that can be drawn, in steps."""
        most = 1e15 * dt
        low, high = (min(max(x, -most), most) for x in bounds(self.delay))
        return int(units.steps_of(low, dt)), int(units.steps_of(high, dt))

    def largest_weight(self) -> float:
        """The largest size that a weight can ever have."""
        return max(self.plasticity.largest if self.plasticity else 0.0, *(abs(x) for x in bounds(self.weight)))

    def mean_indegree(self) -> float:
        """Expected number of synapses per target."""
        return self.rule.mean_indegree(self.ends(np.zeros(0, dtype=np.int64)))


def on_device(
    c: Connection,
    layout: Layout,
    device: int,
    channels: Channels,
    position: int,
    *,
    seed: int,
    backend: str,
    threads: int,
    shared: dict[Any, Any] | None = None,
) -> build.Connection:
    """The share of a connection whose targets lie on one device.

    Args:
        channels: of the targets' model.
        position: of the device among those of this process.
        shared: what other connections on the device have found out about their ends: those of one view share its ids.
    """
    shared = {} if shared is None else shared
    key = id(c.post_ids), c.group, c.receptor
    if key not in shared:
        shared[key] = _targets_on(c, layout, device, channels, position)
    if id(c.pre_ids) not in shared:
        shared[id(c.pre_ids)] = layout.slot[span(c.pre_ids)]
    local, ids, targets = shared[key]
    ends = c.ends(local, seed=seed, backend=backend, threads=threads)
    sources = c.rule.sources(ends)
    entry = c.rule.entry(ends) if c.weight.values is not None or c.delay.values is not None else None

    def ordered(draw: build.Draw) -> build.Draw:
        return draw if draw.values is None else replace(draw, values=draw.values[entry])

    offsets = np.zeros(len(ids) + 1, dtype=np.int64)
    np.cumsum(sources.degrees, out=offsets[1:])
    counting = channels.routes[c.receptor][0] in channels.counting
    return build.Connection(
        source_kind=sources.kind,
        stream=c.stream,
        autapses=c.autapses,
        pre_slot=shared[id(c.pre_ids)],
        **targets,
        offsets=offsets,
        self_index=None if c.autapses or sources.kind not in (build.ENUMERATE, build.DISTINCT) else ends.self_index(),
        source_index=None if sources.source_index is None else sources.source_index.astype(np.uint32),
        weight=build.Draw(kind=build.CONSTANT, a=1.0) if counting else ordered(c.weight),
        delay=ordered(c.delay),
    )


def _targets_on(
    c: Connection, layout: Layout, device: int, channels: Channels, position: int
) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    """Which of a connection's targets lie on a device, their ids, and where their input goes."""
    local = layout.on(device, c.post_ids)
    ids = c.post_ids[local]
    block, place = layout.block[c.group], layout.place(c.group, ids)
    positive, negative = channels.routes[c.receptor]
    return (
        local,
        ids,
        {
            "target_id": ids.astype(np.uint32),
            "target_slot": layout.slot[ids],
            "target_index": (channels.offset + positive * block + place).astype(np.uint32),
            "channel_stride": np.full(len(ids), (negative - positive) * block, dtype=np.int64),
            "per_quantum": 1.0 / channels.quanta(c.receptor, position * block + place),
        },
    )


def on_host(c: Connection, local: np.ndarray, *, seed: int, backend: str) -> build.Connection:
    """A connection with some of its targets, `local` positions in post, whoever owns them: sources are global ids, weights are
    not rounded to any quantum."""
    ends = c.ends(local, seed=seed, backend=backend)
    sources = c.rule.sources(ends)
    ids, n = ends.local_ids.astype(np.uint32), len(local)
    entry = c.rule.entry(ends) if c.weight.values is not None or c.delay.values is not None else None
    weight, delay = (d if d.values is None else replace(d, values=d.values[entry]) for d in (c.weight, c.delay))
    return build.Connection(
        source_kind=sources.kind,
        stream=c.stream,
        autapses=c.autapses,
        pre_slot=c.pre_ids.astype(np.uint32),
        target_id=ids,
        target_slot=ids,
        target_index=np.zeros(n, np.uint32),
        channel_stride=np.zeros(n, np.int64),
        per_quantum=np.ones(n),
        offsets=np.concatenate([[0], np.cumsum(sources.degrees)]).astype(np.int64),
        self_index=None if c.autapses or sources.kind not in (build.ENUMERATE, build.DISTINCT) else ends.self_index(),
        source_index=None if sources.source_index is None else sources.source_index.astype(np.uint32),
        weight=weight,
        delay=delay,
    )
