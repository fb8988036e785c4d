"""Axes made one, and one made several."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, final

import brainunit as u

from dist_sim.core import Module
from dist_sim.errors import ParameterError


@final
class Flatten(Module):
    """Makes neighbouring axes one.

    Args:
        start_axis, end_axis: the first and the last of them. With `in_size`, axes of an input without batch.
        in_size: shape of an input; with it, axes in front of that stay, as a batch does.

    Raises: ParameterError: when called, an input that does not end with `in_size`, or without such axes.
    Source: names and defaults are those of brainstate 0.5: without `in_size` a batch is flattened, too, unless start_axis is 1.
    """

    def __init__(self, start_axis: int = 0, end_axis: int = -1, in_size: Sequence[int] | None = None) -> None:
        super().__init__()
        self.start_axis, self.end_axis = start_axis, end_axis
        self.in_size = None if in_size is None else tuple(in_size)
        self.out_size = None if self.in_size is None else self._flat(self.in_size)

    def update(self, x: Any) -> Any:
        return u.math.reshape(x, self._flat(u.math.shape(x)))

    def _flat(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        front = 0 if self.in_size is None else len(shape) - len(self.in_size)
        if front < 0 or (self.in_size is not None and shape[front:] != self.in_size):
            raise ParameterError(f"Flatten: the input has the shape {shape}; needs to end with {self.in_size}.")
        start, end = (axis + (front if axis >= 0 else len(shape)) for axis in (self.start_axis, self.end_axis))
        if not 0 <= start <= end < len(shape):
            raise ParameterError(f"Flatten({self.start_axis}, {self.end_axis}): an input of the shape {shape} has no such axes.")
        return *shape[:start], math.prod(shape[start : end + 1]), *shape[end + 1 :]


@final
class Unflatten(Module):
    """Makes one axis several.

    Args:
        axis: which one.
        sizes: what it becomes; one may be -1, for what is left.
        name: of the Module.
        in_size: shape of an input; gives `out_size`.

    Raises: ParameterError: sizes that are no whole numbers, or that the axis does not have.
    """

    def __init__(self, axis: int, sizes: Sequence[int], name: str | None = None, in_size: Sequence[int] | None = None) -> None:
        super().__init__(name)
        if not isinstance(sizes, list | tuple) or not all(isinstance(size, int) for size in sizes):
            raise ParameterError(f"Unflatten(sizes={sizes!r}): needs a tuple of whole numbers.")
        self.axis, self.sizes = axis, tuple(sizes)
        self.in_size = None if in_size is None else tuple(in_size)
        self.out_size = None if self.in_size is None else self._parted(self.in_size)

    def update(self, x: Any) -> Any:
        return u.math.reshape(x, self._parted(u.math.shape(x)))

    def _parted(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        axis = self.axis + (0 if self.axis >= 0 else len(shape))
        if not 0 <= axis < len(shape):
            raise ParameterError(f"Unflatten({self.axis}, ...): an input of the shape {shape} has no such axis.")
        left, rest = divmod(shape[axis], max(math.prod(size for size in self.sizes if size != -1), 1))
        sizes = tuple(left if size == -1 else size for size in self.sizes)
        if rest or self.sizes.count(-1) > 1 or math.prod(sizes) != shape[axis]:
            raise ParameterError(f"Unflatten: axis {self.axis} of the input {shape} does not have the sizes {self.sizes}.")
        return *shape[:axis], *sizes, *shape[axis + 1 :]
