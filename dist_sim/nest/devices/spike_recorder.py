from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, final

from dist_sim.nest.devices.device import SpikeRecorder
from dist_sim.nest.devices.settings import Setting


@final
class spike_recorder(SpikeRecorder):
    """Records the spikes of the neurons, spike generators and pulse packets connected to it, with start < time <= stop:
    `connect(neurons, recorder)`. Of several recorders, each records what the rule connects to it; a spike that reaches it over
    two connections is recorded twice, as in NEST.
    """

    parameters: ClassVar[Mapping[str, Setting]] = {}
