from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, final

import jax
import jax.numpy as jnp
import numpy as np

from dist_sim.errors import ParameterError
from dist_sim.kernels.scalar.guarded import uncontracted
from dist_sim.kernels.scalar.rounded import root
from dist_sim.nest.devices.device import CurrentGenerator
from dist_sim.nest.devices.settings import Number, Setting, Time
from dist_sim.nest.devices.wave import wave, wave_numbers
from dist_sim.network.stimulus import Targets


@final
class noise_generator(CurrentGenerator):
    r"""Normal current of its own for every target, drawn anew every `dt` (1 ms), times the connection's weight.

    .. math:: I = \mathrm{mean} + \sqrt{\mathrm{std}^2 + \mathrm{std\_mod}^2 \sin(2 \pi f t + \phi)} \; \xi

    `mean`, `std`, `std_mod` [pA], `frequency` [Hz], `phase` [degrees], `dt` [ms] a multiple of the step; between `start` and
    `stop` [ms] (after `origin`), the first draw in the first active step. The numbers are functions of (seed, target, time of
    the draw). Checked against NEST 3.10: times of the draws, mean and variance.
    """

    parameters: ClassVar[Mapping[str, Setting]] = {
        "mean": Number(unit="pA"),
        "std": Number(unit="pA", at_least=0.0),
        "std_mod": Number(unit="pA", at_least=0.0),
        "frequency": Number(unit="Hz"),
        "phase": Number(),
        "dt": Time(default=1.0, at_least=1),
    }
    mean: np.ndarray
    std: np.ndarray
    std_mod: np.ndarray
    frequency: np.ndarray
    phase: np.ndarray
    dt: np.ndarray

    def check(self) -> None:
        if (self.std_mod > self.std).any():
            raise ParameterError(f"{self.where('std_mod')}: must be at most std.")

    def numbers(self) -> Mapping[str, np.ndarray]:
        waves = wave_numbers(self.frequency, self.phase, self.resolution)
        return {"mean": self.mean, "var": self.std**2, "var_mod": self.std_mod**2, "every": self.dt, **waves}

    def current(self, p: Mapping[str, jax.Array], step: jax.Array, to: Targets) -> jax.Array:
        drawn = step - (step - p["first"]) % p["every"]  # (devices,) step of the last draw
        variance = p["var"] + uncontracted(p["var_mod"] * wave(p, drawn, to.dtype))
        deviation = root(jnp.maximum(variance, 0))
        return to.of(p["mean"]) + uncontracted(to.of(deviation) * to.normal(to.of(drawn)))
