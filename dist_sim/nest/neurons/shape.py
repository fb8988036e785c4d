"""What follows from the declarations of a model alone: its channels, receptors, parameters and recordables."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import brainunit as u
import numpy as np

from dist_sim.nest.declared import Parameter, Receptor

if TYPE_CHECKING:
    from dist_sim.nest.neurons.neuron import NESTNeuron


@dataclass(frozen=True)
class Shape:
    """What a model's text depends on besides the model.

    Attributes:
        axes: entries of each axis of lists.
        merged: whether the channel of negative weights is left out, for its dynamics are those of the other.
        features: those that some neuron has.
    """

    axes: tuple[tuple[str, int], ...] = ()
    merged: bool = False
    features: frozenset[str] = frozenset()

    def count(self, axis: str) -> int:
        return dict(self.axes)[axis]


# Time constants of the traces of its spikes that synapses meet which change and end on the neuron.
_TRACES = {"tau_minus": Parameter(u.ms, 20.0, above=0.0), "tau_minus_triplet": Parameter(u.ms, 110.0, above=0.0)}


@functools.cache
def settable(model: type[NESTNeuron]) -> Mapping[str, Parameter]:
    """What a user may give to neurons in a network: parameters and initial values."""
    starts = {}
    for name, state in model.state_declarations.items():
        if state.settable and state.axis is None:
            default = state.start if not isinstance(state.start, str) else model.parameter_declarations[state.start].default
            starts[name] = Parameter(state.unit, default, at_least=state.at_least, relative_to=state.relative_to)
    of_synapses = synaptic(model)
    given = {n: p for n, p in model.parameter_declarations.items() if n not in of_synapses}
    return {**given, **starts, **_TRACES}


def synaptic(model: type[NESTNeuron]) -> dict[str, Parameter]:
    """What the synapses in a network say: their weights, where each has an entry of its own."""
    return {r.weights: model.parameter_declarations[r.weights] for r in model.receptors.values() if r.weights is not None}


def default_shape(model: type[NESTNeuron]) -> Shape:
    defaults = {p.axis: p.default for p in [*model.parameter_declarations.values()][::-1] if isinstance(p.default, tuple)}
    return Shape(axes=tuple((axis, len(defaults[axis])) for axis in model.axes()))


def entries(name: str, axis: str | None, shape: Shape) -> list[str]:
    """Names of the rows of a parameter or state: `tau_syn[0]`, ... along an axis."""
    return [name] if axis is None else [f"{name}[{k}]" for k in range(shape.count(axis))]


def channels_of(model: type[NESTNeuron], shape: Shape) -> list[str]:
    """Names of the input channels, in order."""
    found = []
    for name, receptor in model.receptors.items():
        if not (shape.merged and receptor.sign == -1):
            found += entries(name, receptor.axis, shape)
    return found


def routes_of(model: type[NESTNeuron], shape: Shape) -> dict[int, tuple[int, int]]:
    """Receptor type -> channels of its positive and of its negative weights."""
    rows, routes = channels_of(model, shape), {}
    for name, receptor in model.receptors.items():
        for k, entry in enumerate(entries(name, receptor.axis, shape)):
            port = receptor.port + k
            row = rows.index(entry) if entry in rows else routes[port][0]  # merged: both signs share it
            before = routes.get(port, (row, row))
            routes[port] = (row if receptor.sign != -1 else before[0], row if receptor.sign != 1 else before[1])
            if receptor.sign == 1:
                routes[port] = (row, row)
    return routes


def receptor_types(model: type[NESTNeuron], shape: Shape) -> list[int]:
    """The receptor types that users know: one for all synapses that have entries of their own, of which there are none yet."""
    return sorted({*routes_of(model, shape), *(r.port for r in model.receptors.values() if r.weights is not None)})


def receptor_of(model: type[NESTNeuron], port: int) -> Receptor:
    """The declaration behind a receptor type, the one of positive weights."""
    found = [r for r in model.receptors.values() if r.port <= port and (r.axis is not None or r.port == port)]
    return found[0]


def receptor_unit(model: type[NESTNeuron], port: int) -> Any:
    return receptor_of(model, port).unit


def counts_of(model: type[NESTNeuron], channel: str) -> bool:
    """Whether a channel, by its name, counts spikes."""
    return model.receptors[channel.partition("[")[0]].counts


def mergeable(model: type[NESTNeuron], values: Mapping[str, np.ndarray]) -> bool:
    """Whether both signs of weights have the same dynamics, so that one channel of their sum does."""
    if not model.same_dynamics:
        return False
    alike = all((values[a] == values[b]).all() for a, b in model.same_dynamics)
    return alike and all((values[n] == 0).all() for n in merged_away(model) if n in values)


def uniforms_of(model: type[NESTNeuron], shape: Shape) -> int:
    """Random numbers of a step."""
    law = model.law
    feature, more = law.more_with or (None, 0)
    always = law.uniforms if law.with_feature is None or law.with_feature in shape.features else 0
    return always + (more if feature in shape.features else 0)


def recordables_of(model: type[NESTNeuron], shape: Shape) -> dict[str, Any]:
    """Name -> unit of everything that can be recorded."""
    units: dict[str, Any] = {}
    for name, state in model.state_declarations.items():
        for k, entry in enumerate(entries(name, state.axis, shape)):
            units[entry if state.axis is None else f"{name}_{k + 1}"] = state.unit
    units |= {name: r.unit for name, r in model.derived_recordables.items()}
    names = model.records
    if names is None:
        return units
    axial = {n for n, s in model.state_declarations.items() if s.axis is not None}
    wanted: dict[str, Any] = {}
    for name in names:
        if name in axial:
            wanted |= {n: v for n, v in units.items() if n.rpartition("_")[0] == name and n.rpartition("_")[2].isdigit()}
        if name not in axial or name in units:
            wanted[name] = units[name]
    return wanted


def recorded_state(model: type[NESTNeuron], shape: Shape, name: str) -> tuple[str | None, str | None]:
    """The row of states that a recordable is, and the potential that it is relative to; None for a derived one."""
    for state_name, state in model.state_declarations.items():
        for k, entry in enumerate(entries(state_name, state.axis, shape)):
            if name == (entry if state.axis is None else f"{state_name}_{k + 1}"):
                return entry, state.relative_to
    return None, None


def merged_away(model: type[NESTNeuron]) -> set[str]:
    """States of the channel of negative weights: those whose names end as the second names of `same_dynamics` do."""
    return {n for n in model.state_declarations if n.endswith("_in")}
