from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, final

from dist_sim.nest.devices.device import Meter
from dist_sim.nest.devices.settings import Names, Setting, Time


@final
class multimeter(Meter):
    """Samples the recordables named in `record_from` every `interval` (1 ms) with start < time <= stop [ms]: `connect(meter,
    neurons)`."""

    parameters: ClassVar[Mapping[str, Setting]] = {"record_from": Names(), "interval": Time(default=1.0, at_least=1)}
