from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, final

import jax
import jax.numpy as jnp
import numpy as np

from dist_sim.errors import ParameterError
from dist_sim.kernels import draws
from dist_sim.nest.devices.device import OccupationGenerator
from dist_sim.nest.devices.settings import Number, Setting
from dist_sim.network.stimulus import Targets


@final
class gamma_sup_generator(OccupationGenerator):
    """For every target the superposition of `n_proc` gamma processes of order `gamma_shape`, each of `rate` [Hz], between `start`
    and `stop` [ms] (after `origin`).

    A process goes through `gamma_shape` stages, each left at `gamma_shape` times the rate; a target keeps how many are in each.
    Source: Deger, Helias, Boucsein & Rotter (2012), doi:10.1007/s10827-011-0362-8. Checked against NEST 3.10: window, rate,
    Fano factor.
    """

    parameters: ClassVar[Mapping[str, Setting]] = {
        "rate": Number(unit="Hz", at_least=0.0),
        "gamma_shape": Number(default=1.0, at_least=1.0, at_most=1000.0, whole=True),
        "n_proc": Number(default=1.0, at_least=1.0, at_most=1e9, whole=True),
    }
    rate: np.ndarray
    gamma_shape: np.ndarray
    n_proc: np.ndarray

    def check(self) -> None:
        self.leaving = self.rate * self.gamma_shape * self.resolution * 1e-3
        if (self.leaving >= 1).any():
            raise ParameterError(f"{self.where('rate')}: rate x gamma_shape must be below 1 per {self.resolution:g} ms.")
        if (self.n_proc * self.leaving > draws.MOST).any():
            raise ParameterError(
                f"{self.where('n_proc')}: {(self.n_proc * self.leaving).max():g} changes of stage per step; at most "
                f"{draws.MOST:g}. Use several generators."
            )

    @property
    def bins(self) -> int:
        return int(self.gamma_shape.max())

    def numbers(self) -> Mapping[str, np.ndarray]:
        stays = np.log1p(-self.leaving)
        return {"stays": stays, "odds": self.leaving / (1 - self.leaving), "stages": self.gamma_shape.astype(np.int64)}

    def initial(self) -> np.ndarray:
        """Evenly over the stages, and what is left over in the last."""
        n, stages = self.n_proc.astype(np.int64), self.gamma_shape.astype(np.int64)
        occupied = np.where(np.arange(self.bins) < stages[:, None], (n // stages)[:, None], 0)
        occupied[np.arange(self.size), stages - 1] += n % stages
        return occupied

    def advance(self, p: Mapping[str, jax.Array], step: jax.Array, to: Targets, kept: jax.Array) -> tuple[jax.Array, jax.Array]:
        bins = kept.shape[0]
        words = [w for block in range(-(-bins // 4)) for w in to.words(step, purpose=block)][:bins]
        left = draws.binomial(kept, to.of(p["stays"]), to.of(p["odds"]), jnp.stack(words))
        last = jnp.broadcast_to(to.of(p["stages"]) - 1, to.ids.shape)
        spikes = jnp.take_along_axis(left, last[None], axis=0)[0]
        entered = jnp.concatenate([spikes[None], left[:-1]])
        # Beyond the last stage of a generator there is nobody.
        entered = jnp.where(jnp.arange(bins)[:, None] <= last, entered, 0)
        return spikes, kept + entered - left

    def largest(self) -> np.ndarray:
        return self.n_proc
