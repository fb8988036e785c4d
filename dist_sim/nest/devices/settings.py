"""What a device can be told: one class per kind of parameter, which checks what is given and makes bare numbers of it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, final

import brainunit as u
import numpy as np

from dist_sim import units
from dist_sim.errors import ParameterError

FOREVER = 2**31 - 1  # the step that never comes


class Setting(ABC):
    """A parameter of a device, under NEST's name."""

    @abstractmethod
    def read(self, value: Any, size: int, dt: float, where: str) -> Any:
        """Bare numbers for `size` devices.

        Args:
            value: what was given, None for the default.
            dt: the step, ms.
            where: what it is, for the error message.

        Raises:
            UnitError, ParameterError: it does not fit.
        """


@final
@dataclass(frozen=True, kw_only=True)
class Number(Setting):
    """One number, or one per device: (size,) float64. `unit` None for a bare number."""

    unit: str | None = None
    default: float = 0.0
    at_least: float = -np.inf
    above: float = -np.inf
    at_most: float = np.inf
    whole: bool = False

    def read(self, value: Any, size: int, dt: float, where: str) -> np.ndarray:
        bare = np.asarray(self.default, np.float64) if value is None else _bare(value, self.unit, where)
        kind = " ".join([*(["whole"] if self.whole else []), "number", *([f"in {self.unit}"] if self.unit else [])])
        if bare.ndim > 1 or (bare.ndim == 1 and len(bare) != size) or not np.isfinite(bare).all():
            raise ParameterError(f"{where}: must be one finite {kind}, or one per device ({size}).")
        if self.whole and (bare != np.floor(bare)).any():
            raise ParameterError(f"{where}: must be a whole number.")
        unit = f" {self.unit}" if self.unit else ""
        if (bare <= self.above).any():
            raise ParameterError(f"{where}: must be above {self.above:g}{unit}.")
        if (bare < self.at_least).any() or (bare > self.at_most).any():
            most = "" if np.isinf(self.at_most) else f" and at most {self.at_most:g}{unit}"
            raise ParameterError(f"{where}: must be at least {self.at_least:g}{unit}{most}.")
        return np.broadcast_to(bare, (size,)).copy()


@final
@dataclass(frozen=True, kw_only=True)
class Time(Setting):
    """A time on the grid, or one per device: (size,) int64 steps; infinity, where it is allowed, is `FOREVER`."""

    default: float = 0.0
    finite: bool = True
    at_least: int = 0  # steps

    def read(self, value: Any, size: int, dt: float, where: str) -> np.ndarray:
        bare = np.asarray(self.default, np.float64) if value is None else units.magnitude(value, "ms", where)
        if bare.ndim > 1 or (bare.ndim == 1 and len(bare) != size) or (self.finite and not np.isfinite(bare).all()):
            raise ParameterError(f"{where}: must be one {'finite ' if self.finite else ''}time, or one per device ({size}).")
        steps = np.where(np.isinf(bare), FOREVER, units.steps_of(np.where(np.isinf(bare), 0.0, bare), dt))
        if (bare < self.at_least * dt * 0.5).any() if self.at_least else (bare < 0).any():
            raise ParameterError(f"{where}: must be at least {self.at_least * dt:g} ms, and a multiple of dt={dt:g} ms.")
        if off_grid(bare[np.isfinite(bare)], dt).any():
            raise ParameterError(f"{where}: must be a multiple of dt={dt:g} ms. Round it to the grid.")
        return np.broadcast_to(steps, (size,)).copy()


