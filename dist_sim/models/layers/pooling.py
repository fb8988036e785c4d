"""The largest number, or the mean, of windows over one, two or three spatial axes."""

from __future__ import annotations

from typing import Any, ClassVar, final

import brainunit as u
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from dist_sim.core import Module
from dist_sim.errors import ParameterError
from dist_sim.models.layers.windows import padding_of, per_axis

Sizes = int | tuple[int, ...]


class Pooling(Module):
    """A number per window. The windows lie over the last axes but the channels; axes in front of them are batches.

    Args:
        kernel_size: of a window: one number, or one per spatial axis.
        stride: from window to window, likewise; None for the size of a window.
        padding: "SAME", "VALID", a number, or a number or a pair (before, after) per spatial axis.
        channel_axis: of the input; None where there is none.
        name: of the Module.
        in_size: shape of an input without batch; gives `out_size`.

    Raises: ParameterError: sizes that do not fit; when called, an input with too few axes.
    Source: names, layouts and defaults are those of brainstate 0.5.
    """

    num_spatial_dims: ClassVar[int]

    def __init__(
        self, kernel_size: Sizes, stride: Sizes | None, padding: Any, channel_axis: int | None, name: str | None, in_size: Any
    ) -> None:
        super().__init__(name)
        where, axes = type(self).__name__, self.num_spatial_dims
        self.kernel_size = per_axis(f"{where}(kernel_size=...)", kernel_size, axes)
        self.stride = self.kernel_size if stride is None else per_axis(f"{where}(stride=...)", stride, axes)
        self.padding = padding_of(f"{where}(padding=...)", padding, axes)
        self.channel_axis = channel_axis
        self.in_size = None if in_size is None else tuple(in_size)
        self.out_size = None
        if self.in_size is not None:
            found = jax.eval_shape(self.update, jax.ShapeDtypeStruct((1, *self.in_size), jnp.float32))
            self.out_size = jax.tree.leaves(found)[0].shape[1:]

    def _window(self, shape: tuple[int, ...]) -> dict[str, Any]:
        """What `lax.reduce_window` takes, for an input of this shape."""
        axes = spatial_axes(type(self).__name__, shape, self.num_spatial_dims, self.channel_axis)
        window, stride, padding = [1] * len(shape), [1] * len(shape), [(0, 0)] * len(shape)
        for n, axis in enumerate(axes):
            window[axis], stride[axis] = self.kernel_size[n], self.stride[n]
            if not isinstance(self.padding, str):
                padding[axis] = self.padding[n]
        if isinstance(self.padding, str):
            padding = lax.padtype_to_pads(shape, window, stride, self.padding)
        return dict(window_dimensions=tuple(window), window_strides=tuple(stride), padding=tuple(padding))


class MaxPool(Pooling):
    """The largest number of each window, where it is padded, of those inside; with `return_indices` also where it stands.

    Args:
        return_indices: gives a pair: the numbers, and for each its index (int32) in the flattened input; of equal ones the first.
        kernel_size, stride, padding, channel_axis, name, in_size: see :class:`Pooling`, as its errors.
    """

    def __init__(
        self,
        kernel_size: Sizes,
        stride: Sizes | None = None,
        padding: Any = "VALID",
        channel_axis: int | None = -1,
        return_indices: bool = False,
        name: str | None = None,
        in_size: Any = None,
    ) -> None:
        self.return_indices = return_indices
        super().__init__(kernel_size, stride, padding, channel_axis, name, in_size)

    def update(self, x: Any) -> Any:
        bare, unit = jnp.asarray(u.get_mantissa(x)), u.get_unit(x)
        window = self._window(bare.shape)
        if jnp.issubdtype(bare.dtype, jnp.bool_):
            lowest: Any = False
        else:
            lowest = -jnp.inf if jnp.issubdtype(bare.dtype, jnp.floating) else jnp.iinfo(bare.dtype).min
        if not self.return_indices:
            largest = lax.reduce_window(bare, np.asarray(lowest, bare.dtype), lax.max, **window)
            return u.maybe_decimal(u.Quantity(largest, unit=unit))
        indices = jnp.arange(bare.size, dtype=jnp.int32).reshape(bare.shape)
        first = jnp.asarray(lowest, bare.dtype), jnp.asarray(bare.size, jnp.int32)
        largest, where = lax.reduce_window((bare, indices), first, _larger, **window)
        return u.maybe_decimal(u.Quantity(largest, unit=unit)), jnp.where(where == bare.size, 0, where)


class AvgPool(Pooling):
    """The mean of each window, where it is padded, of what is inside. The step from window to window is 1 where none is given.

    Args:
        kernel_size, stride, padding, channel_axis, name, in_size: see :class:`Pooling`, as its errors.
    """

    def __init__(
        self,
        kernel_size: Sizes,
        stride: Sizes | None = 1,
        padding: Any = "VALID",
        channel_axis: int | None = -1,
        name: str | None = None,
        in_size: Any = None,
    ) -> None:
        super().__init__(kernel_size, stride, padding, channel_axis, name, in_size)

    def update(self, x: Any) -> Any:
        bare = jnp.asarray(u.get_mantissa(x))
        bare = bare if jnp.issubdtype(bare.dtype, jnp.floating) else bare.astype(float)
        window = self._window(bare.shape)
        zero = np.zeros((), bare.dtype)
        total = lax.reduce_window(bare, zero, lax.add, **window)
        inside = lax.reduce_window(np.ones(bare.shape, bare.dtype), zero, lax.add, **window)
        return u.maybe_decimal(u.Quantity(total / jnp.maximum(inside, 1), unit=u.get_unit(x)))


def spatial_axes(where: str, shape: tuple[int, ...], number: int, channel_axis: int | None) -> list[int]:
    """The last so many axes of a shape, but that of the channels.

    Raises:
        ParameterError: there are not so many.
    """
    fits = channel_axis is None or -len(shape) <= channel_axis < len(shape)
    axes = [axis for axis in range(len(shape)) if channel_axis is None or axis != channel_axis % max(len(shape), 1)]
    if not fits or len(axes) < number:
        raise ParameterError(
            f"{where}: the input has the shape {shape}; needs {number} spatial axes"
            + ("." if channel_axis is None else f", and the channels on axis {channel_axis}.")
        )
    return axes[-number:]


def _larger(a: tuple[Any, Any], b: tuple[Any, Any]) -> tuple[Any, Any]:
    takes_b = (b[0] > a[0]) | ((b[0] == a[0]) & (b[1] < a[1]))
    return jnp.where(takes_b, b[0], a[0]), jnp.where(takes_b, b[1], a[1])


@final
class MaxPool1d(MaxPool):
    """See :class:`MaxPool`; windows over one axis."""

    num_spatial_dims = 1


@final
class MaxPool2d(MaxPool):
    """See :class:`MaxPool`; windows over two axes."""

    num_spatial_dims = 2


@final
class MaxPool3d(MaxPool):
    """See :class:`MaxPool`; windows over three axes."""

    num_spatial_dims = 3


@final
class AvgPool1d(AvgPool):
    """See :class:`AvgPool`; windows over one axis."""

    num_spatial_dims = 1


@final
class AvgPool2d(AvgPool):
    """See :class:`AvgPool`; windows over two axes."""

    num_spatial_dims = 2


@final
class AvgPool3d(AvgPool):
    """See :class:`AvgPool`; windows over three axes."""

    num_spatial_dims = 3
