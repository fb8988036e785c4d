"""Parameters of nodes: as `create` is given them, and as attributes say them anew until the network is built."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from dist_sim import units
from dist_sim.errors import ConnectError, ParameterError, UnknownNameError
from dist_sim.kernels import build
from dist_sim.nest.devices import Device
from dist_sim.nest.devices.settings import Number, Series, Time
from dist_sim.nest.neurons import NESTNeuron
from dist_sim.nest.neurons.shape import default_shape, settable
from dist_sim.network.distributions import Distribution
from dist_sim.simulator.nodes import Node
from dist_sim.simulator.parameters import PARAMETER_STREAMS, drawn_values, given_parameters, pieces, values_of


def neuron_draws(
    model: type[NESTNeuron], given: Mapping[str, Any], first_id: int, size: int, seed: int
) -> tuple[dict[str, build.Draw], dict[str, int]]:
    """What is given to neurons, checked, by row; and the entries of each axis of lists."""
    draws, axes = given_parameters(model.__name__, settable(model), given, size)
    axes = {**dict(default_shape(model).axes), **axes}
    _check(model, draws, axes, first_id, size, seed)
    return draws, axes


def drawn_settings(model: type[Device], given: Mapping[str, Any], size: int, name: str, seed: int) -> dict[str, Any]:
    """What is given to devices, with a number for each where a distribution was given."""
    known, found = model.known(), dict(given)
    for key, value in given.items():
        if not isinstance(value, Distribution) or key not in known:
            continue
        setting, where = known[key], f"{model.__name__}({key}={type(value).__name__})"
        unit = "ms" if isinstance(setting, Time) else setting.unit if isinstance(setting, Number) else None
        if unit is None:
            raise ParameterError(f"{where}: cannot be drawn from a distribution. Give values.")
        stream = PARAMETER_STREAMS + zlib.crc32(f"{name}.{key}".encode()) % PARAMETER_STREAMS
        found[key] = units.quantity(drawn_values(value.draw(unit, where), np.arange(size), 0, seed, stream), unit)
    return found


def checked_setting(
    node: Node, ids: np.ndarray, name: str, value: Any, *, dt: float, seed: int, connected: bool
) -> Callable[[], None]:
    """Checks a new value of a parameter of some of the nodes of a node, and returns what sets it.

    Args:
        connected: whether the node is connected.

    Raises:
        UnknownNameError, UnitError, ParameterError: it does not fit. ConnectError: it had to be said before.
    """
    if node.is_neuron:
        return _checked_neurons(node, ids, name, value, seed)
    known = node.model.known()
    if name not in known:
        raise UnknownNameError("parameter", name, known, where=node.name)
    if connected and name in node.model.fixed:
        raise ConnectError(f"{node.name}.{name}: {node.name} is connected already. Say it in `create`, or before `connect`.")
    given = dict(node.given)
    if len(ids) == node.size and (np.diff(ids) == 1).all():
        given |= drawn_settings(node.model, {name: value}, node.size, node.name, seed)
    else:
        part = drawn_settings(node.model, {name: value}, len(ids), node.name, seed)[name]
        where, index = f"{node.name}[...].{name}", ids - max(node.first_id, 0)
        setting = known[name]
        new = setting.read(part, len(ids), dt, where)
        old = setting.read(given.get(name), node.size, dt, where)
        if isinstance(setting, Series):
            for k, numbers in zip(index, new, strict=True):
                old[k] = numbers
            given[name] = [units.quantity(numbers, setting.unit) if setting.unit else numbers for numbers in old]
        elif isinstance(setting, Number | Time):
            old[index] = new
            bare = np.where(old == 2**31 - 1, np.inf, old * dt) if isinstance(setting, Time) else old
            unit = "ms" if isinstance(setting, Time) else setting.unit
            given[name] = units.quantity(bare, unit) if unit else bare
        else:
            raise ParameterError(f"{where}: is the same for all of {node.name}. Set it for all of them.")
    device = node.model(node.size, dt, given)

    def change() -> None:
        node.given, node.device = given, device

    return change


def _checked_neurons(node: Node, ids: np.ndarray, name: str, value: Any, seed: int) -> Callable[[], None]:
    model, first = node.model, node.first_id
    known = settable(model)
    if name not in known:
        raise UnknownNameError("parameter", name, known, where=node.name)
    if known[name].axis is not None:
        return _checked_list(node, ids, name, value, seed)
    draw = given_parameters(node.name, known, {name: value}, len(ids))[0][name]
    if len(ids) < node.size or (np.diff(ids) != 1).any():
        of_name = PARAMETER_STREAMS + zlib.crc32(name.encode()) % PARAMETER_STREAMS
        everyone = first + np.arange(node.size)
        values = values_of(known, node.axes, node.axes, node.draws, everyone, first, seed)[name]
        if draw.values is None:
            values[ids - first] = drawn_values(draw, ids, first, seed, of_name)
        else:
            values[ids - first] = draw.values
        draw = build.Draw(kind=build.ARRAY, values=values, shape=values.shape, low=values.min(), high=values.max())
    draws = {**node.draws, name: draw}
    _check(model, draws, node.axes, first, node.size, seed)

    def change() -> None:
        node.draws = draws

    return change


def _checked_list(node: Node, ids: np.ndarray, name: str, value: Any, seed: int) -> Callable[[], None]:
    """A list, which all neurons of a node have of one length."""
    known, first = settable(node.model), node.first_id
    axis = known[name].axis
    assert axis is not None
    if len(ids) < node.size:
        raise ParameterError(f"{node.name}[...].{name}: is a list. Set it for all of {node.name}.")
    new, axes = given_parameters(node.name, known, {name: value}, node.size)
    others = [n for n, p in known.items() if p.axis == axis and n != name]
    if axes[axis] != node.axes[axis] and others:
        raise ParameterError(
            f"{node.name}.{name}: {axes[axis]} entries, and {', '.join(others)} have {node.axes[axis]}. "
            "Give them together in create."
        )
    draws = {n: d for n, d in node.draws.items() if n.partition("[")[0] != name} | new
    counts = {**node.axes, axis: axes[axis]}
    _check(node.model, draws, counts, first, node.size, seed)

    def change() -> None:
        node.draws, node.axes = draws, counts

    return change


def _check(
    model: type[NESTNeuron], draws: Mapping[str, build.Draw], axes: Mapping[str, int], first_id: int, size: int, seed: int
) -> None:
    for ids in pieces(draws, first_id, size):
        model.check(values_of(settable(model), axes, axes, draws, ids, first_id, seed))
