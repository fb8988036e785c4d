"""What the recorders of a network look at, apart from the network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import final

import numpy as np

from dist_sim.errors import ConnectError, UnknownNameError
from dist_sim.nest.devices import SpikeRecorder
from dist_sim.nest.devices.device import Recorder
from dist_sim.nest.devices.settings import FOREVER
from dist_sim.simulator.assembly import Description
from dist_sim.simulator.nodes import NodeView
from dist_sim.simulator.weights import WeightRecording, weight_recordings

ALWAYS = (0, FOREVER)  # steps


@final
@dataclass(frozen=True, kw_only=True)
class SpikesOf:
    """What one spike_recorder takes down: its number in its node, global ids as often as it records each, and the steps."""

    number: int
    ids: np.ndarray
    start: int
    stop: int


@final
@dataclass(frozen=True, kw_only=True)
class Recorders:
    """The recorders of a network, by the names of their nodes.

    Attributes:
        network: names the Simulator; num_ids: of it.
        sizes: of all nodes of recorders and meters.
        spikes: of spike_recorders; weights: of weight_recorders.
    """

    network: str
    num_ids: int
    sizes: Mapping[str, int]
    spikes: Mapping[str, Sequence[SpikesOf]]
    weights: Mapping[str, WeightRecording]

    @classmethod
    def of(cls, d: Description) -> Recorders:
        """Those of a description."""
        spikes = {node.name: [] for node in d.nodes_of(SpikeRecorder)}
        for node, parts in d.recorded.items():
            device = node.device
            assert device is not None
            spikes[node.name] = [
                SpikesOf(number=n, ids=ids, start=int(device.start[n]), stop=int(device.stop[n])) for n, ids in parts
            ]
        return cls(
            network=d.nodes[0].network, num_ids=d.num_ids, sizes={node.name: node.size for node in d.nodes_of(Recorder)},
            spikes=spikes, weights=weight_recordings(d),
        )  # fmt: skip

    def find(self, recorder: NodeView | str, where: str) -> tuple[str, np.ndarray]:
        """The name of a node, and the numbers (n,) of the recorders in it that are meant.

        Raises:
            UnknownNameError: a name of no recorder. ConnectError: nothing of this network.
        """
        if isinstance(recorder, str):
            if recorder not in self.sizes:
                raise UnknownNameError("recorder", recorder, self.sizes, where=where)
            return recorder, np.arange(self.sizes[recorder])
        if not isinstance(recorder, NodeView):
            raise ConnectError(f"{where}({recorder!r:.60}): a recorder is needed, as `create` returned it, or its name.")
        if (node := recorder.node).network != self.network:
            text = f"{where}({node.name}): it was created by another Simulator. A name is taken too: {where}({node.name!r})."
            raise ConnectError(text)
        return node.name, recorder.ids


def recorded_in(d: Description) -> dict[tuple[int, int], np.ndarray]:
    """For each window [first step, last) of the recorders, and for all of time, a flag for each global id that one of them
    records."""
    flags: dict[tuple[int, int], np.ndarray] = {ALWAYS: np.zeros(d.num_ids, dtype=bool)}
    for node, parts in d.recorded.items():
        device = node.device
        assert isinstance(device, SpikeRecorder)
        for number, ids in parts:
            window = int(device.start[number]), int(device.stop[number])
            if window[0] < window[1]:
                flags.setdefault(window, np.zeros(d.num_ids, dtype=bool))[ids] = True
    return flags
