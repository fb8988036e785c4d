"""A sine that keeps its phase for ever: what several generators are modulated by."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np

from dist_sim.kernels import draws

_TURN = 1 << 64


def wave_numbers(frequency: np.ndarray, phase: np.ndarray, dt: float) -> dict[str, np.ndarray]:
    """What `wave` needs of each device (size,): frequency [Hz], phase [degrees], dt [ms]. The grid is a multiple of 1 us."""
    per_step = [round(Fraction(f) * round(dt * 1000) / 10**6 * _TURN) % _TURN for f in frequency.tolist()]
    first = [round(Fraction(x) / 360 * _TURN) % _TURN for x in phase.tolist()]
    words = {
        f"{name}_{part}": np.array([turns >> shift & 0xFFFFFFFF for turns in values], np.uint32)
        for name, values in (("turn", per_step), ("phase", first))
        for part, shift in (("high", 32), ("low", 0))
    }
    return words


def wave(p: Mapping[str, jax.Array], step: jax.Array, dtype: np.dtype) -> jax.Array:
    """(size,) sin(2 pi f t + phase) at the end of a step, t from the start of the simulation."""
    turns = draws.turned(step + jnp.ones_like(step), (p["turn_high"], p["turn_low"]), (p["phase_high"], p["phase_low"]))
    return draws.sine(turns, dtype)
