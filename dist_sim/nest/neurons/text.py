"""From what a model declares to the texts of its step, and from a user's parameters to what these read."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import jax.numpy as jnp
import numpy as np

from dist_sim import units
from dist_sim.errors import UnknownNameError
from dist_sim.kernels.neurons import NeuronText
from dist_sim.kernels.scalar.text import FLOAT, INT, Text, trace
from dist_sim.nest.laws import Adaptive, trial
from dist_sim.nest.neurons.shape import Shape, channels_of, entries, merged_away, settable, synaptic, uniforms_of
from dist_sim.nest.values import Values

if TYPE_CHECKING:
    from dist_sim.nest.neurons.neuron import NESTNeuron


def gathered(values: Mapping[str, Any], axes: Mapping[str, str | None] | None, shape: Shape) -> dict[str, Any]:
    """Rows by name, those of an axis put together as a tuple; without `axes`, those of names `name[k]`."""
    if axes is None:
        return _tupled(values)
    return {
        name: values[name] if axis is None else tuple(values[entry] for entry in entries(name, axis, shape))
        for name, axis in axes.items()
        if axis is not None or name in values
    }


def host_parameters(
    model: type[NESTNeuron], values: Mapping[str, np.ndarray], dt: float, shape: Shape, dtype: Any
) -> dict[str, np.ndarray]:
    """All that the step may read of parameters, by row, in its own form: potentials relative, times in steps; float64 or
    int32."""
    rows: dict[str, np.ndarray] = {"dt": np.full(len(next(iter(values.values()))), dt)}
    for name, parameter in model.parameter_declarations.items():
        for entry in entries(name, parameter.axis, shape):
            value = values[entry]
            if parameter.relative_to is not None:
                value = value - values[parameter.relative_to]
            if parameter.steps:
                value = units.steps_up(value, dt)
            rows[entry] = value.astype(np.int32 if parameter.is_whole else np.float64)
    axes = {n: p.axis for n, p in model.parameter_declarations.items()}
    given = Values("parameter", gathered(values, axes, shape))
    for name, value in model.propagators(given, dt).items():
        for entry, row in _rows(name, value):
            rows[entry] = np.asarray(row, dtype=np.int32 if np.asarray(row).dtype.kind in "iub" else np.float64)
    if isinstance(model.law, Adaptive):
        tolerance = (
            rows[model.law.tolerance] if isinstance(model.law.tolerance, str) else np.full_like(rows["dt"], model.law.tolerance)
        )
        rows["tolerance"] = np.maximum(tolerance, model.law.least_in_float32) if np.dtype(dtype) == np.float32 else tolerance
    return rows


def _rows(name: str, value: Any) -> list[tuple[str, Any]]:
    return [(f"{name}[{k}]", v) for k, v in enumerate(value)] if isinstance(value, list | tuple) else [(name, value)]


def start_values(model: type[NESTNeuron], values: Mapping[str, np.ndarray], dt: float, shape: Shape) -> dict[str, np.ndarray]:
    """Initial values of the states by row, as the step has them."""
    n = len(next(iter(values.values())))
    starts = {}
    for name, state in model.state_declarations.items():
        for entry in entries(name, state.axis, shape):
            value = values.get(entry)
            if value is None and isinstance(state.start, str):
                value = values[entry.replace(name, state.start, 1)]
            elif value is None:
                value = np.full(n, float(state.start))
            starts[entry] = value - values[state.relative_to] if state.relative_to is not None else value
    if isinstance(model.law, Adaptive):
        starts["internal_step"] = np.full(n, dt)
    return starts


@functools.cache
def neuron_text(model: type[NESTNeuron], shape: Shape, dtype: Any) -> NeuronText:
    """The text of a model's step, with the parameters that it reads."""
    sample = host_parameters(model, _sample(model, shape), 0.1, shape, dtype)
    numbers = [n for n, v in sample.items() if v.dtype.kind == "f"]
    wholes = [n for n, v in sample.items() if v.dtype.kind == "i"]
    everything = _Tracing(model, shape, np.dtype(dtype), numbers, wholes)
    used = everything.used()
    # dt comes first: it is how far a solver has to go.
    tracing = _Tracing(
        model, shape, np.dtype(dtype), ["dt", *(n for n in numbers if n in used and n != "dt")], [n for n in wholes if n in used]
    )
    update, substep = tracing.texts()
    return NeuronText(
        name=model.__name__, dtype=np.dtype(dtype), numbers=tuple(tracing.numbers), wholes=tuple(tracing.wholes),
        states=tuple(tracing.states), counters=tuple(tracing.counters), channels=len(tracing.channels),
        currents=model.current_ports, uniforms=uniforms_of(model, shape), several=model.several_spikes or model.binary,
        update=update, substep=substep,
    )  # fmt: skip


