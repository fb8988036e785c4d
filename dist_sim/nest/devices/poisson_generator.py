from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, final

import jax
import jax.numpy as jnp
import numpy as np

from dist_sim.errors import ParameterError
from dist_sim.kernels.philox import philox4x32
from dist_sim.kernels.poisson import count_tables
from dist_sim.nest.devices.device import SteadyPoissonGenerator
from dist_sim.nest.devices.settings import Number, Setting
from dist_sim.network.stimulus import Targets


@final
class poisson_generator(SteadyPoissonGenerator):
    """Poisson spike trains of `rate` [Hz] between `start` and `stop` [ms] (after `origin`): one of its own for every target.

    A train is a function of (seed, target, step), the same on any placement. Several spikes may fall into one step. As in NEST
    the first spike can be sent in the step after the one that begins at `start`.
    """

    parameters: ClassVar[Mapping[str, Setting]] = {"rate": Number(unit="Hz", at_least=0.0)}
    rate: np.ndarray

    def check(self) -> None:
        self.mean = self.rate * self.resolution * 1e-3
        if (self.mean > 1e6).any():
            raise ParameterError(f"{self.where('rate')}: more than a million spikes per step of {self.resolution:g} ms.")

    def numbers(self) -> Mapping[str, np.ndarray]:
        tables = count_tables(np.where(self.mean > 0, self.mean, 1.0))
        return {"thresholds": tables.thresholds, "fewest": tables.first, "silent": self.mean == 0}

    def counts(self, p: Mapping[str, jax.Array], step: jax.Array, to: Targets) -> jax.Array:
        # The numbers that `kernels.poisson` draws.
        words = philox4x32(to.key[0], to.key[1], to.ids >> 2, step.astype(jnp.uint32), jnp.uint32(0), to.stream)
        bits = jnp.stack(words)[to.ids & 3, jnp.arange(to.ids.shape[0])]
        above = (to.of(p["thresholds"]) < bits[:, None]).sum(axis=1, dtype=jnp.uint32)
        return jnp.where(to.of(p["silent"]), 0, to.of(p["fewest"]) + above).astype(jnp.int32)

    def largest(self) -> np.ndarray:
        return np.where(self.mean > 0, count_tables(np.where(self.mean > 0, self.mean, 1.0)).largest, 0)
