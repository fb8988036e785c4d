"""Parameters of models: their units, defaults and bounds, and the check of what a user gives."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from dist_sim.errors import ParameterError, UnknownNameError
from dist_sim.kernels import build, exact
from dist_sim.kernels.philox import philox4x32, split_key
from dist_sim.nest.parameter import Parameter
from dist_sim.network.distributions import Distribution, as_draw

PARAMETER_STREAMS = 1 << 30
_PIECE = 1 << 16  # neurons whose parameters are checked together


def given_parameters(model: str, known: Mapping[str, Parameter], given: Mapping[str, Any], size: int) -> dict[str, build.Draw]:
    """What a user gives, checked and in bare numbers.

    Raises:
        UnknownNameError: not a parameter of the model.
        UnitError, ParameterError: wrong unit, size or bound.
    """
    draws = {}
    for name, value in given.items():
        if name not in known:
            raise UnknownNameError("parameter", name, known, where=model)
        where = f"{model}({name}={_short(value)})"
        draw = as_draw(value, known[name].unit, where)
        if draw.values is not None and len(draw.values) != size:
            raise ParameterError(
                f"{model}({name}=...): {len(draw.values)} values for {size} neurons. Give one number, or one per neuron."
            )
        _check_bounds(known[name], draw, where)
        draws[name] = draw
    return draws


def values_of(
    known: Mapping[str, Parameter], draws: Mapping[str, build.Draw], ids: np.ndarray, first_id: int, seed: int
) -> dict[str, np.ndarray]:
    """The parameters `known` of some neurons of a population that begins at `first_id`, (n,) float64; distributions are drawn by
    global id, so that placement changes nothing."""
    values: dict[str, np.ndarray] = {}
    for name, parameter in known.items():
        if name in draws:
            # Keyed by the name: another parameter of the model does not change what this one draws.
            values[name] = drawn_values(
                draws[name], ids, first_id, seed, PARAMETER_STREAMS + zlib.crc32(name.encode()) % PARAMETER_STREAMS
            )
        elif isinstance(parameter.default, str):
            values[name] = values[parameter.default].copy()
        else:
            values[name] = np.full(len(ids), float(parameter.default))
    return values


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
    least = 0.0 if parameter.positive else parameter.at_least
    if least is None:
        return
    lowest = draw.a if draw.kind == build.CONSTANT else draw.values.min(initial=np.inf) if draw.values is not None else draw.low
    if lowest < least or (parameter.positive and lowest <= 0 and draw.kind in (build.CONSTANT, build.ARRAY)):
        kind = "above 0" if parameter.positive else f"at least {least:g}"
        hint = " Give the distribution a min." if np.isinf(lowest) else ""
        raise ParameterError(f"{where}: must be {kind} {parameter.unit}.{hint}")


def _short(value: Any) -> str:
    text = type(value).__name__ if isinstance(value, Distribution) else str(value)
    return text if len(text) <= 40 else text[:37] + "..."