@functools.cache
def recordable_text(model: type[NESTNeuron], shape: Shape, dtype: Any, name: str) -> tuple[Text, tuple[str, ...]]:
    """The text of a derived recordable, and the parameters that it reads; its inputs are these, the states and the counters."""
    sample = host_parameters(model, _sample(model, shape), 0.1, shape, dtype)
    everything = _Tracing(
        model,
        shape,
        np.dtype(dtype),
        [n for n, v in sample.items() if v.dtype.kind == "f"],
        [n for n, v in sample.items() if v.dtype.kind == "i"],
    )
    used = everything.read_by(everything.recordable(name))
    tracing = _Tracing(
        model, shape, np.dtype(dtype), [n for n in everything.numbers if n in used], [n for n in everything.wholes if n in used]
    )
    return tracing.recordable(name), (*tracing.numbers, *tracing.wholes)


def _sample(model: type[NESTNeuron], shape: Shape) -> dict[str, np.ndarray]:
    """Default values of one neuron."""
    values = {}
    for name, parameter in {**settable(model), **synaptic(model)}.items():
        for k, entry in enumerate(entries(name, parameter.axis, shape)):
            default = parameter.default
            if isinstance(default, tuple):
                default = default[min(k, len(default) - 1)] if default else parameter.fill
            values[entry] = np.array([float(default)])
    return values


class _Tracing:
    """The functions of scalars behind a model's texts."""

    def __init__(self, model: type[NESTNeuron], shape: Shape, dtype: np.dtype, numbers: Sequence[str], wholes: Sequence[str]):
        self.model, self.shape, self.dtype = model, shape, dtype
        self.numbers, self.wholes = list(numbers), list(wholes)
        self.merged_away = merged_away(model) if shape.merged else set()
        self.states = [
            entry
            for name, s in model.state_declarations.items()
            if name not in self.merged_away
            for entry in entries(name, s.axis, shape)
        ]
        if isinstance(model.law, Adaptive):
            self.states.append("internal_step")
        self.counters = list(model.counter_declarations)
        self.channels = channels_of(model, shape)
        self.all_parameters = _all_rows(model, shape, dtype)

    def texts(self) -> tuple[Text, Text | None]:
        model, parameters = self.model, (FLOAT,) * len(self.numbers) + (INT,) * len(self.wholes)
        state = (FLOAT,) * len(self.states) + (INT,) * len(self.counters)
        currents, uniforms = (FLOAT,) * model.current_ports, (FLOAT,) * uniforms_of(model, self.shape)
        arriving = (*(FLOAT,) * len(self.channels), *currents)
        inputs = (*parameters, *state, *arriving, INT, *uniforms)
        if not isinstance(model.law, Adaptive):
            return trace(model.__name__, self.update, inputs, self.dtype), None
        substep = trace(model.__name__, self.substep, (*parameters, *state, *arriving, FLOAT), self.dtype)
        return trace(model.__name__, self.update, (*inputs, *state), self.dtype), substep

    def recordable(self, name: str) -> Text:
        model = self.model
        inputs = (FLOAT,) * len(self.numbers) + (INT,) * len(self.wholes)
        inputs += (FLOAT,) * len(self.states) + (INT,) * len(self.counters)

        def recorded(*given: Any) -> tuple:
            take = iter(given)
            p, y, c = self._parameters(take), self._named(self.states, take), self._named(self.counters, take)
            return (jnp.asarray(model.derived_recordables[name].f(self._state_values({**y, **c}), p), self.dtype),)

        return trace(f"{model.__name__}.{name}", recorded, inputs, self.dtype)

    def used(self) -> set[str]:
        update, substep = self.texts()
        return self.read_by(update) | (self.read_by(substep) if substep is not None else set())

    def read_by(self, text: Text) -> set[str]:
        """Parameters that a text reads."""
        names, jaxpr = [*self.numbers, *self.wholes], text.jaxpr.jaxpr
        read = {id(v) for eqn in jaxpr.eqns for v in eqn.invars} | {id(v) for v in jaxpr.outvars}
        return {n for n, v in zip(names, jaxpr.invars[: len(names)], strict=True) if id(v) in read}

    def update(self, *given: Any) -> tuple:
        take = iter(given)
        p, y, c = self._parameters(take), self._named(self.states, take), self._named(self.counters, take)
        x = self._arrivals(take)
        x |= self._currents(take)
        x["step"], x["features"] = next(take), self.shape.features
        x["uniforms"] = tuple(next(take) for _ in range(uniforms_of(self.model, self.shape)))
        if isinstance(self.model.law, Adaptive):
            before = {**self._named(self.states, take), **self._named(self.counters, take)}
            x["before"] = self._state_values(before)
        changed, spikes = self.model.step(self._state_values({**y, **c}), p, Values("input", x))
        return self._results(y, c, changed, spikes)

    def substep(self, *given: Any) -> tuple:
        law, model, take = self.model.law, self.model, iter(given)
        assert isinstance(law, Adaptive) and model.derivatives is not None
        p, y, c = self._parameters(take), self._named(self.states, take), self._named(self.counters, take)
        given_x = {**self._arrivals(take), **self._currents(take), "features": self.shape.features}
        t = next(take)
        x = Values("input", {**given_x, "first": t == 0})
        solved = [n for n in self._flat(model.derivatives(self._state_values({**y, **c}), p, x))]

        def derivatives(state: Mapping[str, Any]) -> dict[str, Any]:
            return self._flat(model.derivatives(self._state_values({**y, **c, **state}), p, x))  # type: ignore[misc]

        new, h, time, done = trial(derivatives, {n: y[n] for n in solved}, y["internal_step"], t, p.dt, p.tolerance, law.control)
        y |= new
        y["internal_step"] = h
        spikes: Any = jnp.int32(0)
        if model.accepted is not None:
            changed, spiking = model.accepted(self._state_values({**y, **c}), p, x)
            results = self._results(y, c, changed, spiking)
            names = [*self.states, *self.counters]
            kept = {n: jnp.where(done, r, {**y, **c}[n]) for n, r in zip(names, results, strict=False)}
            y, c = {n: kept[n] for n in self.states}, {n: kept[n] for n in self.counters}
            spikes = jnp.where(done, results[-1], 0)
        return (*y.values(), *c.values(), time, spikes)

    # ---- names ----

    def _parameters(self, take: Any) -> Values:
        given = {n: next(take) for n in [*self.numbers, *self.wholes]}
        rows = {n: given.get(n, _UNREAD) for n in self.all_parameters}
        for name, parameter in self.model.parameter_declarations.items():
            if parameter.is_switch and rows[name] is not _UNREAD:
                rows[name] = rows[name] != 0
        return Values(f"parameter of {self.model.__name__}", _empty(self.model.parameter_declarations) | _tupled(rows))

    @staticmethod
    def _named(names: Sequence[str], take: Any) -> dict[str, Any]:
        return {n: next(take) for n in names}

    def _state_values(self, rows: Mapping[str, Any]) -> Values:
        zeros = {n: _Nothing() for n in self.merged_away}
        return Values(f"state of {self.model.__name__}", {**_empty(self.model.state_declarations), **_tupled(rows), **zeros})

    def _arrivals(self, take: Any) -> dict[str, Any]:
        rows = self._named(self.channels, take)
        x = _tupled(rows)
        for name, receptor in self.model.receptors.items():
            if name not in x:
                x[name] = () if receptor.axis is not None else _Nothing()
        return x

    def _currents(self, take: Any) -> dict[str, Any]:
        currents = tuple(next(take) for _ in range(self.model.current_ports))
        return {"current": currents[0] if len(currents) == 1 else currents, "currents": currents}

    def _flat(self, values: Mapping[str, Any]) -> dict[str, Any]:
        return {entry: row for name, value in values.items() for entry, row in _rows(name, value)}

    def _results(self, y: Mapping[str, Any], c: Mapping[str, Any], changed: Mapping[str, Any], spikes: Any) -> tuple:
        flat = self._flat(changed)
        known = {**y, **c}
        for name in flat:
            if name not in known and name not in self.merged_away:
                raise UnknownNameError("state", name, known, where=f"{self.model.__name__}.step")
        states = [jnp.asarray(flat.get(n, y[n]), self.dtype) for n in y]
        counters = [jnp.asarray(flat.get(n, c[n]), jnp.int32) for n in c]
        spikes = jnp.asarray(spikes)
        return (*states, *counters, spikes.astype(jnp.int32))


