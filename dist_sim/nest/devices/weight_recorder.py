from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, final

from dist_sim.nest.devices.device import WeightRecorder
from dist_sim.nest.devices.settings import Nodes, Setting


@final
class weight_recorder(WeightRecorder):
    """Records each spike that synapses pass on, with the weight, once it has arrived at the target:
    `connect(pre, post, synapse=ds.stdp_synapse(weight_recorder=recorder))`. Of the spikes with start < time <= stop, as emitted.

    `senders` and `targets` (what `create` returned, or global ids): only spikes from and to these; by default all.
    """

    parameters: ClassVar[Mapping[str, Setting]] = {"senders": Nodes(), "targets": Nodes()}
