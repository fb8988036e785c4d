"""Statistics of spike trains and potentials: (time, neuron) arrays, as `for_loop` stacks them. Names and defaults are those of
braintools 0.3, but for :func:`isi_cv`."""

from __future__ import annotations

from typing import Any

import brainunit as u
import jax
import jax.numpy as jnp
import numpy as np

from dist_sim import units
from dist_sim.core import environ
from dist_sim.errors import ParameterError


def raster_plot(sp_matrix: Any, times: Any) -> tuple[np.ndarray, Any]:
    """What a raster shows: which neuron, and when, for every spike; by time, then neuron.

    Args:
        sp_matrix: spikes (time, neuron).
        times: (time,), with or without unit, which the result has.
    """
    step, neuron = np.nonzero(_matrix("raster_plot", sp_matrix) > 0)
    return neuron, times[step]


def firing_rate(spikes: Any, width: Any, dt: Any = None) -> jax.Array:
    """(time,): the mean rate of all neurons in a window around each step, in Hz where times have units.

    Args:
        spikes: (time, neuron).
        width: of the window; made an odd number of steps, 7 for 6 or 7 steps. At both ends it counts no spikes beyond them.
        dt: of a step; that of the environment where left out.
    """
    dt = environ.get_dt() if dt is None else dt
    half = _ratio(width, 2 * dt)
    if not (np.isfinite(half) and half >= 0):
        raise ParameterError(f"firing_rate(width={width}): must be at least 0, and finite.")
    around = int(np.floor(half + units.rounding(half, np.float32)))
    rate = 1.0 / ((2 * around + 1) * dt)
    window = jnp.ones(2 * around + 1) * (rate.to_decimal(u.Hz) if isinstance(rate, u.Quantity) else rate)
    mean = jnp.asarray(_matrix("firing_rate", spikes)).mean(axis=1)
    return jnp.convolve(mean, window, mode="full")[around : around + len(mean)]


def isi_cv(spikes: Any) -> np.ndarray:
    """(neuron,): the coefficient of variation of the intervals between spikes (time, neuron); NaN for fewer than two intervals.

    1 for a Poisson train, 0 for a regular one.
    """
    found = _matrix("isi_cv", spikes) > 0
    intervals = [np.diff(np.flatnonzero(train)) for train in found.T]
    return np.array([np.std(x) / np.mean(x) if len(x) > 1 else np.nan for x in intervals])


def cross_correlation(spikes: Any, bin: Any, dt: Any = None, method: str = "loop") -> jax.Array:
    r"""Synchrony of a population: the mean over pairs of :math:`\sum_t x_t y_t / \sqrt{\sum_t x_t \sum_t y_t}`, where x and y say
    for each bin whether a neuron spiked; 0 for one that never did.

    Args:
        spikes: (time, neuron).
        bin: width of a bin, at least dt.
        dt: of a step; that of the environment where left out.
        method: "loop" or "vmap"; here they are one.

    Raises:
        ParameterError: a bin below a step, another method.
    Source: Wang & Buzsaki (1996), doi:10.1523/JNEUROSCI.16-20-06402.1996.
    """
    _check_method("cross_correlation", method)
    dt = environ.get_dt() if dt is None else dt
    steps = int(round(_ratio(bin, dt)))
    if steps < 1:
        raise ParameterError(f"cross_correlation(bin={bin}): must be at least the step, {dt}.")
    x = jnp.asarray(_matrix("cross_correlation", spikes)) > 0
    x = jnp.pad(x, ((0, -len(x) % steps), (0, 0))).reshape(-1, steps, x.shape[1]).any(axis=1).astype(float)
    count, both = x.sum(axis=0), x.T @ x
    scale = jnp.sqrt(count[:, None] * count)
    pairs = jnp.where(scale > 0, both / jnp.where(scale > 0, scale, 1.0), 0.0)
    n = len(count)
    return jnp.sum(jnp.tril(pairs, -1)) / max(n * (n - 1) / 2, 1)


def voltage_fluctuation(potentials: Any, method: str = "loop") -> jax.Array:
    r"""Synchrony of a population: :math:`\sigma_{mean}^2 / \langle \sigma_i^2 \rangle`, the variance over time of the mean
    potential over the mean variance of each; 1 where nothing moves.

    Args:
        potentials: (time, neuron), with or without unit.
        method: "loop" or "vmap"; here they are one.
    Source: Golomb & Rinzel (1993), doi:10.1103/PhysRevE.48.4810.
    """
    _check_method("voltage_fluctuation", method)
    V = jnp.asarray(_matrix("voltage_fluctuation", potentials))
    each = jnp.var(V, axis=0).mean()
    return jnp.where(each == 0, 1.0, jnp.var(V.mean(axis=1)) / jnp.where(each == 0, 1.0, each))


def functional_connectivity(activities: Any) -> jax.Array:
    """(signal, signal): Pearson correlations of signals (time, signal), 1 on the diagonal; 0 with one that does not vary."""
    x = jnp.asarray(_matrix("functional_connectivity", activities))
    found = jnp.nan_to_num(jnp.atleast_2d(jnp.corrcoef(x.T)))
    return jnp.where(jnp.eye(x.shape[1], dtype=bool), 1.0, found)


def matrix_correlation(x: Any, y: Any) -> jax.Array:
    """Pearson correlation of the upper triangles of two matrices of one shape, without their diagonals; 0 if one is constant."""
    a, b = (jnp.asarray(_matrix("matrix_correlation", given)) for given in (x, y))
    if a.shape != b.shape:
        raise ParameterError(f"matrix_correlation: x {a.shape} and y {b.shape} differ in shape.")
    above = jnp.triu_indices_from(a, k=1)
    return jnp.nan_to_num(jnp.corrcoef(a[above], b[above])[0, 1])


def _matrix(where: str, given: Any) -> np.ndarray:
    found = np.asarray(u.get_mantissa(given))
    if found.ndim != 2:
        raise ParameterError(f"{where}: needs an array of two axes, time in front; got the shape {found.shape}.")
    return found


def _ratio(x: Any, y: Any) -> float:
    ratio = u.maybe_decimal(x / y)
    if isinstance(ratio, u.Quantity):
        raise ParameterError(f"{x} and {y}: give both as times, or both as numbers.")
    return float(ratio)


def _check_method(where: str, method: str) -> None:
    if method not in ("loop", "vmap"):
        raise ParameterError(f"{where}(method={method!r}): allowed are 'loop' and 'vmap'.")
