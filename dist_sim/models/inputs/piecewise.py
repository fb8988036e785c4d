"""Inputs that are constant for some time."""

from __future__ import annotations

from typing import Any, final

import brainunit as u
import jax.numpy as jnp
import numpy as np

from dist_sim.core import State
from dist_sim.errors import ParameterError
from dist_sim.models.dynamics import Dynamics
from dist_sim.models.inputs.clock import in_steps, milliseconds, step_now, times


class Piecewise(Dynamics):
    """An input that takes another value at each of several times; the same for every row of a batch.

    Times are rounded to steps, halves up. Reads the `i` or `t` of the environment.

    Args:
        in_size: the shape of what it gives.
        starts: (n,) times [time], ascending.
        values: (n + 1,) or (n + 1, *in_size): before the first of them, and from each on; of any unit.
        name: of the Module.

    Raises:
        UnitError, ParameterError: no times, values without one unit or of another shape.
    """

    def __init__(self, in_size: int | tuple[int, ...], starts: Any, values: Any, name: str | None = None) -> None:
        super().__init__(in_size, name)
        unit = u.get_unit(values)
        bare = jnp.asarray(u.get_mantissa(values), float)
        try:
            jnp.broadcast_shapes(bare.shape[1:], self.in_size)
        except ValueError:
            raise ParameterError(
                f"{type(self).__name__}: each value has the shape {bare.shape[1:]}; needs one number, or {self.in_size}."
            ) from None
        self.starts = starts
        self.values = State(u.Quantity(bare, unit=unit))

    def update(self) -> Any:
        """What it gives in this step, of the shape in_size."""
        section = jnp.sum(step_now() >= in_steps(self.starts))
        return u.maybe_decimal(u.math.broadcast_to(self.values.value[section], self.in_size))


@final
class SectionInput(Piecewise):
    """One value after the other, each for its time; then 0.

    Args:
        in_size: the shape of what it gives.
        values: (n,), or (n, *in_size), of any unit.
        durations: (n,) [time] >= 0.
        name: of the Module.
    Raises: UnitError, ParameterError: as :class:`Piecewise`; numbers of values and durations that differ.
    Source: names and defaults are those of brainpy.state 0.1.
    """

    def __init__(self, in_size: int | tuple[int, ...], values: Any, durations: Any, name: str | None = None) -> None:
        values = _listed("SectionInput", "values", values)
        durations = times("SectionInput(durations=...)", durations, at_least=0.0)
        _check_pairs("SectionInput", values, durations, "values", "durations")
        # values[0] is reached at 0; before that there is nothing.
        ends = np.cumsum(milliseconds(durations))
        super().__init__(in_size, np.array([0.0, *ends]) * u.ms, _with_zeros(values, before=True, after=True), name)


@final
class ConstantInput(Piecewise):
    """A value from 0 to a time; then 0.

    Args:
        in_size: the shape of what it gives.
        value: a number or (*in_size), of any unit.
        duration: [time] >= 0.
        name: of the Module.
    Raises: UnitError, ParameterError: as :class:`Piecewise`.
    Source: names and defaults are those of brainpy.state 0.1.
    """

    def __init__(self, in_size: int | tuple[int, ...], value: Any, duration: Any, name: str | None = None) -> None:
        stop = milliseconds(times("ConstantInput(duration=...)", duration, at_least=0.0))
        values = u.math.expand_dims(u.math.asarray(value), 0)
        super().__init__(in_size, np.array([0.0, float(stop)]) * u.ms, _with_zeros(values, before=True, after=True), name)


@final
class StepInput(Piecewise):
    """0, and from each of several times on another value.

    Args:
        in_size: the shape of what it gives.
        amplitudes: (n,), or (n, *in_size), of any unit.
        step_times: (n,) [time], in any order.
        name: of the Module.
    Raises: UnitError, ParameterError: as :class:`Piecewise`; numbers of amplitudes and times that differ.
    Source: names and defaults are those of brainpy.state 0.1.
    """

    def __init__(self, in_size: int | tuple[int, ...], amplitudes: Any, step_times: Any, name: str | None = None) -> None:
        amplitudes = _listed("StepInput", "amplitudes", amplitudes)
        step_times = times("StepInput(step_times=...)", step_times)
        _check_pairs("StepInput", amplitudes, step_times, "amplitudes", "step_times")
        bare = milliseconds(step_times)
        order = np.argsort(bare, kind="stable")
        super().__init__(in_size, bare[order] * u.ms, _with_zeros(amplitudes[order], before=True), name)


def _listed(model: str, name: str, given: Any) -> Any:
    found = u.math.asarray(given)
    if not u.math.ndim(found):
        raise ParameterError(f"{model}({name}={given}): needs one per time, as in `[0, 10, 0] * u.pA`.")
    return found


def _check_pairs(model: str, values: Any, times: Any, name: str, of_times: str) -> None:
    if u.math.shape(times) != u.math.shape(values)[:1]:
        raise ParameterError(
            f"{model}({name}=..., {of_times}=...): {u.math.shape(values)[0]} and {u.math.size(times)}; needs one of each."
        )


def _with_zeros(values: Any, *, before: bool = False, after: bool = False) -> Any:
    zero = u.math.zeros_like(values[:1])
    return u.math.concatenate([*([zero] if before else []), values, *([zero] if after else [])])
