from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, final

import jax
import numpy as np

from dist_sim.nest.devices.device import CurrentGenerator
from dist_sim.nest.devices.settings import Number, Setting
from dist_sim.network.stimulus import Targets


@final
class dc_generator(CurrentGenerator):
    """Constant current of `amplitude` [pA] between `start` and `stop` [ms] (after `origin`), times the connection's weight.

    Checked against NEST 3.10.
    """

    parameters: ClassVar[Mapping[str, Setting]] = {"amplitude": Number(unit="pA")}
    amplitude: np.ndarray

    def numbers(self) -> Mapping[str, np.ndarray]:
        return {"amplitude": self.amplitude}

    def current(self, p: Mapping[str, jax.Array], step: jax.Array, to: Targets) -> jax.Array:
        return to.of(p["amplitude"])
