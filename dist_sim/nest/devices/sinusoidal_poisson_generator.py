from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, final

import jax
import numpy as np

from dist_sim.kernels.scalar.guarded import uncontracted
from dist_sim.nest.devices.device import CountGenerator
from dist_sim.nest.devices.rates import largest_counts, mean_per_step, poisson_counts, width_for
from dist_sim.nest.devices.settings import Flag, Number, Setting
from dist_sim.nest.devices.wave import wave, wave_numbers
from dist_sim.network.stimulus import Targets


@final
class sinusoidal_poisson_generator(CountGenerator):
    r"""Poisson spike trains with a rate that goes up and down, between `start` and `stop` [ms] (after `origin`).

    .. math:: \lambda(t) = \max(0, \mathrm{rate} + \mathrm{amplitude} \sin(2 \pi f t + \phi))

    `rate`, `amplitude`, `frequency` [Hz], `phase` [degrees]; t from the start of the simulation. Every target has a train of its
    own, or with `individual_spike_trains=False` all targets of a generator have the same. Unlike other spiking generators, NEST's
    can send its first spike in the step that ends at `start`. Checked against NEST 3.10: window, rate, phase, Fano factor.
    """

    parameters: ClassVar[Mapping[str, Setting]] = {
        "rate": Number(unit="Hz", at_least=0.0),
        "amplitude": Number(unit="Hz", at_least=0.0),
        "frequency": Number(unit="Hz"),
        "phase": Number(),
        "individual_spike_trains": Flag(default=True),
    }
    structure = ("resolution", "width", "individual_spike_trains")
    lead: ClassVar[int] = 2
    rate: np.ndarray
    amplitude: np.ndarray
    frequency: np.ndarray
    phase: np.ndarray
    individual_spike_trains: bool

    def check(self) -> None:
        self.most = largest_counts((self.rate + self.amplitude) * self.resolution * 1e-3, self.where("rate"))
        self.width = width_for(self.most)

    def numbers(self) -> Mapping[str, np.ndarray]:
        waves = wave_numbers(self.frequency, self.phase, self.resolution)
        most = np.full(self.size, self.most.max())
        return {"rate": self.rate, "amplitude": self.amplitude, "most": most, **waves}

    def counts(self, p: Mapping[str, jax.Array], step: jax.Array, to: Targets) -> jax.Array:
        mean = mean_per_step(p["rate"] + uncontracted(p["amplitude"] * wave(p, step, to.dtype)), self.resolution)
        common = not self.individual_spike_trains
        counts = poisson_counts(mean, p["most"], step, to, self.width, common=common)
        return to.of(counts) if common else counts

    def largest(self) -> np.ndarray:
        return self.most
