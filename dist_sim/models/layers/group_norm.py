"""Normalisation of groups of features of each sample by itself."""

from __future__ import annotations

from typing import Any, final

import jax

from dist_sim.core import Module, ParamState, State, environ
from dist_sim.errors import ParameterError
from dist_sim.models.communication.weights import Given
from dist_sim.models.dynamics import shape_of
from dist_sim.models.init import Constant, ZeroInit
from dist_sim.models.layers.normalized import Axes, axes_of, bare_input, normalized, parameters, statistics


@final
class GroupNorm(Module):
    """Numbers less the mean, over the standard deviation, of their group: neighbouring features, at all places of a sample.

    Args:
        in_size: shape of an input without batch, or the number of features alone. They are on the last axis.
        feature_axis: the last one.
        num_groups, group_size: how many groups, or how many features in each; the other one is None.
        epsilon: added to the variance.
        dtype: of the result; floats of the present precision where left out.
        use_bias, use_scale: whether each feature has one.
        bias_init, scale_init: what they start with.
        reduction_axes: of the input, over which the statistics are taken; all but the first (the batch) where left out. The
            last one is there, and stands for the features of a group.
        axis_name, axis_index_groups: of a vmap, over which is averaged, too.
        use_fast_variance: the mean of the squares less the square of the mean.
        param_type: the State that holds scale and bias.

    States: weight, a dict of "scale" and "bias", (features,) each.
    Raises: ParameterError: groups that do not fit; another axis of features; when called, another number of features.
        UnitError: an input with a unit.
    Source: Wu & He (2018), arXiv:1803.08494; names and defaults are those of brainstate 0.5.
    """

    def __init__(
        self,
        in_size: int | tuple[int, ...],
        feature_axis: Axes = -1,
        num_groups: int | None = 32,
        group_size: int | None = None,
        *,
        epsilon: float = 1e-6,
        dtype: Any = None,
        use_bias: bool = True,
        use_scale: bool = True,
        bias_init: Given = ZeroInit(),
        scale_init: Given = Constant(1.0),
        reduction_axes: Axes | None = None,
        axis_name: Any = None,
        axis_index_groups: Any = None,
        use_fast_variance: bool = True,
        param_type: type[State] = ParamState,
    ) -> None:
        super().__init__()
        self.in_size = self.out_size = shape_of(in_size, f"GroupNorm(in_size={in_size!r})")
        if axes_of("GroupNorm(feature_axis=...)", feature_axis, len(self.in_size)) != (len(self.in_size) - 1,):
            raise ParameterError(f"GroupNorm(feature_axis={feature_axis!r}): the features are on the last axis; give -1.")
        features = self.in_size[-1]
        if (num_groups is None) == (group_size is None):
            raise ParameterError(
                f"GroupNorm(num_groups={num_groups}, group_size={group_size}): give one of both, and None for the other."
            )
        size = group_size if num_groups is None else num_groups
        if not isinstance(size, int) or size < 1 or features % size:
            raise ParameterError(
                f"GroupNorm(num_groups={num_groups}, group_size={group_size}): must divide the {features} features."
            )
        self.num_groups, self.group_size = (features // size, size) if num_groups is None else (size, features // size)
        self.reduction_axes = reduction_axes
        self.epsilon, self.use_fast_variance = epsilon, use_fast_variance
        self.axis_name, self.axis_index_groups = axis_name, axis_index_groups
        self.dtype = environ.dftype() if dtype is None else dtype
        given = dict(scale=scale_init if use_scale else None, bias=bias_init if use_bias else None)
        self.weight = parameters("GroupNorm", (features,), param_type, **given)

    def update(self, x: Any, *, mask: Any = None) -> jax.Array:
        """Of x (batch, ..., features), the same shape; `mask` says what counts in the statistics."""
        x = bare_input("GroupNorm", x)
        if x.ndim < 2 or x.shape[-1] != self.in_size[-1]:
            raise ParameterError(f"GroupNorm: the input has the shape {x.shape}; needs (batch, ..., {self.in_size[-1]}).")
        given = range(1, x.ndim) if self.reduction_axes is None else self.reduction_axes
        axes = axes_of("GroupNorm(reduction_axes=...)", given if isinstance(given, int) else tuple(given), x.ndim)
        # The features of a group are an axis of their own, behind that of the groups.
        axes = *(axis for axis in axes if axis != x.ndim - 1), x.ndim
        grouped = *x.shape[:-1], self.num_groups, self.group_size
        mask = None if mask is None else mask.reshape(*mask.shape[:-1], *grouped[-2:])
        mean, var = statistics(
            x.reshape(grouped), axes, dtype=self.dtype, axis_name=self.axis_name, axis_index_groups=self.axis_index_groups,
            use_fast_variance=self.use_fast_variance, mask=mask,
        )  # fmt: skip
        mean, var = (found.repeat(self.group_size, -1).reshape(*found.shape[:-2], -1) for found in (mean, var))
        return normalized(x, mean, var, self.epsilon, self.weight, self.dtype)
