"""Parameters of models: their units, defaults and bounds, and the check of what a user gives."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from dist_sim import units
from dist_sim.errors import ParameterError, UnknownNameError
from dist_sim.kernels import build, exact
from dist_sim.kernels.philox import philox4x32, split_key
from dist_sim.nest.declared import Parameter
from dist_sim.network.distributions import Distribution, as_draw, bounds

PARAMETER_STREAMS = 1 << 30
_PIECE = 1 << 16  # neurons whose parameters are checked together


def given_parameters(
    model: str, known: Mapping[str, Parameter], given: Mapping[str, Any], size: int
) -> tuple[dict[str, build.Draw], dict[str, int]]:
    """What a user gives, checked and in bare numbers, by row; and the number of entries of each axis of lists.

    Raises:
        UnknownNameError: not a parameter of the model.
        UnitError, ParameterError: wrong unit, size or bound.
    """
    draws: dict[str, build.Draw] = {}
    axes: dict[str, tuple[str, int]] = {}
    for name, value in given.items():
        if name not in known:
            raise UnknownNameError("parameter", name, known, where=model)
        parameter, where = known[name], f"{model}({name}={_short(value)})"
        if isinstance(value, bool | np.bool_):
            value = int(value)
        if parameter.axis is not None:
            columns = _columns(value, parameter, size, where)
            before = axes.setdefault(parameter.axis, (name, len(columns)))
            if before[1] != len(columns):
                raise ParameterError(
                    f"{where}: has {len(columns)} entries, and {before[0]} has {before[1]}: they belong together."
                )
            for k, draw in enumerate(columns):
                _check_bounds(parameter, draw, where)
                draws[f"{name}[{k}]"] = draw
            continue
        draw = as_draw(value, parameter.unit, where)
        if draw.values is not None and len(draw.values) != size:
            raise ParameterError(
                f"{model}({name}=...): {len(draw.values)} values for {size} neurons. Give one number, or one per neuron."
            )
        _check_bounds(parameter, draw, where)
        draws[name] = draw
    for name, parameter in known.items():
        if isinstance(parameter.default, tuple):
            assert parameter.axis is not None
            count = axes.setdefault(parameter.axis, (name, len(parameter.default)))
            if name not in given and count[1] != len(parameter.default) and len(parameter.default) > 1:
                raise ParameterError(
                    f"{model}({count[0]}=...): has {count[1]} entries; give {name} as many, too: they belong together."
                )
    return draws, {axis: count for axis, (_, count) in axes.items()}


def _columns(value: Any, parameter: Parameter, size: int, where: str) -> list[build.Draw]:
    """A list for all neurons (entries,), or a row for each (size, entries), as a draw for each entry."""
    bare = units.magnitude(value, parameter.unit, where)
    if bare.ndim == 0:
        bare = bare[None]
    if bare.ndim > 2 or (bare.ndim == 2 and len(bare) != size):
        raise ParameterError(f"{where}: a list of numbers for all neurons is needed, or a row of them for each of {size}.")
    if not np.isfinite(bare).all():
        raise ParameterError(f"{where}: is infinite. Give finite numbers in {parameter.unit}.")
    if bare.ndim == 1:
        return [build.Draw(kind=build.CONSTANT, a=float(x), low=float(x), high=float(x)) for x in bare]
    columns = (np.ascontiguousarray(column) for column in bare.T)
    return [build.Draw(kind=build.ARRAY, values=c, shape=c.shape, low=c.min(initial=0), high=c.max(initial=0)) for c in columns]


def values_of(
    known: Mapping[str, Parameter], counts: Mapping[str, int], own: Mapping[str, int], draws: Mapping[str, build.Draw],
    ids: np.ndarray, first_id: int, seed: int,
) -> dict[str, np.ndarray]:  # fmt: skip
    """The parameters `known` of some neurons of a population that begins at `first_id`, (n,) float64 by row; distributions are
    drawn by global id, so that placement changes nothing.

    Args:
        counts: entries of each axis of lists in the network; own: in this population.
    """
    values: dict[str, np.ndarray] = {}
    for name, parameter in known.items():
        if parameter.axis is None:
            assert not isinstance(parameter.default, tuple)
            values[name] = _value(name, parameter.default, draws, ids, first_id, seed)
            continue
        defaults = parameter.default
        assert isinstance(defaults, tuple)
        for k in range(counts[parameter.axis]):
            entry, last = f"{name}[{k}]", max(own[parameter.axis] - 1, 0)
            if k < own[parameter.axis]:
                default = defaults[min(k, len(defaults) - 1)] if defaults else parameter.fill
                values[entry] = _value(entry, default, draws, ids, first_id, seed)
            elif parameter.axis == "receptor":  # a port that this population does not have: nothing arrives there
                values[entry] = values[f"{name}[{last}]"]
            else:
                values[entry] = np.full(len(ids), parameter.fill)
    return values


def _value(name: str, default: float, draws: Mapping[str, build.Draw], ids: np.ndarray, first_id: int, seed: int) -> np.ndarray:
    if name not in draws:
        return np.full(len(ids), float(default))
    # Keyed by the name: another parameter of the model does not change what this one draws.
    return drawn_values(draws[name], ids, first_id, seed, PARAMETER_STREAMS + zlib.crc32(name.encode()) % PARAMETER_STREAMS)


def pieces(draws: Mapping[str, build.Draw], first_id: int, size: int) -> Iterator[np.ndarray]:
    """The ids of a population, some at a time; where all its neurons are alike, of one of them."""
    alike = all(draw.kind == build.CONSTANT for draw in draws.values())
    for start in range(0, 1 if alike else size, _PIECE):
        yield first_id + np.arange(start, 1 if alike else min(size, start + _PIECE))


def drawn_values(draw: build.Draw, ids: np.ndarray, first_id: int, seed: int, stream: int) -> np.ndarray:
    """(n,) values for some ids of a population that begins at `first_id`."""
    if draw.kind == build.CONSTANT:
        return np.full(len(ids), draw.a)
    if draw.kind == build.ARRAY:
        assert draw.values is not None
        return draw.values[ids - first_id]
    values, again, attempt = np.empty(len(ids)), np.arange(len(ids)), 0
    while len(again):
        word = philox4x32(*split_key(seed), ids[again].astype(np.uint32), np.uint32(0), np.uint32(attempt), np.uint32(stream))[0]
        if draw.kind == build.UNIFORM_REAL:
            x = draw.a + (draw.b - draw.a) * exact.unit_interval(word)
        else:
            x = draw.a + draw.b * exact.normal_quantile(word)
            x = exact.exp(x) if draw.kind == build.LOGNORMAL else x
        values[again] = x
        again, attempt = again[~((x >= draw.low) & (x <= draw.high))], attempt + 1
    return values


def _check_bounds(parameter: Parameter, draw: build.Draw, where: str) -> None:
    lowest, highest = bounds(draw)
    if draw.kind not in (build.CONSTANT, build.ARRAY):
        if parameter.is_whole and not parameter.steps:
            raise ParameterError(f"{where}: needs whole numbers, which no distribution gives.")
        lowest, highest = np.nextafter(lowest, np.inf), np.nextafter(highest, -np.inf)  # the ends themselves are not drawn
    hint = " Give the distribution a min or a max." if draw.kind in (build.NORMAL, build.LOGNORMAL) else ""
    parameter.check(lowest, highest, where, hint)


def _short(value: Any) -> str:
    text = type(value).__name__ if isinstance(value, Distribution) else str(value)
    return text if len(text) <= 40 else text[:37] + "..."
