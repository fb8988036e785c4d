from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, final

import jax
import numpy as np

from dist_sim.errors import ParameterError
from dist_sim.nest.devices.device import CountGenerator
from dist_sim.nest.devices.rates import largest_counts, mean_per_step, poisson_counts, width_for
from dist_sim.nest.devices.settings import Flag, Series, Setting
from dist_sim.nest.devices.stairs import level, stairs
from dist_sim.network.stimulus import Targets


@final
class inhomogeneous_poisson_generator(CountGenerator):
    """Poisson spike trains with a piecewise constant rate between `start` and `stop` [ms] (after `origin`), one of its own for
    every target.

    From each of `rate_times` [ms] on the rate is that of `rate_values` [Hz]; the last one stays, and before the first it is 0.
    Times are above 0, ascending and on the grid, or are rounded up to it with `allow_offgrid_times`. One quantity for all
    devices, or a sequence with one for each. Checked against NEST 3.10: window, rate, Fano factor.
    """

    parameters: ClassVar[Mapping[str, Setting]] = {
        "rate_times": Series(unit="ms"),
        "rate_values": Series(unit="Hz"),
        "allow_offgrid_times": Flag(),
    }
    structure = ("resolution", "width")
    rate_times: list[np.ndarray]
    rate_values: list[np.ndarray]
    allow_offgrid_times: bool

    def check(self) -> None:
        self.stairs = stairs(
            self.rate_times, self.rate_values, self.resolution, self.where("rate_times"),
            off_grid_allowed=self.allow_offgrid_times,
        )  # fmt: skip
        if (self.stairs["value"] < 0).any():
            raise ParameterError(f"{self.where('rate_values')}: rates must be at least 0 Hz.")
        self.most = largest_counts(self.stairs["value"].max(axis=1) * self.resolution * 1e-3, self.where("rate_values"))
        self.width = width_for(self.most)

    def numbers(self) -> Mapping[str, np.ndarray]:
        return {"most": np.full(self.size, self.most.max()), **self.stairs}

    def counts(self, p: Mapping[str, jax.Array], step: jax.Array, to: Targets) -> jax.Array:
        return poisson_counts(mean_per_step(level(p, step), self.resolution), p["most"], step, to, self.width)

    def largest(self) -> np.ndarray:
        return self.most
