"""Inputs that are smooth functions of the time."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any, final

import brainunit as u
import jax
import jax.numpy as jnp
import numpy as np

from dist_sim import units
from dist_sim.core import environ
from dist_sim.core.trace import has_tracer
from dist_sim.errors import ParameterError, UnitError
from dist_sim.kernels.draws import sine, turned
from dist_sim.models.dynamics import Dynamics
from dist_sim.models.inputs.clock import decimal, inside, real_steps, step_now, times


class Waveform(Dynamics):
    """A function of the time, 0 outside of [t_start, t_start + duration); the same for every row of a batch.

    Window and function are taken at the beginning of a step. Reads the `i` or `t` of the environment.
    """

    def __init__(self, in_size: int | tuple[int, ...], t_start: Any, duration: Any, name: str | None) -> None:
        super().__init__(in_size, name)
        where = type(self).__name__
        self.t_start = times(f"{where}(t_start=...)", 0.0 * u.ms if t_start is None else t_start)
        self.duration = times(f"{where}(duration=...)", duration, at_least=0.0)

    def shaped(self, name: str, value: Any, like: Any = None) -> Any:
        """A level of the wave, in a unit like another one.

        Raises:
            UnitError, ParameterError: in another unit, or of a shape that is not in_size.
        """
        where = f"{type(self).__name__}({name}=...)"
        value = u.math.asarray(value)
        if like is not None and not u.have_same_dim(value, like):
            raise UnitError(f"{where}: is in {u.get_unit(value)}, the others in {u.get_unit(like)}. Give all of one unit.")
        try:
            np.broadcast_shapes(u.math.shape(value), self.in_size)
        except ValueError:
            raise ParameterError(f"{where}: has the shape {u.math.shape(value)}; needs one number, or {self.in_size}.") from None
        return value

    def windowed(self, value: Any) -> Any:
        value = u.math.broadcast_to(value, self.in_size)
        return u.maybe_decimal(u.math.where(inside(self.t_start, self.t_start + self.duration), value, u.math.zeros_like(value)))


@final
class RampInput(Waveform):
    r""":math:`c_{start} + (c_{end} - c_{start}) (t - t_{start}) / duration`.

    Args:
        in_size: the shape of what it gives.
        c_start, c_end: a number or (*in_size), of one unit.
        duration: [time] > 0.
        t_start: [time], 0 where left out.
        name: of the Module.
    Raises: UnitError, ParameterError: units or shapes that do not fit, a duration of 0.
    Source: names and defaults are those of brainpy.state 0.1.
    """

    def __init__(
        self,
        in_size: int | tuple[int, ...],
        c_start: Any,
        c_end: Any,
        duration: Any,
        t_start: Any = None,
        name: str | None = None,
    ) -> None:
        super().__init__(in_size, t_start, duration, name)
        if (np.asarray(self.duration.to_decimal(u.ms)) <= 0).any():
            raise ParameterError(f"RampInput(duration={duration}): must be above 0 ms.")
        self.c_start = self.shaped("c_start", c_start)
        self.c_end = self.shaped("c_end", c_end, self.c_start)

    def update(self) -> Any:
        """What it gives in this step, of the shape in_size."""
        # In whole steps first: their difference is exact however long the simulation is.
        start, length = real_steps(self.t_start), real_steps(self.duration)
        whole = np.floor(start)
        part = ((step_now() - whole.astype(np.int64)) - (start - whole)) * (1.0 / length)
        return self.windowed(self.c_start + (self.c_end - self.c_start) * part)


@final
class SinusoidalInput(Waveform):
    r""":math:`bias + amplitude \sin(2 \pi \, frequency \, t)`, from 0 on.

    Args:
        in_size: the shape of what it gives.
        amplitude: a number or (*in_size), of any unit.
        frequency: likewise [rate].
        duration: [time] >= 0.
        bias: like the amplitude, 0 where left out.
        name: of the Module.
    Raises: UnitError, ParameterError: units or shapes that do not fit.
    Source: names and defaults are those of brainpy.state 0.1.
    """

    def __init__(
        self,
        in_size: int | tuple[int, ...],
        amplitude: Any,
        frequency: Any,
        duration: Any,
        bias: Any = None,
        name: str | None = None,
    ) -> None:
        super().__init__(in_size, None, duration, name)
        self.amplitude = self.shaped("amplitude", amplitude)
        self.frequency = self.shaped("frequency", units.checked(frequency, u.Hz, "SinusoidalInput(frequency=...)"))
        self.bias = None if bias is None else self.shaped("bias", bias, self.amplitude)

    def update(self) -> Any:
        """What it gives in this step, of the shape in_size."""
        wave = self.amplitude * self._sine()
        return self.windowed(wave if self.bias is None else wave + self.bias)

    def _sine(self) -> jax.Array:
        step, dt = step_now(), environ.get_dt()
        if has_tracer(self.frequency):
            return jnp.sin(2.0 * math.pi * u.maybe_decimal(self.frequency * (step * dt)))
        # In parts of a turn, as integers: the phase is exact after any number of steps.
        frequency, none = decimal(self.frequency, u.Hz), jnp.uint32(0)
        per_step = [Fraction(str(f)) * Fraction(str(dt.to_decimal(u.ms))) / 1000 for f in frequency.ravel().tolist()]
        parts = [round(cycles * 2**64) % 2**64 for cycles in per_step]
        high, low = (
            np.array([part >> shift & 0xFFFFFFFF for part in parts], np.uint32).reshape(frequency.shape) for shift in (32, 0)
        )
        return sine(turned(step, (jnp.asarray(high), jnp.asarray(low)), (none, none)), np.dtype(environ.dftype()))
