from __future__ import annotations

from collections.abc import Callable
from typing import Any, final

import brainunit as u
import jax
import jax.numpy as jnp
import numpy as np

from dist_sim import units
from dist_sim.core import State, environ
from dist_sim.core.trace import has_tracer
from dist_sim.errors import ParameterError
from dist_sim.models.dynamics import Dynamics
from dist_sim.models.inputs.clock import real_steps, step_now, times

ROUNDINGS: dict[str, Callable[[Any], Any]] = {"floor": np.floor, "round": units.half_up, "ceil": np.ceil}


@final
class SpikeTime(Dynamics):
    """Spikes at given times; the same for every row of a batch. The work of a step follows its spikes, not all of them.

    Reads the `i` or `t` of the environment, unless it is told a step or time.

    Args:
        in_size: number of neurons.
        indices: (n,) which neuron spikes.
        times: (n,) when [time], in any order; rounded to steps of the dt that is set now, halves up.
        weights: what a spike gives, one number or (n,). Spikes of one neuron in one step add up.
        time_as_step: "floor", "round" or "ceil", or a function of a numpy array.
        name: of the Module.
    Raises: UnitError, ParameterError: numbers that differ, neurons that are not there, no times; later on, another dt.
    Source: names and defaults are those of brainpy.state 0.1.
    """

    def __init__(
        self,
        in_size: int | tuple[int, ...],
        indices: Any,
        times: Any,
        weights: Any = 1.0,
        time_as_step: str | Callable[[Any], Any] = "round",
        name: str | None = None,
    ) -> None:
        super().__init__(in_size, name)
        if len(self.in_size) != 1:
            raise ParameterError(f"SpikeTime(in_size={in_size}): needs one number of neurons.")
        if not callable(time_as_step) and time_as_step not in ROUNDINGS:
            raise ParameterError(f"SpikeTime(time_as_step={time_as_step!r}): allowed are {', '.join(map(repr, ROUNDINGS))}.")
        self._rounded = time_as_step if callable(time_as_step) else ROUNDINGS[time_as_step]
        index, weight = np.asarray(indices, np.int64).reshape(-1), np.asarray(weights, np.float64)
        self._dt = environ.get_dt()
        step = self._step_of(_listed(times))
        if step.shape != index.shape or weight.shape not in ((), index.shape):
            raise ParameterError(
                f"SpikeTime: {index.size} indices, {step.size} times and {weight.size} weights; needs one of each per spike."
            )
        if ((index < 0) | (index >= self.in_size[0])).any():
            raise ParameterError(f"SpikeTime(indices=...): must lie between 0 and {self.in_size[0] - 1}.")
        order = np.argsort(step, kind="stable")
        counts = np.unique(step, return_counts=True)[1]
        # So many spikes are looked at in each step; beyond the end, spikes of no step.
        self._most = int(counts.max(initial=0))
        fill = (0, self._most)
        self.steps = State(jnp.asarray(np.pad(step[order], fill, constant_values=-1), jnp.int32))
        self.indices = State(jnp.asarray(np.pad(index[order], fill), jnp.int32))
        self.weights = State(jnp.asarray(np.pad(np.broadcast_to(weight, index.shape)[order], fill), float))
        self._count = index.size

    def update(self, index: Any = None, time: Any = None) -> jax.Array:
        """The spikes of this step, or of the step `index`, or of a time [time]: their weights, of the shape in_size."""
        if environ.get_dt() != self._dt:
            raise ParameterError(f"SpikeTime: was made for dt={self._dt}; now it is {environ.get_dt()}. Make it anew.")
        if index is None and time is not None:
            if has_tracer(time):
                ratio = jnp.asarray(u.maybe_decimal(time / self._dt))
                index = {np.floor: jnp.floor, np.ceil: jnp.ceil}.get(self._rounded, lambda x: jnp.floor(x + 0.5))(ratio)
            else:
                index = self._step_of(time)
        step = step_now() if index is None else jnp.asarray(index, jnp.int32)
        none = jnp.zeros(self.in_size)
        if not self._most:
            return none
        first = jnp.searchsorted(self.steps.value[: self._count], step)
        step_of, index_of, weight_of = (
            jax.lax.dynamic_slice_in_dim(x.value, first, self._most) for x in (self.steps, self.indices, self.weights)
        )
        return none.at[index_of].add(jnp.where(step_of == step, weight_of, 0.0))

    def _step_of(self, time: u.Quantity) -> np.ndarray:
        # Of whole steps no rounding takes one away: 0.3 ms are 2.9999999999999996 steps of 0.1 ms.
        return np.asarray(self._rounded(real_steps(time))).astype(np.int64)


def _listed(given: Any) -> u.Quantity:
    found = times("SpikeTime(times=...)", given)
    return found if found.ndim else u.math.expand_dims(found, 0)
