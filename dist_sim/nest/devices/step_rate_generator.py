from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, final

import numpy as np

from dist_sim.nest.devices.device import RateGenerator
from dist_sim.nest.devices.settings import Flag, Series, Setting
from dist_sim.nest.devices.stairs import stairs


@final
class step_rate_generator(RateGenerator):
    """Piecewise constant rate for rate neurons between `start` and `stop` [ms] (after `origin`): from each of `amplitude_times`
    [ms] on that of `amplitude_values` [no unit]; the last one stays, and before the first it is 0.
    """

    parameters: ClassVar[Mapping[str, Setting]] = {
        "amplitude_times": Series(unit="ms"),
        "amplitude_values": Series(),
        "allow_offgrid_times": Flag(),
    }
    amplitude_times: list[np.ndarray]
    amplitude_values: list[np.ndarray]
    allow_offgrid_times: bool

    def check(self) -> None:
        self.stairs = stairs(
            self.amplitude_times, self.amplitude_values, self.resolution, self.where("amplitude_times"),
            off_grid_allowed=self.allow_offgrid_times,
        )  # fmt: skip
