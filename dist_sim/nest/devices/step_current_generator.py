from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, final

import jax
import numpy as np

from dist_sim.nest.devices.device import CurrentGenerator
from dist_sim.nest.devices.settings import Flag, Series, Setting
from dist_sim.nest.devices.stairs import level, stairs
from dist_sim.network.stimulus import Targets


@final
class step_current_generator(CurrentGenerator):
    """Piecewise constant current between `start` and `stop` [ms] (after `origin`), times the connection's weight.

    From each of `amplitude_times` [ms] on it is that of `amplitude_values` [pA]; the last one stays, and before the first it is
    0. Times are above 0, ascending and on the grid, or are rounded up to it with `allow_offgrid_times`. One quantity for all
    devices, or a sequence with one for each. Checked against NEST 3.10.
    """

    parameters: ClassVar[Mapping[str, Setting]] = {
        "amplitude_times": Series(unit="ms"),
        "amplitude_values": Series(unit="pA"),
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

    def numbers(self) -> Mapping[str, np.ndarray]:
        return self.stairs

    def current(self, p: Mapping[str, jax.Array], step: jax.Array, to: Targets) -> jax.Array:
        return to.of(level(p, step))
