from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, final

import jax
import numpy as np

from dist_sim.kernels.scalar.guarded import uncontracted
from dist_sim.nest.devices.device import CurrentGenerator
from dist_sim.nest.devices.settings import Number, Setting
from dist_sim.nest.devices.wave import wave, wave_numbers
from dist_sim.network.stimulus import Targets


@final
class ac_generator(CurrentGenerator):
    r"""Sinusoidal current between `start` and `stop` [ms] (after `origin`), times the connection's weight.

    .. math:: I(t) = \mathrm{offset} + \mathrm{amplitude} \sin(2 \pi f t + \phi)

    `amplitude`, `offset` [pA], `frequency` [Hz], `phase` [degrees]; t from the start of the simulation, whatever the origin, at
    the end of the step in which the current is sent. Checked against NEST 3.10.
    """

    parameters: ClassVar[Mapping[str, Setting]] = {
        "amplitude": Number(unit="pA"),
        "offset": Number(unit="pA"),
        "frequency": Number(unit="Hz"),
        "phase": Number(),
    }
    amplitude: np.ndarray
    offset: np.ndarray
    frequency: np.ndarray
    phase: np.ndarray

    def numbers(self) -> Mapping[str, np.ndarray]:
        return {"amplitude": self.amplitude, "offset": self.offset, **wave_numbers(self.frequency, self.phase, self.resolution)}

    def current(self, p: Mapping[str, jax.Array], step: jax.Array, to: Targets) -> jax.Array:
        return to.of(p["offset"] + uncontracted(p["amplitude"] * wave(p, step, to.dtype)))
