"""How a model's equations become a step: exactly, by a map, or by an adaptive solver."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, final

import jax
import jax.numpy as jnp


@final
@dataclass(frozen=True, kw_only=True)
class Linear:
    """Linear dynamics, solved exactly on the grid with propagators that `propagators(p, dt)` computes once on the host in
    float64.

    Attributes:
        uniforms, with_feature, more_with: as of `Discrete`.

    Source: Rotter & Diesmann (1999), doi:10.1007/s004220050570.
    """

    uniforms: int = 0
    with_feature: str | None = None
    more_with: tuple[str, int] | None = None


@final
@dataclass(frozen=True, kw_only=True)
class Discrete:
    """A map from step to step.

    Attributes:
        uniforms: random numbers that each step takes: `x.uniforms`, in (0, 1), keyed by (seed, global id, step).
        with_feature: they are drawn where a neuron of the network has this feature alone.
        more_with: a feature, and how many more are drawn where a neuron has it.
    """

    uniforms: int = 0
    with_feature: str | None = None
    more_with: tuple[str, int] | None = None


@final
@dataclass(frozen=True, kw_only=True)
class Adaptive:
    """`derivatives(y, p, x)` solved by Fehlberg's method of order 4 and 5 whose internal step is a state of the neuron: NEST's
    rule.

    Attributes:
        tolerance: of the error of an internal step, in the units of the states; the name of a parameter takes that one's value.
        control: `y`: the error is at most the tolerance; `dy`: at most tolerance * (|h dy/dt| + 1).
        least_in_float32: the smallest tolerance in precision 32, below which rounding would be taken for an error.
        uniforms, with_feature, more_with: as of `Discrete`.

    Source: Fehlberg (1969), NASA TR R-315; the control of steps is that of the GSL (Galassi et al., Reference Manual, 27.4).
    """

    tolerance: float | str = 1e-3
    control: str = "y"
    least_in_float32: float = 1e-4
    uniforms: int = 0
    with_feature: str | None = None
    more_with: tuple[str, int] | None = None


Law = Linear | Discrete | Adaptive

_A = ((1 / 4,), (3 / 32, 9 / 32), (1932 / 2197, -7200 / 2197, 7296 / 2197),
      (8341 / 4104, -32832 / 4104, 29440 / 4104, -845 / 4104),
      (-6080 / 20520, 41040 / 20520, -28352 / 20520, 9295 / 20520, -5643 / 20520))  # fmt: skip
_FIFTH = {0: 902880 / 7618050, 2: 3953664 / 7618050, 3: 3855735 / 7618050, 4: -1371249 / 7618050, 5: 277020 / 7618050}
_ERROR = {0: 1 / 360, 2: -128 / 4275, 3: -2197 / 75240, 4: 1 / 50, 5: 2 / 55}


def trial(
    derivatives: Callable[[Mapping[str, Any]], Mapping[str, Any]], y: Mapping[str, Any], h: Any, t: Any, dt: Any, tolerance: Any,
    control: str,
) -> tuple[dict[str, Any], Any, Any, Any]:  # fmt: skip
    """One trial of an internal step.

    Args:
        derivatives: of the states that have one.
        y: those states; h: the internal step that is proposed; t: the time within the step dt.

    Returns:
        The states, the next proposal, the time, and whether the trial was accepted; all as before where t has come to dt.
    """
    left = dt - t
    final = h > left
    tried = jnp.where(final, left, h)
    k = [derivatives(y)]
    for row in _A:
        k.append(derivatives({n: y[n] + tried * _weighted(dict(enumerate(row)), k, n) for n in y}))
    new = {n: y[n] + tried * _weighted(_FIFTH, k, n) for n in y}
    error = {n: tried * _weighted(_ERROR, k, n) for n in y}
    if control == "y":
        ratio = _largest([abs(error[n]) for n in y]) / tolerance
    else:
        rate = derivatives(new)
        ratio = _largest([abs(error[n]) / (tolerance * abs(tried * rate[n]) + tolerance) for n in y])
    time = jnp.where(final, dt, t + tried)
    # Larger errors ask for a smaller step and another trial, as long as it moves time; small ones let the next step grow.
    shrinking, growing = ratio > 1.1, ratio < 0.5
    far_off = (ratio >= 1845.0) | (ratio <= 3.4e-5)
    clipped = jnp.where(shrinking, jnp.where(ratio >= 1845.0, 1845.0, ratio), jnp.where(far_off, 3.4e-5, ratio))
    by_power = (shrinking | growing) & ~far_off
    factor = jax.lax.cond(by_power, lambda r: 0.9 / jnp.power(r, jnp.where(shrinking, 1 / 5, 1 / 6)), jnp.ones_like, clipped)
    smaller = tried * jnp.where(ratio >= 1845.0, 0.2, jnp.where(factor < 0.2, 0.2, factor))
    larger = tried * jnp.where(ratio <= 3.4e-5, 5.0, jnp.where(factor > 5.0, 5.0, jnp.where(factor < 1.0, 1.0, factor)))
    rejected = shrinking & (smaller < tried) & (time + smaller != time)
    proposal = jnp.where(rejected, smaller, jnp.where(growing, larger, tried))
    active = t < dt
    accepted = active & ~rejected
    states = {n: jnp.where(accepted, new[n], y[n]) for n in y}
    return states, jnp.where(active, proposal, h), jnp.where(accepted, time, t), accepted


def _weighted(weights: Mapping[int, float], k: list[Mapping[str, Any]], name: str) -> Any:
    total: Any = None
    for stage, weight in weights.items():
        total = weight * k[stage][name] if total is None else total + weight * k[stage][name]
    return total


def _largest(values: list[Any]) -> Any:
    largest = values[0]
    for value in values[1:]:
        # A NaN stays the largest, and ends the solve.
        largest = jnp.where((value > largest) | (value != value), value, largest)
    return largest
