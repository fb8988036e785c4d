"""Normalisation of each sample by itself, by its mean and variance, or by its mean square alone."""

from __future__ import annotations

from typing import Any, final

import jax

from dist_sim.core import Module, ParamState, State, environ
from dist_sim.models.communication.weights import Given
from dist_sim.models.dynamics import shape_of
from dist_sim.models.init import Constant, ZeroInit
from dist_sim.models.layers.normalized import Axes, axes_of, bare_input, normalized, parameters, statistics


@final
class LayerNorm(Module):
    """Numbers less their mean, over their standard deviation; both over `reduction_axes` of each sample.

    Args:
        in_size: shape of an input without batch.
        reduction_axes: of the input: one, or several.
        feature_axes: of `in_size`: along these, each number has a scale and a bias of its own.
        epsilon: added to the variance.
        use_bias, use_scale: whether there is one.
        bias_init, scale_init: what they start with.
        axis_name, axis_index_groups: of a vmap, over which is averaged, too.
        use_fast_variance: the mean of the squares less the square of the mean.
        dtype: of the result; floats of the present precision where left out.
        param_type: the State that holds scale and bias.

    States: weight, a dict of "scale" and "bias".
    Raises: ParameterError: axes that are not there. UnitError: when called, an input with a unit.
    Source: Ba, Kiros & Hinton (2016), arXiv:1607.06450; names and defaults are those of brainstate 0.5.
    """

    def __init__(
        self,
        in_size: int | tuple[int, ...],
        reduction_axes: Axes = -1,
        feature_axes: Axes = -1,
        *,
        epsilon: float = 1e-6,
        use_bias: bool = True,
        use_scale: bool = True,
        bias_init: Given = ZeroInit(),
        scale_init: Given = Constant(1.0),
        axis_name: Any = None,
        axis_index_groups: Any = None,
        use_fast_variance: bool = True,
        dtype: Any = None,
        param_type: type[State] = ParamState,
    ) -> None:
        super().__init__()
        self.in_size = self.out_size = shape_of(in_size, f"LayerNorm(in_size={in_size!r})")
        self.feature_axes = axes_of("LayerNorm(feature_axes=...)", feature_axes, len(self.in_size))
        self.reduction_axes = reduction_axes
        self.epsilon, self.use_fast_variance = epsilon, use_fast_variance
        self.axis_name, self.axis_index_groups = axis_name, axis_index_groups
        self.dtype = environ.dftype() if dtype is None else dtype
        shape = tuple(size if axis in self.feature_axes else 1 for axis, size in enumerate(self.in_size))
        given = dict(scale=scale_init if use_scale else None, bias=bias_init if use_bias else None)
        self.weight = parameters("LayerNorm", shape, param_type, **given)

    def update(self, x: Any, *, mask: Any = None) -> jax.Array:
        """Of x, the same shape; `mask` says what counts in the statistics."""
        x = bare_input("LayerNorm", x)
        mean, var = statistics(
            x, axes_of("LayerNorm(reduction_axes=...)", self.reduction_axes, x.ndim), dtype=self.dtype, axis_name=self.axis_name,
            axis_index_groups=self.axis_index_groups, use_fast_variance=self.use_fast_variance, mask=mask,
        )  # fmt: skip
        return normalized(x, mean, var, self.epsilon, self.weight, self.dtype)


@final
class RMSNorm(Module):
    """Numbers over the root of their mean square. Arguments and errors: as :class:`LayerNorm`, without a bias.

    States: scale, a dict of "scale".
    Source: Zhang & Sennrich (2019), arXiv:1910.07467; names and defaults are those of brainstate 0.5.
    """

    def __init__(
        self,
        in_size: int | tuple[int, ...],
        *,
        epsilon: float = 1e-6,
        dtype: Any = None,
        use_scale: bool = True,
        scale_init: Given = Constant(1.0),
        reduction_axes: Axes = -1,
        feature_axes: Axes = -1,
        axis_name: Any = None,
        axis_index_groups: Any = None,
        use_fast_variance: bool = True,
        param_type: type[State] = ParamState,
    ) -> None:
        super().__init__()
        self.in_size = self.out_size = shape_of(in_size, f"RMSNorm(in_size={in_size!r})")
        self.feature_axes = axes_of("RMSNorm(feature_axes=...)", feature_axes, len(self.in_size))
        self.reduction_axes = reduction_axes
        self.epsilon, self.use_fast_variance = epsilon, use_fast_variance
        self.axis_name, self.axis_index_groups = axis_name, axis_index_groups
        self.dtype = environ.dftype() if dtype is None else dtype
        shape = tuple(size if axis in self.feature_axes else 1 for axis, size in enumerate(self.in_size))
        self.scale = parameters("RMSNorm", shape, param_type, scale=scale_init if use_scale else None)

    def update(self, x: Any, *, mask: Any = None) -> jax.Array:
        """Of x, the same shape; `mask` says what counts in the statistics."""
        x = bare_input("RMSNorm", x)
        mean, var = statistics(
            x, axes_of("RMSNorm(reduction_axes=...)", self.reduction_axes, x.ndim), dtype=self.dtype, axis_name=self.axis_name,
            axis_index_groups=self.axis_index_groups, use_fast_variance=self.use_fast_variance, mask=mask, centred=False,
        )  # fmt: skip
        return normalized(x, mean, var, self.epsilon, self.scale, self.dtype)
