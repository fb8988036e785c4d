"""A NEST-named neuron as a Module that runs alone: its text on arrays of any shape, differentiable."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, final

import brainunit as u
import jax
import jax.numpy as jnp
import numpy as np

from dist_sim import units
from dist_sim.core import environ, random
from dist_sim.errors import ParameterError, UnknownNameError
from dist_sim.kernels.neurons import advance
from dist_sim.nest.neurons import shape as shapes
from dist_sim.nest.neurons import text as texts


@final
class Alone:
    """What neurons that run alone are given, and their step. Numbers are bare; shapes are those of the population."""

    def __init__(self, model: Any, size: int | tuple[int, ...], parameters: Mapping[str, Any], spk_fun: Any):
        self.model, self.spk_fun = model, spk_fun
        self.size = (size,) if isinstance(size, int | np.integer) else tuple(size)
        if isinstance(size, bool) or not self.size or any(n < 1 for n in self.size):
            raise ParameterError(f"{model.__name__}({size!r}): the size must be whole numbers of at least 1.")
        known = {**shapes.settable(model), **shapes.synaptic(model)}
        axes = dict(shapes.default_shape(model).axes)
        given: dict[str, np.ndarray] = {}
        for name, value in parameters.items():
            if name not in known:
                raise UnknownNameError("parameter", name, known, where=model.__name__)
            parameter, where = known[name], f"{model.__name__}({name}={str(value)[:40]})"
            value = int(value) if isinstance(value, bool | np.bool_) else value
            bare = units.magnitude(value, parameter.unit, where)
            parameter.check(float(bare.min(initial=np.inf)), float(bare.max(initial=-np.inf)), where)
            if parameter.axis is not None:
                axes[parameter.axis] = bare.shape[-1] if bare.ndim else 1
            given[name] = bare
        self.shape = shapes.Shape(axes=tuple(axes.items()))
        self._values = self._filled(known, given)
        model.check(self._values)
        has = frozenset(name for name, of in model.features.items() if np.any(of(self._values)))
        self.shape = shapes.Shape(axes=tuple(axes.items()), features=has)

    def _filled(self, known: Mapping[str, Any], given: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """(n,) of every row, n neurons in a line."""
        count, values = math.prod(self.size), {}
        for name, parameter in known.items():
            for k, entry in enumerate(shapes.entries(name, parameter.axis, self.shape)):
                value = given.get(name)
                if parameter.axis is not None:
                    default = parameter.default[min(k, len(parameter.default) - 1)] if parameter.default else parameter.fill
                    value = default if value is None else np.atleast_1d(value)[..., k]
                value = parameter.default if value is None else value
                try:
                    values[entry] = np.broadcast_to(np.asarray(value, np.float64), self.size).reshape(count).copy()
                except ValueError:
                    raise ParameterError(
                        f"{self.model.__name__}({name}=...): shape {np.shape(value)} does not fit the size {self.size}."
                    ) from None
        return values

    # ---- the step ----

    def _ready(self) -> tuple[Any, dict[str, np.ndarray]]:
        """The text and its parameters, for environ's dt and precision."""
        dt = float(units.magnitude(environ.get_dt(), "ms", "environ.set(dt=...)"))
        text = texts.neuron_text(self.model, self.shape, np.dtype(environ.dftype()))
        rows = texts.host_parameters(self.model, self._values, dt, self.shape, text.dtype)
        return text, rows

    def start(self, batch_size: int | None) -> dict[str, Any]:
        text, _ = self._ready()
        dt = float(units.magnitude(environ.get_dt(), "ms", "environ.set(dt=...)"))
        starts = texts.start_values(self.model, self._values, dt, self.shape)
        shape = self.size if batch_size is None else (batch_size, *self.size)
        rows = {n: jnp.broadcast_to(jnp.asarray(starts[n].reshape(self.size), text.dtype), shape) for n in text.states}
        rows |= {n: jnp.full(shape, self.model.counter_declarations[n].start, jnp.int32) for n in text.counters}
        return rows | {"steps": jnp.zeros((), jnp.int32)}

    def step(self, rows: Mapping[str, Any], current: Any, arriving: Mapping[str, Any]) -> tuple[dict[str, Any], Any]:
        text, host = self._ready()
        p = {n: jnp.asarray(host[n].reshape(self.size), text.dtype) for n in text.numbers}
        p |= {n: jnp.asarray(host[n].reshape(self.size), jnp.int32) for n in text.wholes}
        y, c = [rows[n] for n in text.states], [rows[n] for n in text.counters]
        like = (y or c)[0] if y or c else jnp.zeros(self.size)
        arrived, injected = self._arrived(arriving, text.dtype), self._injected(current, text)
        uniforms = [random.rand(*like.shape).astype(text.dtype) for _ in range(text.uniforms)]
        new, counted, number = advance(text, list(p.values()), y, c, arrived, injected, rows["steps"], uniforms)
        found = dict(zip(text.states, new, strict=True)) | dict(zip(text.counters, counted, strict=True))
        found = {n: jnp.broadcast_to(v, jnp.shape(rows[n])).astype(rows[n].dtype) for n, v in found.items()}
        spikes = jnp.broadcast_to(number, like.shape).astype(text.dtype)
        if "V_th" in p and "V_m" in text.states:
            # The way to the threshold, had there been none: what the derivative of the spikes is taken of.
            unbounded = [jnp.full_like(v, jnp.inf) if n == "V_th" else v for n, v in p.items()]
            free, _, _ = advance(text, unbounded, y, c, arrived, injected, rows["steps"], uniforms)
            height = jnp.maximum(jnp.abs(p["V_th"]), 1.0)
            smooth = self.spk_fun((free[text.states.index("V_m")] - p["V_th"]) / height)
            spikes = spikes + (smooth - jax.lax.stop_gradient(smooth))
        return {**found, "steps": rows["steps"] + 1}, spikes

    def _arrived(self, arriving: Mapping[str, Any], dtype: Any) -> list[Any]:
        model, values = self.model, []
        for name in arriving:
            if name not in model.receptors:
                raise UnknownNameError("receptor", name, model.receptors, where=f"{model.__name__}.update")
        for name, receptor in model.receptors.items():
            given = arriving.get(name)
            count = 1 if receptor.axis is None else self.shape.count(receptor.axis)
            parts = list(given) if receptor.axis is not None and given is not None else [given] * count
            where = f"{model.__name__}.update({name}=...)"
            if len(parts) != count:
                raise ParameterError(f"{where}: {len(parts)} are given, and these neurons take {count}, one for each entry.")
            for part in parts:
                unit = u.UNITLESS if receptor.counts else receptor.unit
                bare = 0.0 if part is None else units.checked(part, unit, where).to_decimal(unit)
                values.append(jnp.asarray(bare, dtype))
        return values

    def _injected(self, current: Any, text: Any) -> list[Any]:
        given = list(current) if isinstance(current, tuple) else [current] + [None] * (text.currents - 1)
        where = f"{self.model.__name__}.update(current=...)"
        return [
            jnp.asarray(0.0 if value is None else units.checked(value, u.pA, where).to_decimal(u.pA), text.dtype)
            for value in given
        ]

    # ---- what a user sees ----

    def parameter(self, name: str) -> Any:
        parameter = self.model.parameter_declarations[name]
        rows = [self._values[entry].reshape(self.size) for entry in shapes.entries(name, parameter.axis, self.shape)]
        return units.quantity(rows[0] if parameter.axis is None else np.stack(rows, axis=-1), parameter.unit)

    def absolute(self, name: str, rows: Mapping[str, Any]) -> Any:
        state = self.model.state_declarations[name]
        found = [rows[entry] for entry in shapes.entries(name, state.axis, self.shape)]
        if state.relative_to is not None:
            found = [row + self._values[state.relative_to].reshape(self.size).astype(row.dtype) for row in found]
        return units.quantity(found[0] if state.axis is None else jnp.stack(found, axis=-1), state.unit)

    def relative(self, name: str, value: Any, rows: Mapping[str, Any]) -> dict[str, Any]:
        state = self.model.state_declarations[name]
        bare = units.checked(value, state.unit, f"{self.model.__name__}.{name}").to_decimal(state.unit)
        names = shapes.entries(name, state.axis, self.shape)
        parts = [bare] if state.axis is None else [bare[..., k] for k in range(len(names))]
        offset = 0.0 if state.relative_to is None else self._values[state.relative_to].reshape(self.size)
        return {
            n: jnp.broadcast_to(jnp.asarray(v - offset, rows[n].dtype), rows[n].shape) for n, v in zip(names, parts, strict=True)
        }
