from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, final

import brainunit as u
import jax
import jax.numpy as jnp
import numpy as np

from dist_sim import units
from dist_sim.core import DelayState, Module, ShortTermState, State, environ
from dist_sim.core.lifecycle import call_order
from dist_sim.core.trace import has_tracer
from dist_sim.errors import ParameterError

INTERPOLATIONS = {"nearest": False, "round": False, "linear": True, "linear_interp": True}


class Delay(Module):
    """The last values of something, one per step, in a ring: `update(value)` adds one, `retrieve(time)` finds an earlier one.

    The value of the last update is 0 steps old. Split over a mesh as the neurons are: reading and writing need no communication.

    Args:
        target_info: what has the shape, dtype and unit of a value: an array, a quantity, or a `jax.ShapeDtypeStruct`. Floats
            take the precision at hand when the States are made.
        time: the longest delay [time]; those registered later count too.
        init: values before the first update: a number or quantity, or a callable of a shape; 0 by default.
        entries: delays by name, for `at`.
        interpolation: between steps: "linear", which gives each of both steps its part, so that of a spike nothing is lost or
            doubled; "nearest" (or "round"), halves up.

    States: history (steps, *shape) or (steps, batch, *shape), made for the dt at hand; newest, the place in it of the last value.
    Raises:
        UnitError: a delay that is no time, a value in another unit.
        ParameterError: a delay below 0 or longer than the ring, a history that was made for another dt, an entry twice.
        KeyError: no dt when the States are made.
    Source: names are those of brainstate 0.5, which rounds delays up.
    """

    def __init__(
        self,
        target_info: Any,
        time: Any = None,
        init: Callable[[tuple[int, ...]], Any] | u.Quantity | float | None = None,
        entries: Mapping[str, Any] | None = None,
        interpolation: str | None = None,
    ) -> None:
        super().__init__()
        if interpolation is not None and interpolation not in INTERPOLATIONS:
            raise ParameterError(
                f"{self.where}(interpolation={interpolation!r}): allowed are {', '.join(map(repr, INTERPOLATIONS))}."
            )
        self.interpolates = INTERPOLATIONS[interpolation or "linear"]
        self.target_info = target_info
        self.init = init
        self.longest = 0.0  # ms
        self.dt = 0.0  # ms, of the history
        self._entries: dict[str, tuple[Any, ...]] = {}
        if time is not None:
            self.register_delay(time)
        for entry, given in (entries or {}).items():
            self.register_entry(entry, *(given if isinstance(given, tuple | list) else (given,)))

    @property
    def where(self) -> str:
        return type(self).__name__

    @property
    def max_length(self) -> int:
        """Steps in the ring, at the present dt."""
        return int(np.ceil(self.longest / _dt() - 1e-4)) + 1

    # ---- what is asked for ----

    def register_delay(self, time: Any, *indices: Any) -> tuple[Any, ...]:
        """Makes room for a delay, when the States are made next. Returns what to call `retrieve` with, to be kept by a Module.

        Args:
            time: a quantity, one for all or one per value; None for none.
            indices: see `retrieve`.
        """
        time = 0.0 * u.ms if time is None else units.checked(time, u.ms, f"{self.where}(time=...)")
        if not has_tracer(time):
            bare = np.asarray(time.to_decimal(u.ms), np.float64)
            if not (np.isfinite(bare) & (bare >= 0)).all():
                raise ParameterError(f"{self.where}(time={time}): a delay must be at least 0 ms, and finite.")
            self.longest = max(self.longest, float(bare.max(initial=0.0)))
            if bare.ndim and not indices:
                # Split as the values are.
                time = State(time, axes=(..., "neuron"))
        return time, *indices

    def register_entry(self, entry: str, *time_and_indices: Any) -> Delay:
        """A delay by name."""
        if entry in self._entries:
            raise ParameterError(f"{self.where}: there is an entry {entry!r} already. Choose another name.")
        self._entries[entry] = self.register_delay(*time_and_indices)
        return self

    def access(self, entry: str, *time_and_indices: Any) -> DelayAccess:
        """A delay by name, to be called for its value."""
        self.register_entry(entry, *time_and_indices)
        return DelayAccess(self, entry)

    # ---- the ring ----

    @call_order(3)
    def init_state(self, batch_size: int | None = None) -> None:
        info, unit = self.target_info, u.get_unit(self.target_info)
        shape = (self.max_length, *(() if batch_size is None else (batch_size,)), *info.shape)
        dtype = jnp.result_type(float) if jnp.issubdtype(info.dtype, jnp.floating) else info.dtype
        start = self.init(shape) if callable(self.init) else 0.0 * unit if self.init is None else self.init
        if info.dtype == bool:
            bare = start
        else:
            bare = units.checked(start, unit, f"{self.where}(init=...)").to_decimal(unit)
        history = u.maybe_decimal(jnp.broadcast_to(jnp.asarray(bare, dtype), shape) * unit)
        batch = () if batch_size is None else ("batch",)
        self.history = DelayState(history, axes=(None, *batch, ..., "neuron"))
        self.newest = ShortTermState(jnp.zeros((), jnp.int32))
        self.dt = _dt()

    def update(self, value: Any) -> None:
        """Adds a value."""
        kept, unit = self.history.value, u.get_unit(self.history.value)
        bare = units.checked(value, unit, f"{self.where}.update(...)").to_decimal(unit)
        newest = (self.newest.value + 1) % len(kept)
        bare = jnp.broadcast_to(jnp.asarray(bare, kept.dtype), kept.shape[1:])
        history = jax.lax.dynamic_update_index_in_dim(u.get_mantissa(kept), bare, newest, 0)
        self.history.value, self.newest.value = u.maybe_decimal(history * unit), newest

    def retrieve(self, time: Any, *indices: Any) -> Any:
        """The value of so long ago, interpolated.

        With linear interpolation its derivative by the delay is the slope between the two steps around it. At a whole number of
        steps that is the slope on the side of longer delays, and at the longest the one on the side of shorter ones. A delay that
        is learnt stays within the history: beyond its ends it is that end. The nearest value has the derivative 0.

        Args:
            time: a quantity, or a State of it; one for all, or one per value, of a shape that broadcasts to that of the values.
            indices: of the values to read, (n,) along each of their axes, and then time one for all or (n,).
        """
        steps = self._steps(time.value if isinstance(time, State) else time)
        xp = jnp if isinstance(steps, jax.Array) else np
        if not self.interpolates:
            return self.retrieve_at_step(xp.floor(steps + 0.5), *indices)
        last = len(self.history.value) - 1
        if xp is np and not np.any(steps != np.floor(steps)):
            return self.retrieve_at_step(steps, *indices)
        if xp is np and np.max(steps) > last:
            return self.retrieve_at_step(np.ceil(steps), *indices)  # which says so
        # Of the longest delay too there are two steps to go between, and a slope.
        below = xp.clip(xp.floor(steps), 0, max(last - 1, 0))
        part = steps - below
        part = xp.where(part < 0, 0.0, xp.where(part > 1, 1.0, part))  # where no `clip` halves the slope at its bounds
        earlier = self.retrieve_at_step(xp.minimum(below + 1, last), *indices)
        return self.retrieve_at_step(below, *indices) * (1.0 - part) + earlier * part

    def retrieve_at_step(self, delay_step: Any, *indices: Any) -> Any:
        """The value of so many whole steps ago. Arguments: as for `retrieve`."""
        if self.dt and not np.isclose(self.dt, _dt()):
            raise ParameterError(
                f"{self.where}: the history was made for dt={self.dt:g} ms; now it is {_dt():g} ms. Call init_all_states again."
            )
        kept = self.history.value
        length = len(kept)
        if not isinstance(delay_step, jax.Array) and np.max(delay_step) >= length:
            raise ParameterError(
                f"{self.where}: {np.max(delay_step):g} steps are asked for; the history has {length - 1}. Register the delay, "
                "and call init_all_states after that."
            )
        at = (self.newest.value - jnp.asarray(delay_step, jnp.int32)) % length
        bare = u.get_mantissa(kept)
        if indices:
            found = bare[(at, ..., *indices)]
            found = jnp.moveaxis(found, 0, -1) if found.ndim > 1 and at.ndim else found
        elif at.ndim:
            # One place per value: each reads its own. On a mesh, a gather would exchange the places; all but one term is 0 here.
            rows = jnp.arange(length).reshape(-1, *(1,) * (bare.ndim - 1))
            found = jnp.where(rows == at, bare, jnp.zeros((), bare.dtype))
            found = found.any(0) if bare.dtype == bool else found.sum(0)
        else:
            found = jax.lax.dynamic_index_in_dim(bare, at, 0, keepdims=False)
        return u.maybe_decimal(found * u.get_unit(kept))

    def retrieve_at_time(self, time: Any, *indices: Any) -> Any:
        """The value at a time of the environment's clock t, interpolated."""
        return self.retrieve(environ.get("t") - time, *indices)

    def at(self, entry: str) -> Any:
        """The value of a named delay."""
        if entry not in self._entries:
            raise ParameterError(f"{self.where}.at({entry!r}): there is no such entry. Known: {', '.join(self._entries)}.")
        return self.retrieve(*self._entries[entry])

    def _steps(self, time: Any) -> Any:
        steps = units.checked(time, u.ms, f"{self.where}.retrieve(time=...)").to_decimal(u.ms) / _dt()
        xp = jnp if isinstance(steps, jax.Array) else np
        nearest = xp.round(steps)
        # A whole number of steps is one, though dt be 0.1 in binary and the time in float32.
        off = steps - nearest
        off = jax.lax.stop_gradient(off) if xp is jnp else off
        dtype = getattr(u.get_mantissa(time), "dtype", np.float64)
        return xp.where(abs(off) <= units.rounding(abs(nearest), dtype), steps - off, steps)


@final
class DelayAccess(Module):
    """An entry of a :class:`Delay`, to be called for its value."""

    def __init__(self, delay: Delay, entry: str) -> None:
        super().__init__()
        self.delay, self.entry = delay, entry

    def update(self, *args: Any) -> Any:
        return self.delay.at(self.entry)


def _dt() -> float:
    return float(environ.get_dt().to_decimal(u.ms))
