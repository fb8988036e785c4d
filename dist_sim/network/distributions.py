"""Numbers drawn per synapse or per neuron: what a weight, a delay or a parameter may be instead of one number."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any, final

import numpy as np

from dist_sim import units
from dist_sim.errors import ParameterError
from dist_sim.kernels import build, exact


class Distribution(ABC):
    """A distribution of quantities. Values outside [min, max] are drawn again."""

    @abstractmethod
    def draw(self, unit: str, where: str) -> build.Draw:
        """The distribution in bare numbers of a unit."""


@final
@dataclass(frozen=True)
class Normal(Distribution):
    """Normal distribution; `mean` and `std` in one unit, truncated to [min, max] by redrawing."""

    mean: Any
    std: Any
    min: Any = None
    max: Any = None

    def draw(self, unit: str, where: str) -> build.Draw:
        mean, std = _number(self.mean, unit, where, "mean"), _number(self.std, unit, where, "std", least=0.0)
        low, high = _limits(self, unit, where)
        return _reachable(build.Draw(kind=build.NORMAL, a=mean, b=std, low=low, high=high), where)


@final
@dataclass(frozen=True)
class LogNormal(Distribution):
    """Lognormal distribution whose own mean and standard deviation are `mean` > 0 and `std`, truncated to [min, max] by
    redrawing."""

    mean: Any
    std: Any
    min: Any = None
    max: Any = None

    def draw(self, unit: str, where: str) -> build.Draw:
        mean, std = _number(self.mean, unit, where, "mean"), _number(self.std, unit, where, "std", least=0.0)
        if mean <= 0:
            raise ParameterError(f"{where}: LogNormal(mean={mean:g} {unit}): the mean must be positive.")
        variance = float(exact.log(np.asarray(1.0 + (std / mean) ** 2)))
        low, high = _limits(self, unit, where)
        draw = build.Draw(
            kind=build.LOGNORMAL, a=float(exact.log(np.asarray(mean))) - variance / 2, b=variance**0.5, low=low, high=high
        )
        return _reachable(draw, where)


@final
@dataclass(frozen=True)
class Uniform(Distribution):
    """Uniform distribution over [low, high)."""

    low: Any
    high: Any

    def draw(self, unit: str, where: str) -> build.Draw:
        low, high = _number(self.low, unit, where, "low"), _number(self.high, unit, where, "high")
        if high < low:
            raise ParameterError(f"{where}: Uniform(low={low:g}, high={high:g} {unit}): low must not exceed high.")
        return build.Draw(kind=build.UNIFORM_REAL, a=low, b=high, low=low, high=high)


def as_draw(value: Any, unit: str, where: str) -> build.Draw:
    """A scalar quantity, an array of quantities or a distribution, in bare numbers of a unit; an array is flattened.

    Raises:
        UnitError, ParameterError: see `units.magnitude`; infinite values.
    """
    if isinstance(value, Distribution):
        return value.draw(unit, where)
    bare = units.magnitude(value, unit, where)
    if not np.isfinite(bare).all():
        raise ParameterError(f"{where}: is infinite. Give finite numbers in {unit}.")
    if bare.ndim == 0:
        return build.Draw(kind=build.CONSTANT, a=float(bare), low=float(bare), high=float(bare))
    values = np.ascontiguousarray(bare.reshape(-1))
    return build.Draw(kind=build.ARRAY, values=values, shape=bare.shape, low=bare.min(initial=0), high=bare.max(initial=0))


def bounds(draw: build.Draw) -> tuple[float, float]:
    """The smallest and the largest number that can be drawn."""
    if draw.kind == build.CONSTANT:
        return draw.a, draw.a
    if draw.kind == build.ARRAY:
        assert draw.values is not None
        return (float(draw.values.min()), float(draw.values.max())) if len(draw.values) else (0.0, 0.0)
    if draw.kind == build.UNIFORM_REAL:
        return draw.a, draw.b
    low, high = draw.a - exact.NORMAL_BOUND * draw.b, draw.a + exact.NORMAL_BOUND * draw.b
    if draw.kind == build.LOGNORMAL:
        low, high = (float(exact.exp(np.asarray(x))) for x in (low, high))
    return max(low, draw.low), min(high, draw.high)


def typical_size(draw: build.Draw) -> float:
    """The size of its usual numbers: the median of those that are given and not 0."""
    if draw.kind in (build.CONSTANT, build.ARRAY):
        values = np.abs(np.array([draw.a]) if draw.values is None else draw.values)
        return float(np.median(values[values > 0])) if (values > 0).any() else 0.0
    if draw.kind == build.LOGNORMAL:
        return float(exact.exp(np.asarray(draw.a)))
    return max(abs(draw.a), abs(draw.b))


def smallest_size(draw: build.Draw) -> float:
    """The size of the smallest number that is given and not 0; of a distribution, of its usual ones."""
    if draw.values is None:
        return typical_size(draw)
    sizes = np.abs(draw.values[draw.values != 0])
    return float(sizes.min(initial=np.inf))


def _number(value: Any, unit: str, where: str, name: str, least: float = -np.inf) -> float:
    bare = units.magnitude(value, unit, f"{where}: {name}")
    if bare.ndim or not np.isfinite(bare) or bare < least:
        bound = f" of at least {least:g}" if np.isfinite(least) else ""
        raise ParameterError(f"{where}: {name} must be one finite number{bound} in {unit}; got {value}.")
    return float(bare)


def _limits(d: Any, unit: str, where: str) -> tuple[float, float]:
    low, high = (
        (-np.inf if d.min is None else _number(d.min, unit, where, "min")),
        (np.inf if d.max is None else _number(d.max, unit, where, "max")),
    )
    if low > high:
        raise ParameterError(f"{where}: min={low:g} must not exceed max={high:g} {unit}.")
    return low, high


def _reachable(draw: build.Draw, where: str) -> build.Draw:
    """Refuses limits that redrawing would hardly or never meet."""
    if _kept(draw.kind, draw.a, draw.b, draw.low, draw.high) < 1e-3:
        centre = exact.exp(np.asarray(draw.a)) if draw.kind == build.LOGNORMAL else draw.a
        raise ParameterError(
            f"{where}: less than 0.1 % of the distribution around {centre:g} lies in [{draw.low:g}, {draw.high:g}]."
        )
    return draw


# Networks are made of many connections with few distributions.
@lru_cache(4096)
def _kept(kind: int, a: float, b: float, low: float, high: float) -> float:
    """The part of a normal or lognormal distribution that lies in [low, high]."""
    values = a + b * _quantiles()
    values = exact.exp(values) if kind == build.LOGNORMAL else values
    return np.count_nonzero((values >= low) & (values <= high)) / len(values)


@cache
def _quantiles() -> np.ndarray:
    """Of the standard normal distribution, evenly spaced."""
    return exact.normal_quantile(np.linspace(0, 2**32 - 1, 20001))
