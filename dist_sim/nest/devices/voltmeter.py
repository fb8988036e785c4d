from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, final

from dist_sim.nest.devices.device import Meter
from dist_sim.nest.devices.settings import Names, Setting, Time


@final
class voltmeter(Meter):
    """Samples V_m every `interval` (1 ms) with start < time <= stop [ms]: `connect(meter, neurons)`."""

    parameters: ClassVar[Mapping[str, Setting]] = {
        "record_from": Names(default=("V_m",)),
        "interval": Time(default=1.0, at_least=1),
    }
