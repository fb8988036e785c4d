"""Where units stop: quantities are checked once, at the border, and become bare arrays in ms, mV, pA, nS, pF, Hz.

The step, the synapse tables and the files hold bare numbers in this one unit system (pA = nS mV = pF mV / ms).
"""

from __future__ import annotations

from functools import cache
from typing import Any

import brainunit as u
import jax
import numpy as np

from dist_sim.errors import ParameterError, UnitError

ms, mV, pA, nS, pF, Hz = u.ms, u.mV, u.pA, u.nS, u.pF, u.Hz

UNITS = {"ms": ms, "mV": mV, "pA": pA, "nS": nS, "pF": pF, "Hz": Hz}
# What a person would call each unit of the system, and those that quantities of the BrainPy-style models come in.
KINDS = {
    "ms": "a time", "mV": "a voltage", "pA": "a current", "nS": "a conductance", "pF": "a capacitance", "Hz": "a rate",
    "mA": "a current", "mS": "a conductance", "ohm": "a resistance", "mM": "a concentration",
}  # fmt: skip


def checked(value: Any, unit: Any, where: str) -> u.Quantity:
    """The value itself, if it is a quantity of the dimension of `unit`.

    Args:
        value: a brainunit quantity, scalar or array, concrete or traced.
        unit: a brainunit unit; `u.UNITLESS` for a bare number or array, which comes back as a quantity.
        where: what the value is, for the error message: `LIF(tau=...)`.

    Raises:
        UnitError: the value has no unit, or the unit of something else.
    """
    if not isinstance(value, u.Quantity) and _same_dim(unit, u.UNITLESS) and _is_number(value):
        value = u.Quantity(value)
    if isinstance(value, u.Quantity) and _same_dim(value.unit, unit):
        return value
    wanted = "a number without unit" if _same_dim(unit, u.UNITLESS) else f"{KINDS.get(str(unit), 'a quantity')} ({unit})"
    if isinstance(value, u.Quantity):
        raise UnitError(f"{where}: needs {wanted}; got {_short(value)}.")
    hint = f" Did you mean {_short(value)} * u.{unit}?" if hasattr(u, str(unit)) and _is_number(value) else ""
    raise UnitError(f"{where}: needs {wanted}; got {_short(value)}{' without unit.' * _is_number(value) or '.'}{hint}")


# Units are few, and comparing two takes longer than all else that is done with a number.
@cache
def _same_dim(unit: Any, other: Any) -> bool:
    return bool(u.have_same_dim(unit, other))


@cache
def _factor(unit: Any, wanted: Any) -> float:
    """What numbers in one unit are multiplied by to be in another one."""
    return 1.0 if unit.has_same_magnitude(wanted) else unit.magnitude / wanted.magnitude


def magnitude(value: Any, unit: Any, where: str) -> np.ndarray:
    """Bare float64 numbers of a quantity in one of the units of the system.

    Args:
        value: a brainunit quantity, scalar or array.
        unit: one of `ms mV pA nS pF Hz`, or a brainunit unit; `u.UNITLESS` for numbers.
        where: what the value is, for the error message: `iaf_psc_exp(tau_m=...)`.

    Raises:
        UnitError: the value has no unit, or the unit of something else.
        ParameterError: a NaN among the values.
    """
    wanted = UNITS[unit] if isinstance(unit, str) else unit
    value = checked(value, wanted, where)
    factor = _factor(value.unit, wanted)
    bare = np.asarray(value.mantissa if factor == 1 else value.mantissa * factor, dtype=np.float64)
    if np.isnan(bare).any():
        raise ParameterError(f"{where}: is NaN. Give a number in {unit}.")
    return bare


def quantity(values: Any, unit: Any) -> Any:
    """The bare numbers of the step as a quantity again; numbers without unit stay as they are."""
    wanted = UNITS[unit] if isinstance(unit, str) else unit
    return values if _same_dim(wanted, u.UNITLESS) else values * wanted


# What is added before a time in steps is cut to a whole number: halves go up, and what floating-point noise has made of a half is
# one (0.15 ms are 1.4999999999999998 steps of 0.1 ms). NEST's rule, exact in binary; `kernels/cpp/build.h` has the same number.
HALF_UP = 0.5 + 2.0**-20


def rounding(steps: Any, dtype: Any) -> Any:
    """How far a number of steps, computed from a time of this dtype, may be from what it stands for.

    Three roundings: of the time, of dt, of their quotient. In float32 that is a thousandth of a step from 3,000 steps on.
    """
    dtype = np.dtype(dtype) if np.issubdtype(dtype, np.floating) else np.dtype(np.float64)
    return 2.0**-20 + abs(steps) * (3.0 * float(np.finfo(dtype).eps))


def steps(value: Any, dt: float, where: str) -> np.ndarray:
    """A time as a number of steps, rounded to the nearest one (halves up, as NEST does).

    Args:
        value: a quantity in units of time.
        dt: the step, ms.
    """
    return steps_of(magnitude(value, "ms", where), dt)


def steps_of(milliseconds: np.ndarray | float, dt: float) -> np.ndarray:
    """Milliseconds as a number of steps, rounded to the nearest one (halves up)."""
    return half_up(np.asarray(milliseconds, dtype=np.float64) / dt).astype(np.int64)


def half_up(steps: Any) -> Any:
    """The nearest whole numbers; halves, and what rounding has made of them, go up."""
    return np.floor(steps + HALF_UP)


def steps_up(milliseconds: np.ndarray, dt: float) -> np.ndarray:
    """Times as a number of steps, rounded up as NEST does for refractoriness (to 1 microsecond first, its own grid)."""
    microseconds = np.floor(np.asarray(milliseconds) * 1000.0 + 0.5)
    return np.ceil(microseconds / np.floor(dt * 1000.0 + 0.5)).astype(np.int64)


def step_of(value: Any, dt: float, where: str) -> int:
    """One time as a step, for the start and stop of devices; infinity is the end of time."""
    bare = magnitude(value, "ms", where)
    if bare.ndim or bare < 0:
        raise ParameterError(f"{where}: must be one time of at least 0 ms; got {_short(value)}.")
    return int(steps_of(float(bare), dt)) if np.isfinite(bare) else 2**31 - 1


def whole_steps(duration: Any, dt: float, where: str) -> int:
    """A time as the whole number of steps of dt [ms] that it is.

    Raises:
        UnitError: no time. ParameterError: not one finite time of at least 0 ms, no multiple of dt, more steps than are counted.
    """
    # Printing a quantity takes longer than a short simulation: the errors alone do it.
    bare = magnitude(duration, "ms", where)
    if bare.ndim or not 0 <= bare < np.inf:
        raise ParameterError(f"{where}: {_short(duration)} must be one finite time of at least 0 ms.")
    steps = int(steps_of(float(bare), dt))
    if abs(steps * dt - float(bare)) > 1e-6 * max(1.0, 1e-6 * float(bare)):
        raise ParameterError(f"{where}: {_short(duration)} must be a multiple of dt={dt:g} ms; nearest is {steps * dt:g} ms.")
    if steps >= 2**31:
        raise ParameterError(f"{where}: {_short(duration)} are {steps:,} steps; one simulation takes up to {2**31 - 1:,}.")
    return steps


def _is_number(value: Any) -> bool:
    return isinstance(value, jax.Array) or np.asarray(value).dtype.kind in "iuf"


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 60 else text[:57] + "..."