@final
@dataclass(frozen=True, kw_only=True)
class Series(Setting):
    """As many numbers as are given, for all devices, or a sequence with the numbers of each: a list of (k,) float64."""

    unit: str | None = None

    def read(self, value: Any, size: int, dt: float, where: str) -> list[np.ndarray]:
        if value is None:
            return [np.zeros(0)] * size
        if isinstance(value, u.Quantity) and value.ndim <= 1 or (not self.unit and not _nested(value)):
            value = [value] * size
        if not isinstance(value, Sequence | u.Quantity | np.ndarray) or len(value) != size:
            found = len(value) if hasattr(value, "__len__") else type(value).__name__
            one = "one quantity" if self.unit else "numbers"
            raise ParameterError(f"{where}: {one} for all, or for each device ({size}); got {found}.")
        series = []
        for number, part in enumerate(value):
            of = f"{where} of device {number}" if size > 1 else where
            numbers = _bare(part, self.unit, of).reshape(-1)
            if not np.isfinite(numbers).all():
                raise ParameterError(f"{of}: is infinite. Give finite numbers{' in ' + self.unit if self.unit else ''}.")
            series.append(numbers)
        return series


@final
@dataclass(frozen=True, kw_only=True)
class Flag(Setting):
    """Yes or no, the same for all devices."""

    default: bool = False

    def read(self, value: Any, size: int, dt: float, where: str) -> bool:
        if value is None:
            return self.default
        if not isinstance(value, bool | np.bool_):
            raise ParameterError(f"{where}: must be True or False.")
        return bool(value)


@final
@dataclass(frozen=True, kw_only=True)
class Names(Setting):
    """Names, the same for all devices: a tuple of str."""

    default: tuple[str, ...] = ()

    def read(self, value: Any, size: int, dt: float, where: str) -> tuple[str, ...]:
        names = self.default if value is None else (value,) if isinstance(value, str) else value
        if not isinstance(names, Sequence) or not all(isinstance(name, str) for name in names):
            raise ParameterError(f"{where}: must be a name or a sequence of names.")
        return tuple(names)


@final
@dataclass(frozen=True, kw_only=True)
class Nodes(Setting):
    """Some neurons, the same for all devices: sorted global ids (k,), None for all."""

    def read(self, value: Any, size: int, dt: float, where: str) -> np.ndarray | None:
        if value is None:
            return None
        ids = np.atleast_1d(np.asarray(getattr(value, "ids", value)))
        if ids.ndim != 1 or not np.issubdtype(ids.dtype, np.integer) or (ids < 0).any():
            raise ParameterError(f"{where}: neurons are needed, as `create` returns them, or their global ids.")
        return np.unique(ids.astype(np.int64))


def off_grid(times: np.ndarray, dt: float) -> np.ndarray:
    """Which of some times [ms] are no whole number of steps, but for floating-point noise."""
    steps = times / dt
    return np.abs(steps - np.floor(steps + 0.5)) > 1e-6 * np.maximum(1.0, 1e-6 * np.abs(steps))


def time_steps(times: np.ndarray, dt: float, where: str, *, off_grid_allowed: bool) -> np.ndarray:
    """Times [ms] as steps (k,) int64; those off the grid are refused, or rounded up as NEST does."""
    off = off_grid(times, dt)
    if off.any() and not off_grid_allowed:
        raise ParameterError(
            f"{where}: {times[off][0]:g} ms is not on the grid of dt={dt:g} ms. Round the times, or say allow_offgrid_times=True."
        )
    return np.where(off, np.ceil(times / dt), np.floor(times / dt + 0.5)).astype(np.int64)


def _bare(value: Any, unit: str | None, where: str) -> np.ndarray:
    if unit is not None:
        return units.magnitude(value, unit, where)
    if isinstance(value, u.Quantity):
        raise ParameterError(f"{where}: must be a number without unit.")
    try:
        bare = np.asarray(value, np.float64)
    except (TypeError, ValueError):
        raise ParameterError(f"{where}: must be a number.") from None
    if np.isnan(bare).any():
        raise ParameterError(f"{where}: is NaN. Give a number.")
    return bare


def _nested(value: Any) -> bool:
    return isinstance(value, Sequence | np.ndarray) and len(value) > 0 and np.ndim(value[0]) > 0
