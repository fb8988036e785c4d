"""What convolutions and pooling have in common: a number per spatial axis, and padding, given in several ways."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

from dist_sim.errors import ParameterError

Pads = str | list[tuple[int, int]]


def per_axis(where: str, given: Any, axes: int, at_least: int = 1) -> tuple[int, ...]:
    """A whole number for each spatial axis, from one for all, a sequence of one, or a sequence.

    Raises:
        ParameterError: anything else.
    """
    try:
        found = tuple(map(operator.index, given)) if isinstance(given, Sequence) else (operator.index(given),)
    except TypeError:
        found = ()
    found = found * axes if len(found) == 1 else found
    if len(found) != axes or min(found) < at_least:
        raise ParameterError(f"{where}: got {given!r}; needs a whole number of at least {at_least}, or {axes} of them.")
    return found


def padding_of(where: str, given: Any, axes: int) -> Pads:
    """Padding as JAX takes it: "SAME", "VALID" or (before, after) for each spatial axis.

    Raises:
        ParameterError: anything else.
    """
    if isinstance(given, str) and given in ("SAME", "VALID"):
        return given
    pads: list[Any] = list(given) if isinstance(given, list | tuple) else [given]
    try:
        pairs = [tuple(map(operator.index, pad if isinstance(pad, list | tuple) else (pad,))) for pad in pads]
    except TypeError:
        pairs = []
    # Of one axis, two numbers are before and after.
    if axes == 1 and len(pairs) == 2 and all(len(pad) == 1 for pad in pairs):
        pairs = [(*pairs[0], *pairs[1])]
    pairs = pairs * axes if len(pairs) == 1 else pairs
    if len(pairs) != axes or any(len(pad) not in (1, 2) for pad in pairs):
        raise ParameterError(
            f"{where}: got {given!r}; needs 'SAME', 'VALID', a whole number, or for each of the {axes} spatial axes a number or "
            "a pair (before, after)."
        )
    return [(pad[0], pad[-1]) for pad in pairs]


def check_input(where: str, shape: tuple[int, ...], in_size: tuple[int, ...]) -> None:
    """Raises:
    ParameterError: an input that has neither this shape nor a batch of it.
    """
    if shape[-len(in_size) :] != in_size or len(shape) > len(in_size) + 1:
        raise ParameterError(f"{where}: the input has the shape {shape}; needs {in_size}, or a batch of it in front.")
