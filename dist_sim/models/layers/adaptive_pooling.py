"""Pooling to a size: as many windows as asked for, of nearly equal lengths."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, final

import brainunit as u
import jax
import jax.numpy as jnp

from dist_sim.core import Module
from dist_sim.errors import ParameterError
from dist_sim.models.layers.pooling import spatial_axes
from dist_sim.models.layers.windows import per_axis


class AdaptivePooling(Module):
    """Cuts each spatial axis in windows whose lengths differ by one at most, the longer ones first: a number per window.

    Args:
        target_size: windows per spatial axis: one number, or one for each, None for an axis that stays as it is.
        channel_axis: of the input; None where there is none.
        name: of the Module.
        in_size: shape of an input without batch; gives `out_size`.

    Raises: ParameterError: sizes that do not fit; when called, an axis shorter than its target.
    Source: names, layouts and defaults are those of brainstate 0.5.
    """

    num_spatial_dims: ClassVar[int]
    largest: ClassVar[bool]

    def __init__(
        self, target_size: Any, channel_axis: int | None = -1, name: str | None = None, in_size: Sequence[int] | None = None
    ) -> None:
        super().__init__(name)
        where, axes = f"{type(self).__name__}(target_size=...)", self.num_spatial_dims
        sizes = tuple(target_size) if isinstance(target_size, Sequence) else (target_size,) * axes
        if len(sizes) != axes:
            raise ParameterError(f"{where}: got {target_size!r}; needs one number, or {axes} of them.")
        self.target_shape = tuple(None if size is None else per_axis(where, size, 1)[0] for size in sizes)
        self.channel_axis = channel_axis
        self.in_size = None if in_size is None else tuple(in_size)
        self.out_size = None
        if self.in_size is not None:
            self.out_size = jax.eval_shape(self.update, jax.ShapeDtypeStruct((1, *self.in_size), jnp.float32)).shape[1:]

    def update(self, x: Any) -> Any:
        where = type(self).__name__
        y, unit = jnp.asarray(u.get_mantissa(x)), u.get_unit(x)
        axes = spatial_axes(where, y.shape, self.num_spatial_dims, self.channel_axis)
        for axis, target in zip(axes, self.target_shape, strict=True):
            if target is not None:
                if y.shape[axis] < target:
                    raise ParameterError(f"{where}: axis {axis} of the input {y.shape} is shorter than its target, {target}.")
                y = self._pooled(y, axis, target)
        return u.maybe_decimal(u.Quantity(y, unit=unit))

    def _pooled(self, y: jax.Array, axis: int, target: int) -> jax.Array:
        length, longer = divmod(y.shape[axis], target)
        edge = longer * (length + 1)
        parts = []
        for lies, windows, size in ((slice(0, edge), longer, length + 1), (slice(edge, None), target - longer, length)):
            if windows:
                cut = y[(slice(None),) * axis + (lies,)]
                cut = cut.reshape(*y.shape[:axis], windows, size, *y.shape[axis + 1 :])
                parts.append(cut.max(axis + 1) if self.largest else cut.mean(axis + 1))
        return jnp.concatenate(parts, axis)


@final
class AdaptiveAvgPool1d(AdaptivePooling):
    """The mean of each window. See :class:`AdaptivePooling`."""

    num_spatial_dims, largest = 1, False


@final
class AdaptiveAvgPool2d(AdaptivePooling):
    """The mean of each window. See :class:`AdaptivePooling`."""

    num_spatial_dims, largest = 2, False


@final
class AdaptiveAvgPool3d(AdaptivePooling):
    """The mean of each window. See :class:`AdaptivePooling`."""

    num_spatial_dims, largest = 3, False


@final
class AdaptiveMaxPool1d(AdaptivePooling):
    """The largest number of each window. See :class:`AdaptivePooling`."""

    num_spatial_dims, largest = 1, True


@final
class AdaptiveMaxPool2d(AdaptivePooling):
    """The largest number of each window. See :class:`AdaptivePooling`."""

    num_spatial_dims, largest = 2, True


@final
class AdaptiveMaxPool3d(AdaptivePooling):
    """The largest number of each window. See :class:`AdaptivePooling`."""

    num_spatial_dims, largest = 3, True
