"""What weight_recorders take down: a row for each spike that a watched synapse passes on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, final

import brainunit as u
import numpy as np

from dist_sim import units
from dist_sim.kernels import build
from dist_sim.nest.devices import WeightRecorder
from dist_sim.nest.neurons.shape import receptor_unit
from dist_sim.network.connection import on_host
from dist_sim.simulator.arguments import watcher
from dist_sim.simulator.assembly import Description
from dist_sim.simulator.network import Network

# `connection` is its number, `place` that of the synapse in it, or among all of a family: both the same on any placement.
ROW = np.dtype([
    ("step", "<i4"), ("sender", "<u4"), ("target", "<u4"), ("connection", "<u4"), ("place", "<u4"), ("delay", "<i4"),
    ("weight", "<f8"),
])  # fmt: skip


class WeightEvents(NamedTuple):
    """Spikes that synapses have passed on, (n,) each, sorted by time, sender, target, and then by synapse.

    Attributes:
        times: [ms] at which the spikes were emitted.
        senders, targets: global ids.
        weights: with which they arrived [unit of the targets' input].
        receptors: types of the targets' receptors.
    """

    times: u.Quantity
    senders: np.ndarray
    targets: np.ndarray
    weights: u.Quantity
    receptors: np.ndarray


@final
class WatchedSynapses:
    """The rows of each chunk. Plastic synapses put them down where they are; those of static ones follow from the spikes of the
    sources, on the process of the source: each process draws the watched static synapses once, and keeps its own."""

    def __init__(self, d: Description, network: Network):
        self._d, self._network = d, network
        static = [n for n, c in enumerate(d.connections) if c.watched_by is not None and not c.logs]
        self.any = any(c.watched_by is not None for c in d.connections)
        self._of_source = np.concatenate([np.zeros(0, ROW), *(self._drawn(n) for n in static)])
        self._of_source = self._of_source[np.argsort(self._of_source["sender"], kind="stable")]

    def _drawn(self, number: int) -> np.ndarray:
        """The synapses of a static connection whose sources are this process's, as rows without a step."""
        d, layout, processes = self._d, self._network.layout, self._network.projection.processes
        c = d.connections[number]
        drawn = build.draw_values(on_host(c, np.arange(len(c.post_ids)), seed=d.seed, backend=d.builder), seed=d.seed, dt=d.dt)
        rows = np.zeros(len(drawn.source), ROW)
        rows["sender"], rows["target"], rows["connection"] = drawn.source, c.post_ids[drawn.target], number
        rows["place"], rows["delay"], rows["weight"] = np.arange(len(rows)), drawn.delay, drawn.weight
        owner = layout.owner[rows["sender"]]
        # Spikes of generators, which nobody owns, are known to all processes: the first one puts them down.
        return rows[np.isin(owner, self._network.projection.local) | ((owner < 0) & (processes.index == 0))]

    def rows(self, steps: np.ndarray, ids: np.ndarray) -> np.ndarray:
        """Those of a chunk.

        Args:
            steps, ids: spikes of the chunk, of this process's neurons and of all generators.
        """
        begin, end = (np.searchsorted(self._of_source["sender"], ids, side=side) for side in ("left", "right"))
        length = end - begin
        which = np.repeat(begin - (np.cumsum(length) - length), length) + np.arange(length.sum())
        rows = self._of_source[which]
        rows["step"] = np.repeat(steps, length)
        return np.concatenate([rows, *self._passed()])

    def _passed(self) -> list[np.ndarray]:
        projection, layout = self._network.projection, self._network.layout
        source_ids, found = np.concatenate([layout.id_of_slot, layout.external_ids]), []
        for family, plastic in projection.plastic.items():
            if plastic.log is None:
                continue
            numbers = np.array([n for n, c in enumerate(self._d.connections) if c.family == family])
            for device, passed in enumerate(plastic.log.take()):
                rows = np.zeros(len(passed.synapse), ROW)
                source, delay, target, kind, place = projection.plastic_synapses(family, device, passed.synapse)
                rows["step"], rows["weight"] = passed.emitted, passed.weight
                rows["sender"], rows["target"], rows["delay"] = source_ids[source], target, delay
                rows["connection"], rows["place"] = numbers[kind], place
                found.append(rows)
        return found


@final
@dataclass(frozen=True, kw_only=True)
class WeightRecording:
    """What the weight_recorders of one call of `create` look at, of all that is taken down.

    Attributes:
        dt: ms.
        start, stop: (size,) steps; connections: of each of them, the numbers; senders, targets: global ids, None for all.
        receptors: of every connection; units: of the weights of those that are watched.
    """

    dt: float
    start: np.ndarray
    stop: np.ndarray
    connections: Sequence[Sequence[int]]
    senders: np.ndarray | None
    targets: np.ndarray | None
    receptors: np.ndarray
    units: Mapping[int, str]

    def events(self, found: np.ndarray, step: int, numbers: np.ndarray) -> WeightEvents:
        """What some of the recorders have when `step` is about to begin: spikes that have arrived by then.

        Args:
            found: all that was taken down before a step.
            numbers: of the recorders.
        """
        chosen, mine = np.zeros(len(found), bool), []
        for number in numbers:
            its = self.connections[int(number)]
            within = (found["step"] >= self.start[number]) & (found["step"] < self.stop[number])
            chosen |= np.isin(found["connection"], its) & within
            mine += its
        chosen &= found["step"].astype(np.int64) + found["delay"] < step
        for name, wanted in (("sender", self.senders), ("target", self.targets)):
            if wanted is not None:
                chosen &= np.isin(found[name], wanted)
        found = found[chosen]
        found = found[np.lexsort([found[name] for name in ("place", "connection", "target", "sender", "step")])]
        return WeightEvents(
            times=units.quantity((found["step"].astype(np.int64) + 1) * self.dt, "ms"),
            senders=found["sender"].astype(np.int64),
            targets=found["target"].astype(np.int64),
            weights=units.quantity(found["weight"], self.units[mine[0]] if mine else "pA"),
            receptors=self.receptors[found["connection"]],
        )


def weight_recordings(d: Description) -> dict[str, WeightRecording]:
    """Of each node of weight_recorders, by name."""
    receptors, found = np.array([c.receptor for c in d.connections], np.int64), {}
    watched_by: dict[str, list[int]] = {}
    for n, c in enumerate(d.connections):
        if c.watched_by is not None:
            watched_by.setdefault(c.watched_by, []).append(n)
    for node in d.nodes_of(WeightRecorder):
        device = node.device
        assert isinstance(device, WeightRecorder)
        watched = [watched_by.get(watcher(node, k), []) for k in range(node.size)]
        known = {n: d.connections[n] for its in watched for n in its}
        of_connection = {n: receptor_unit(d.models[c.group], c.receptor) for n, c in known.items()}
        found[node.name] = WeightRecording(
            dt=d.dt, start=device.start, stop=device.stop, connections=watched, senders=device.senders, targets=device.targets,
            receptors=receptors, units=of_connection,
        )  # fmt: skip
    return found
