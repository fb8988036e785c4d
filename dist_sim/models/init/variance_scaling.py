"""Random weights whose variance falls with the number of inputs or outputs: the one rule, and its six usual settings."""

from __future__ import annotations

import math
from typing import Any

import brainunit as u

from dist_sim.errors import ParameterError
from dist_sim.models.init.initializer import Initializer, shape_of, source

MODES = ("fan_in", "fan_out", "fan_avg")
DISTRIBUTIONS = ("uniform", "normal", "truncated_normal")

# The standard deviation of a standard normal number that lies in [-2, 2].
_TRUNCATED_STD = 0.87962566103423978


class VarianceScaling(Initializer):
    r"""Drawn with the mean 0 and the variance scale / fan from `ds.random`.

    Weights lie (..., from, to): fan_in is the number of sources, fan_out that of targets, each times the axes in front; fan_avg
    their mean. With one axis both are its size.

    Args:
        scale: of the variance, above 0.
        mode: "fan_in", "fan_out" or "fan_avg".
        distribution: "uniform", "normal", or "truncated_normal": none further than two standard deviations (before cutting).
        unit: of the weights.

    Raises:
        ParameterError: another mode or distribution, a scale that is not above 0.
    Source: Names and defaults are those of braintools 0.3.
    """

    def __init__(self, scale: float = 1.0, mode: str = "fan_in", distribution: str = "normal", unit: Any = None) -> None:
        where = type(self).__name__
        for name, given, allowed in (("mode", mode, MODES), ("distribution", distribution, DISTRIBUTIONS)):
            if given not in allowed:
                raise ParameterError(f"{where}({name}={given!r}): allowed are {', '.join(map(repr, allowed))}.")
        if not scale > 0:
            raise ParameterError(f"{where}(scale={scale}): must be above 0.")
        self.scale, self.mode, self.distribution = scale, mode, distribution
        self._unit = u.UNITLESS if unit is None else unit

    @property
    def unit(self) -> Any:
        return self._unit

    def __call__(self, size: int | tuple[int, ...], *, rng: Any = None) -> Any:
        shape = shape_of(size)
        ahead = math.prod(shape[:-2])
        fan_in, fan_out = ahead * math.prod(shape[-2:-1] or shape), ahead * math.prod(shape[-1:])
        fan = {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2}[self.mode]
        std = math.sqrt(self.scale / max(fan, 1))
        if self.distribution == "uniform":
            drawn = source(rng).uniform(-std * 3**0.5, std * 3**0.5, shape)
        elif self.distribution == "normal":
            drawn = source(rng).normal(0.0, std, shape)
        else:
            drawn = source(rng).truncated_normal(-2.0, 2.0, shape) * (std / _TRUNCATED_STD)
        return u.maybe_decimal(u.Quantity(drawn, unit=self.unit))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.scale:g} / {self.mode}, {self.distribution}, {self.unit})"


class _Kaiming(VarianceScaling):
    def __init__(
        self, distribution: str, scale: float | None, mode: str, nonlinearity: str, negative_slope: float, unit: Any
    ) -> None:
        gains = {"relu": 2.0, "leaky_relu": 2.0 / (1.0 + negative_slope**2)}
        if nonlinearity not in gains:
            raise ParameterError(f"{type(self).__name__}(nonlinearity={nonlinearity!r}): allowed are 'relu' and 'leaky_relu'.")
        super().__init__(gains[nonlinearity] if scale is None else scale, mode, distribution, unit)


class KaimingUniform(_Kaiming):
    r"""Uniform with the variance 2 / fan_in, for rectified units.

    Args:
        scale: instead of 2, or of :math:`2 / (1 + s^2)` for "leaky_relu" with the slope s.
        mode, unit: as for :class:`VarianceScaling`.
    Source: He et al. (2015), doi:10.1109/ICCV.2015.123. Names and defaults are those of braintools 0.3.
    """

    def __init__(
        self,
        scale: float | None = None,
        mode: str = "fan_in",
        nonlinearity: str = "relu",
        negative_slope: float = 0.01,
        unit: Any = None,
    ) -> None:
        super().__init__("uniform", scale, mode, nonlinearity, negative_slope, unit)


class KaimingNormal(_Kaiming):
    """As :class:`KaimingUniform`, normally distributed."""

    def __init__(
        self,
        scale: float | None = None,
        mode: str = "fan_in",
        nonlinearity: str = "relu",
        negative_slope: float = 0.01,
        unit: Any = None,
    ) -> None:
        super().__init__("normal", scale, mode, nonlinearity, negative_slope, unit)


class XavierUniform(VarianceScaling):
    """Uniform with the variance scale / fan_avg, for sigmoid units.

    Source: Glorot & Bengio (2010), AISTATS, PMLR 9:249-256. Names and defaults are those of braintools 0.3.
    """

    def __init__(self, scale: float = 1.0, unit: Any = None) -> None:
        super().__init__(scale, "fan_avg", "uniform", unit)


class XavierNormal(VarianceScaling):
    """As :class:`XavierUniform`, normally distributed."""

    def __init__(self, scale: float = 1.0, unit: Any = None) -> None:
        super().__init__(scale, "fan_avg", "normal", unit)


class LecunUniform(VarianceScaling):
    """Uniform with the variance scale / fan_in: keeps the variance of what goes through a linear layer.

    Source: LeCun et al. (1998), doi:10.1007/3-540-49430-8_2. Names and defaults are those of braintools 0.3.
    """

    def __init__(self, scale: float = 1.0, unit: Any = None) -> None:
        super().__init__(scale, "fan_in", "uniform", unit)


class LecunNormal(VarianceScaling):
    """As :class:`LecunUniform`, normally distributed."""

    def __init__(self, scale: float = 1.0, unit: Any = None) -> None:
        super().__init__(scale, "fan_in", "normal", unit)
