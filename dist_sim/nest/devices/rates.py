"""Poisson numbers of a mean that changes from step to step."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from dist_sim.errors import ParameterError
from dist_sim.kernels import draws
from dist_sim.kernels.poisson import count_tables, roomy_width
from dist_sim.network.stimulus import Targets


def largest_counts(mean: np.ndarray, where: str) -> np.ndarray:
    """(size,) the largest Poisson number that 32 random bits can give, for the largest mean of each device, spikes per step.

    Raises:
        ParameterError: more spikes per step than can be drawn.
    """
    if (mean > draws.MOST).any():
        raise ParameterError(f"{where}: {mean.max():g} spikes per step; at most {draws.MOST:g}. Use several generators.")
    return np.where(mean > 0, count_tables(np.where(mean > 0, mean, 1.0)).largest, 0)


def width_for(most: np.ndarray) -> int:
    """The width of tables of numbers up to `most` (size,): one of few."""
    return roomy_width(int(most.max()))


def poisson_counts(
    mean: jax.Array, most: jax.Array, step: jax.Array, to: Targets, width: int, *, common: bool = False
) -> jax.Array:
    """(n,) Poisson numbers of the targets, or of the devices if they are `common`.

    Args:
        mean: (devices,); most: (devices,) the largest number of any device, at most `width`.
    """
    tails = draws.poisson_tails(mean, most, width)
    if common:
        return draws.count_of(tails, to.common_words(step)[0])
    return draws.count_of(to.of(tails), to.words(step)[0])


def mean_per_step(rate: jax.Array, resolution: float) -> jax.Array:
    """Spikes per step of rates [Hz]; none for a rate below 0."""
    return jnp.maximum(rate, 0) * rate.dtype.type(resolution * 1e-3)
