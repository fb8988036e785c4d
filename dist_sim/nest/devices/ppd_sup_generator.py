from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, final

import jax
import jax.numpy as jnp
import numpy as np

from dist_sim.errors import ParameterError
from dist_sim.kernels import draws
from dist_sim.kernels.scalar.guarded import uncontracted
from dist_sim.kernels.scalar.rounded import quotient
from dist_sim.nest.devices.device import OccupationGenerator
from dist_sim.nest.devices.settings import Number, Setting
from dist_sim.nest.devices.wave import wave, wave_numbers
from dist_sim.network.stimulus import Targets


@final
class ppd_sup_generator(OccupationGenerator):
    r"""For every target the superposition of `n_proc` Poisson processes with `dead_time` [ms], each of `rate` [Hz], between
    `start` and `stop` [ms] (after `origin`).

    .. math:: h(t) = \frac{1 + \mathrm{relative\_amplitude} \sin(2 \pi f t)}{1/\mathrm{rate} - \mathrm{dead\_time}}

    is the hazard of a process that is not dead, f the `frequency` [Hz], t from the start of the simulation. A target keeps how
    many can spike, and how many did in each step of the dead time. Source: Deger, Helias, Boucsein & Rotter (2012),
    doi:10.1007/s10827-011-0362-8. Checked against NEST 3.10: window, rate, Fano factor.
    """

    parameters: ClassVar[Mapping[str, Setting]] = {
        "rate": Number(unit="Hz", at_least=0.0),
        "dead_time": Number(unit="ms", at_least=0.0),
        "n_proc": Number(default=1.0, at_least=1.0, at_most=1e9, whole=True),
        "frequency": Number(unit="Hz"),
        "relative_amplitude": Number(at_least=0.0, at_most=1.0),
    }
    rate: np.ndarray
    dead_time: np.ndarray
    n_proc: np.ndarray
    frequency: np.ndarray
    relative_amplitude: np.ndarray

    def check(self) -> None:
        if (self.rate * self.dead_time >= 1000).any():
            raise ParameterError(f"{self.where('dead_time')}: must be below the mean interval, 1 / rate.")
        self.hazard = self.rate * 1e-3 / (1 - self.rate * 1e-3 * self.dead_time) * self.resolution  # per step
        self.dead = np.floor(self.dead_time / self.resolution + 0.5).astype(np.int64)
        if self.bins > 100_000:
            raise ParameterError(f"{self.where('dead_time')}: {self.bins - 1:,} steps; at most 99,999.")
        most = self.n_proc * -np.expm1(-self.hazard * (1 + self.relative_amplitude))
        if (most > draws.MOST).any():
            raise ParameterError(f"{self.where('n_proc')}: {most.max():g} spikes per step; at most {draws.MOST:g}.")

    @property
    def bins(self) -> int:
        """Those that can spike, and then those that did in each step of the longest dead time."""
        return int(self.dead.max()) + 1

    def numbers(self) -> Mapping[str, np.ndarray]:
        waves = wave_numbers(self.frequency, np.zeros(self.size), self.resolution)
        return {"hazard": self.hazard, "depth": self.relative_amplitude, "dead": self.dead, **waves}

    def initial(self) -> np.ndarray:
        """As many as on average spiked in each step of the dead time; the rest can spike."""
        each = np.floor(self.rate * 1e-3 * self.n_proc * self.resolution).astype(np.int64)
        kept = np.where(np.arange(self.bins) <= self.dead[:, None], each[:, None], 0)
        kept[:, 0] = self.n_proc.astype(np.int64) - each * self.dead
        return kept

    def advance(self, p: Mapping[str, jax.Array], step: jax.Array, to: Targets, kept: jax.Array) -> tuple[jax.Array, jax.Array]:
        one = to.dtype.type(1)
        stays = -(p["hazard"] * (one + uncontracted(p["depth"] * wave(p, step, to.dtype))))
        left = draws.exp(stays)
        odds = to.of(quotient(one - left, left))
        spikes = draws.binomial(kept[0], to.of(stays), odds, to.words(step)[0])
        # Those that spiked a dead time ago can spike again; these take their place.
        dead = jnp.broadcast_to(to.of(p["dead"]), to.ids.shape)
        place = jnp.broadcast_to(to.of((step - p["first"]) % jnp.maximum(p["dead"], 1)), to.ids.shape) + 1
        place = jnp.minimum(place, kept.shape[0] - 1)
        back = jnp.where(dead > 0, jnp.take_along_axis(kept, place[None], axis=0)[0], spikes)
        here = (jnp.arange(kept.shape[0])[:, None] == place) & (dead > 0)
        return spikes, jnp.where(here, spikes, kept).at[0].set(kept[0] - spikes + back)

    def largest(self) -> np.ndarray:
        return self.n_proc