_UNREAD = 0.0


class _Nothing:
    """A channel that is left out: what arrives there is nothing, and so is what it drives."""

    def __mul__(self, other: Any) -> Any:
        return self

    __rmul__ = __truediv__ = __mul__

    def __neg__(self) -> Any:
        return self

    def __add__(self, other: Any) -> Any:
        return other

    __radd__ = __add__

    def __rsub__(self, other: Any) -> Any:
        return other


def _tupled(rows: Mapping[str, Any]) -> dict[str, Any]:
    """Rows `name[k]` put together as the tuple `name`."""
    found: dict[str, Any] = {}
    for name, value in rows.items():
        head, bracket, _ = name.partition("[")
        if bracket:
            found.setdefault(head, []).append(value)
        else:
            found[name] = value
    return {n: tuple(v) if isinstance(v, list) else v for n, v in found.items()}


def _empty(declared: Mapping[str, Any]) -> dict[str, Any]:
    """Lists without entries, which have no rows: of those that have, the rows stand in their place."""
    return {name: () for name, d in declared.items() if d.axis is not None}


@functools.cache
def _all_rows(model: type[NESTNeuron], shape: Shape, dtype: Any) -> tuple[str, ...]:
    return tuple(host_parameters(model, _sample(model, shape), 0.1, shape, dtype))
