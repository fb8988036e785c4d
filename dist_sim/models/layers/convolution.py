"""Convolutions over one, two or three spatial axes."""

from __future__ import annotations

from typing import Any, ClassVar, final

import brainunit as u
import jax
import jax.numpy as jnp
from jax import lax

from dist_sim.core import Module, ParamState, State
from dist_sim.errors import ParameterError
from dist_sim.models.communication.weights import Given, added_bias, bias_of, values_of
from dist_sim.models.init import XavierNormal
from dist_sim.models.layers.windows import check_input, padding_of, per_axis

Sizes = int | tuple[int, ...]


class Convolution(Module):
    """A kernel moved over the spatial axes; each output channel sees all input channels of its group.

    The weights lie whole on every device.

    Args:
        in_size: (spatial axes ..., channels), or (channels, spatial axes ...) with `channel_first`; without a batch.
        out_channels: number of them.
        kernel_size, stride: one number, or one per spatial axis.
        padding: "SAME", "VALID", a number, or a number or a pair (before, after) per spatial axis.
        lhs_dilation, rhs_dilation: zeros put between the numbers of the input and of the kernel: dilation - 1.
        groups: of channels, each convolved by itself; divides both numbers of channels.
        w_init: kernel (spatial axes ..., in_channels / groups, out_channels): an initialiser, an array, or a State with one.
        b_init: bias, likewise, one per output channel; None for none. Zeros without unit take that of the kernel.
        w_mask: what the kernel is multiplied by; an array or initialiser.
        channel_first: channels stand in front of the spatial axes.
        name: of the Module.
        param_type: the State that holds kernel and bias.

    States: weight, a dict of "weight" and "bias".
    Raises: ParameterError: sizes that do not fit; when called, an input that is neither of `in_size` nor a batch of it.
    Source: names, layouts and defaults are those of brainstate 0.5.
    """

    num_spatial_dims: ClassVar[int]

    def __init__(
        self,
        in_size: tuple[int, ...],
        out_channels: int,
        kernel_size: Sizes,
        stride: Sizes = 1,
        padding: Any = "SAME",
        lhs_dilation: Sizes = 1,
        rhs_dilation: Sizes = 1,
        groups: int = 1,
        w_init: Given = XavierNormal(),
        b_init: Given | None = None,
        w_mask: Given | None = None,
        channel_first: bool = False,
        name: str | None = None,
        param_type: type[State] = ParamState,
    ) -> None:
        super().__init__(name)
        where, axes = type(self).__name__, self.num_spatial_dims
        self.in_size = per_axis(f"{where}(in_size=...)", tuple(in_size), axes + 1)
        self.in_channels = self.in_size[0 if channel_first else -1]
        (self.out_channels,) = per_axis(f"{where}(out_channels=...)", out_channels, 1)
        self.kernel_size = per_axis(f"{where}(kernel_size=...)", kernel_size, axes)
        self.stride = per_axis(f"{where}(stride=...)", stride, axes)
        self.padding = padding_of(f"{where}(padding=...)", padding, axes)
        self.lhs_dilation = per_axis(f"{where}(lhs_dilation=...)", lhs_dilation, axes)
        self.rhs_dilation = per_axis(f"{where}(rhs_dilation=...)", rhs_dilation, axes)
        (self.groups,) = per_axis(f"{where}(groups=...)", groups, 1)
        if self.in_channels % self.groups or self.out_channels % self.groups:
            raise ParameterError(
                f"{where}(groups={groups}): must divide the {self.in_channels} input and {self.out_channels} output channels."
            )
        self.channel_first = channel_first
        shape = *self.kernel_size, self.in_channels // self.groups, self.out_channels
        self.kernel_shape = shape
        params = {"weight": values_of(f"{where}(w_init=...)", w_init, shape)}
        if b_init is not None:
            each = (1, self.out_channels, *(1,) * axes) if channel_first else (*(1,) * axes, self.out_channels)
            params["bias"] = bias_of(f"{where}(b_init=...)", b_init, each, params["weight"])
        self.w_mask = None if w_mask is None else State(values_of(f"{where}(w_mask=...)", w_mask, shape))
        self.weight = param_type(params, axes=())
        spatial = "DHW"[3 - axes :]
        image = f"NC{spatial}" if channel_first else f"N{spatial}C"
        self._layout = image, f"{spatial}IO", image
        kernel = jax.ShapeDtypeStruct(shape, jnp.float32)
        self.out_size = jax.eval_shape(self._convolved, jax.ShapeDtypeStruct((1, *self.in_size), jnp.float32), kernel).shape[1:]

    def update(self, x: Any) -> Any:
        """Of x, as `in_size` or a batch of it, spikes or numbers, which may have a unit: as `out_size`, or a batch of it."""
        check_input(type(self).__name__, u.math.shape(x), self.in_size)
        params = self.weight.value
        kernel = params["weight"] if self.w_mask is None else params["weight"] * self.w_mask.value
        bare, weights = u.get_mantissa(x), u.get_mantissa(kernel)
        bare = jnp.asarray(bare, jnp.result_type(bare, weights))
        alone = bare.ndim == len(self.in_size)
        y = self._convolved(bare[None] if alone else bare, weights)
        y = u.maybe_decimal(u.Quantity(y, unit=u.get_unit(x) * u.get_unit(kernel)))
        y = added_bias(type(self).__name__, y, params)
        return y[0] if alone else y

    def _convolved(self, x: Any, kernel: Any) -> jax.Array:
        return lax.conv_general_dilated(
            x, kernel, self.stride, self.padding, self.lhs_dilation, self.rhs_dilation, self._layout, self.groups
        )  # fmt: skip


@final
class Conv1d(Convolution):
    """A convolution of (L, C), or (C, L). For arguments, States and errors see :class:`Convolution`."""

    num_spatial_dims = 1


@final
class Conv2d(Convolution):
    """A convolution of (H, W, C), or (C, H, W). For arguments, States and errors see :class:`Convolution`."""

    num_spatial_dims = 2


@final
class Conv3d(Convolution):
    """A convolution of (D, H, W, C), or (C, D, H, W). For arguments, States and errors see :class:`Convolution`."""

    num_spatial_dims = 3
