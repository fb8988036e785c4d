"""Zeros put at random into what a layer gives, while it is trained."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, final

import brainunit as u
import jax.numpy as jnp

from dist_sim.core import ShortTermState, environ, random
from dist_sim.errors import ParameterError
from dist_sim.models.dynamics import shape_of
from dist_sim.models.layers.activations import ElementWiseBlock

FITTING = "whether this is training: True or False"


@final
class Dropout(ElementWiseBlock):
    """Keeps each number with a probability, divided by it, and sets the others to 0; only where `environ.get("fit")` is true.

    Args:
        prob: of being kept.
        broadcast_dims: axes along which all share one fate.
        name: of the Module.

    Raises: ParameterError: no probability. KeyError: when called, `fit` is not set in the environment.
    Source: Srivastava et al. (2014), JMLR 15:1929-1958; names and defaults are those of brainstate 0.5.
    """

    def __init__(self, prob: float = 0.5, broadcast_dims: Sequence[int] = (), name: str | None = None) -> None:
        super().__init__(name)
        self.prob = probability("Dropout", prob)
        self.broadcast_dims = tuple(broadcast_dims)

    def update(self, x: Any) -> Any:
        if not environ.get("fit", desc=FITTING) or self.prob == 1.0:
            return x
        shape = list(u.math.shape(x))
        for axis in self.broadcast_dims:
            shape[axis] = 1
        return thinned(x, random.bernoulli(self.prob, tuple(shape)), self.prob)


class ChannelDropout(ElementWiseBlock):
    """As :class:`Dropout`, with one fate for all of a channel of a sample.

    Args:
        prob: of being kept.
        channel_axis: of an input without batch.
        name: of the Module.

    Raises: ParameterError: no probability; when called, another number of axes. KeyError: `fit` is not set in the environment.
    """

    num_spatial_dims: ClassVar[int]

    def __init__(self, prob: float = 0.5, channel_axis: int = -1, name: str | None = None) -> None:
        super().__init__(name)
        self.prob = probability(type(self).__name__, prob)
        self.channel_axis = channel_axis

    def update(self, x: Any) -> Any:
        shape = u.math.shape(x)
        batches = len(shape) - self.num_spatial_dims - 1
        if batches not in (0, 1):
            raise ParameterError(
                f"{type(self).__name__}: the input has the shape {shape}; needs {self.num_spatial_dims} spatial axes and "
                "channels, with or without a batch in front."
            )
        if not environ.get("fit", desc=FITTING) or self.prob == 1.0:
            return x
        channels = self.channel_axis + (batches if self.channel_axis >= 0 else len(shape))
        each = tuple(size if axis == channels or axis < batches else 1 for axis, size in enumerate(shape))
        return thinned(x, random.bernoulli(self.prob, each), self.prob)


@final
class Dropout1d(ChannelDropout):
    """For (L, C), or a batch of it. See :class:`ChannelDropout`."""

    num_spatial_dims = 1


@final
class Dropout2d(ChannelDropout):
    """For (H, W, C), or a batch of it. See :class:`ChannelDropout`."""

    num_spatial_dims = 2


@final
class Dropout3d(ChannelDropout):
    """For (D, H, W, C), or a batch of it. See :class:`ChannelDropout`."""

    num_spatial_dims = 3


@final
class DropoutFixed(ElementWiseBlock):
    """As :class:`Dropout`, with a mask that is drawn by `init_state` and stays: one for all steps of a spiking network.

    Args:
        in_size: shape of an input without batch.
        prob: of being kept.
        name: of the Module.

    States: mask, of `in_size`, or a batch of it.
    Raises: ParameterError: no probability; when called, an input of another shape. KeyError: `fit` is not set in the environment.
    """

    def __init__(self, in_size: int | tuple[int, ...], prob: float = 0.5, name: str | None = None) -> None:
        super().__init__(name)
        self.prob = probability("DropoutFixed", prob)
        self.in_size = self.out_size = shape_of(in_size, f"DropoutFixed(in_size={in_size!r})")

    def init_state(self, batch_size: int | None = None) -> None:
        batch = () if batch_size is None else (batch_size,)
        self.mask = ShortTermState(random.bernoulli(self.prob, (*batch, *self.in_size)))

    def update(self, x: Any) -> Any:
        if not environ.get("fit", desc=FITTING) or self.prob == 1.0:
            return x
        if self.mask.value.shape != u.math.shape(x):
            raise ParameterError(
                f"DropoutFixed: the input has the shape {u.math.shape(x)}, the mask {self.mask.value.shape}. Draw one that fits, "
                "with ds.nn.init_all_states(net, batch_size)."
            )
        return thinned(x, self.mask.value, self.prob)


def probability(where: str, prob: Any) -> float:
    """Raises:
    ParameterError: it is none.
    """
    if not 0.0 <= prob <= 1.0:
        raise ParameterError(f"{where}(prob={prob}): needs a number from 0 to 1, the probability of being kept.")
    return float(prob)


def thinned(x: Any, kept: Any, prob: float) -> Any:
    """`x` over the probability of being kept, and 0 where it is not kept."""
    bare = jnp.asarray(u.get_mantissa(x))
    # With nothing kept, there is nothing to divide.
    scaled = u.Quantity((bare / (prob or 1.0)).astype(bare.dtype), unit=u.get_unit(x))
    return u.maybe_decimal(u.math.where(kept, scaled, u.math.zeros_like(scaled)))
