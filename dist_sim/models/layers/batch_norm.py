"""Normalisation by mean and variance of a batch, of which running means are kept for later."""

from __future__ import annotations

from typing import Any, ClassVar, final

import jax
import jax.numpy as jnp

from dist_sim.core import BatchState, Module, ParamState, State, environ
from dist_sim.errors import ParameterError
from dist_sim.models.communication.weights import Given
from dist_sim.models.dynamics import shape_of
from dist_sim.models.init import Constant
from dist_sim.models.layers.dropout import FITTING
from dist_sim.models.layers.normalized import Axes, axes_of, bare_input, normalized, parameters, statistics
from dist_sim.models.layers.windows import check_input


class BatchNorm(Module):
    """Each feature less its mean, over its standard deviation, in the batch and over space.

    Where `environ.get("fit")` is true, mean and variance are those of the input, and the running ones follow them; else the
    running ones are used. Without running ones they are always those of the input. Statistics and parameters lie whole on every
    device.

    Args:
        in_size: shape of an input without batch.
        feature_axis: of `in_size`: one, or several.
        track_running_stats: keep running ones.
        epsilon: added to the variance.
        momentum: what part of the running statistics stays at each call.
        affine: times a scale, plus a bias, per feature.
        bias_initializer, scale_initializer: what they start with.
        axis_name, axis_index_groups: of a vmap, over which is averaged, too.
        use_fast_variance: the mean of the squares less the square of the mean.
        name: of the Module.
        dtype: of the result; floats of the present precision where left out.
        param_type, mean_type: the States that hold parameters and running statistics.

    States: weight, a dict of "bias" and "scale"; running_mean, running_var.
    Raises: ParameterError: sizes that do not fit; when called, an input that is neither of `in_size` nor a batch of it.
        UnitError: an input with a unit. KeyError: `fit` is not set in the environment.
    Source: Ioffe & Szegedy (2015), arXiv:1502.03167; names, layouts and defaults are those of brainstate. 0.5 leaves an input as
        it is where there are no running statistics.
    """

    num_spatial_dims: ClassVar[int]

    def __init__(
        self,
        in_size: int | tuple[int, ...],
        feature_axis: Axes = -1,
        *,
        track_running_stats: bool = True,
        epsilon: float = 1e-5,
        momentum: float = 0.99,
        affine: bool = True,
        bias_initializer: Given = Constant(0.0),
        scale_initializer: Given = Constant(1.0),
        axis_name: Any = None,
        axis_index_groups: Any = None,
        use_fast_variance: bool = True,
        name: str | None = None,
        dtype: Any = None,
        param_type: type[State] = ParamState,
        mean_type: type[State] = BatchState,
    ) -> None:
        super().__init__(name)
        where = type(self).__name__
        self.in_size = self.out_size = shape_of(in_size, f"{where}(in_size={in_size!r})")
        if len(self.in_size) != self.num_spatial_dims + 1:
            raise ParameterError(f"{where}(in_size={self.in_size}): needs {self.num_spatial_dims} spatial axes and the features.")
        self.feature_axes = axes_of(f"{where}(feature_axis=...)", feature_axis, len(self.in_size))
        self.epsilon, self.momentum, self.use_fast_variance = epsilon, momentum, use_fast_variance
        self.axis_name, self.axis_index_groups = axis_name, axis_index_groups
        self.dtype = environ.dftype() if dtype is None else dtype
        self.track_running_stats, self.affine = track_running_stats, affine
        shape = tuple(size if axis in self.feature_axes else 1 for axis, size in enumerate(self.in_size))
        self.running_mean = mean_type(jnp.zeros(shape, self.dtype), axes=()) if track_running_stats else None
        self.running_var = mean_type(jnp.ones(shape, self.dtype), axes=()) if track_running_stats else None
        given = dict(bias=bias_initializer, scale=scale_initializer) if affine else {}
        self.weight = parameters(where, shape, param_type, **given)

    def update(self, x: Any, mask: Any = None) -> jax.Array:
        """Of x, as `in_size` or a batch of it: the same shape.

        Args:
            mask: what counts in the statistics, True or False, of a shape that broadcasts to that of x.
        """
        where = type(self).__name__
        x = bare_input(where, x)
        check_input(where, x.shape, self.in_size)
        mean_state, var_state = self.running_mean, self.running_var
        if mean_state is not None and var_state is not None and not environ.get("fit", desc=FITTING):
            return normalized(x, mean_state.value, var_state.value, self.epsilon, self.weight, self.dtype)
        batches = x.ndim - len(self.in_size)
        axes = tuple(axis for axis in range(x.ndim) if axis - batches not in self.feature_axes)
        mean, var = statistics(
            x, axes, dtype=self.dtype, axis_name=self.axis_name, axis_index_groups=self.axis_index_groups,
            use_fast_variance=self.use_fast_variance, mask=mask,
        )  # fmt: skip
        for state, new in ((mean_state, mean), (var_state, var)):
            if state is not None:
                new = new.reshape(state.value.shape).astype(state.value.dtype)
                state.value = self.momentum * state.value + (1.0 - self.momentum) * new
        return normalized(x, mean, var, self.epsilon, self.weight, self.dtype)


@final
class BatchNorm0d(BatchNorm):
    """For (C,), or a batch of it. See :class:`BatchNorm`."""

    num_spatial_dims = 0


@final
class BatchNorm1d(BatchNorm):
    """For (L, C), or a batch of it. See :class:`BatchNorm`."""

    num_spatial_dims = 1


@final
class BatchNorm2d(BatchNorm):
    """For (H, W, C), or a batch of it. See :class:`BatchNorm`."""

    num_spatial_dims = 2


@final
class BatchNorm3d(BatchNorm):
    """For (D, H, W, C), or a batch of it. See :class:`BatchNorm`."""

    num_spatial_dims = 3
