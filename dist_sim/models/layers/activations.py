"""Activations as Modules, for `nn.Sequential`. Names, arguments and defaults are those of brainstate 0.5."""

from __future__ import annotations

from typing import Any

import brainunit as u
import jax.numpy as jnp

from dist_sim.core import Module, ParamState
from dist_sim.errors import ParameterError
from dist_sim.models.layers import functions as F


class ElementWiseBlock(Module):
    """A Module whose output has the shape of its input, whatever that is."""


class Identity(ElementWiseBlock):
    """x."""

    def update(self, x: Any) -> Any:
        return x


class Threshold(ElementWiseBlock):
    """x where it is above `threshold`, else `value`; both in the unit of x."""

    def __init__(self, threshold: Any, value: Any) -> None:
        super().__init__()
        self.threshold, self.value = threshold, value

    def update(self, x: Any) -> Any:
        return u.math.where(x > self.threshold, x, u.math.zeros_like(x) + self.value)


class ReLU(ElementWiseBlock):
    """See :func:`nn.relu`."""

    def update(self, x: Any) -> Any:
        return F.relu(x)


class RReLU(ElementWiseBlock):
    """See :func:`nn.rrelu`."""

    def __init__(self, lower: float = 1 / 8, upper: float = 1 / 3) -> None:
        super().__init__()
        self.lower, self.upper = lower, upper

    def update(self, x: Any) -> Any:
        return F.rrelu(x, self.lower, self.upper)


class Hardtanh(ElementWiseBlock):
    """See :func:`nn.hard_tanh`."""

    def __init__(self, min_val: Any = -1.0, max_val: Any = 1.0) -> None:
        super().__init__()
        if not min_val < max_val:
            raise ParameterError(f"Hardtanh(min_val={min_val}, max_val={max_val}): min_val must be below max_val.")
        self.min_val, self.max_val = min_val, max_val

    def update(self, x: Any) -> Any:
        return F.hard_tanh(x, self.min_val, self.max_val)


class ReLU6(ElementWiseBlock):
    """See :func:`nn.relu6`."""

    def __init__(self) -> None:
        super().__init__()

    def update(self, x: Any) -> Any:
        return F.relu6(x)


class Sigmoid(ElementWiseBlock):
    """See :func:`nn.sigmoid`."""

    def update(self, x: Any) -> Any:
        return F.sigmoid(x)


class Hardsigmoid(ElementWiseBlock):
    """See :func:`nn.hard_sigmoid`."""

    def update(self, x: Any) -> Any:
        return F.hard_sigmoid(x)


class Tanh(ElementWiseBlock):
    """See :func:`nn.tanh`."""

    def update(self, x: Any) -> Any:
        return F.tanh(x)


class SiLU(ElementWiseBlock):
    """See :func:`nn.silu`."""

    def update(self, x: Any) -> Any:
        return F.silu(x)


class Mish(ElementWiseBlock):
    """See :func:`nn.mish`."""

    def update(self, x: Any) -> Any:
        return F.mish(x)


class Hardswish(ElementWiseBlock):
    """See :func:`nn.hard_swish`."""

    def update(self, x: Any) -> Any:
        return F.hard_swish(x)


class ELU(ElementWiseBlock):
    """See :func:`nn.elu`."""

    def __init__(self, alpha: float = 1.0) -> None:
        super().__init__()
        self.alpha = alpha

    def update(self, x: Any) -> Any:
        return F.elu(x, self.alpha)


class CELU(ElementWiseBlock):
    """See :func:`nn.celu`."""

    def __init__(self, alpha: float = 1.0) -> None:
        super().__init__()
        self.alpha = alpha

    def update(self, x: Any) -> Any:
        return F.celu(x, self.alpha)


class SELU(ElementWiseBlock):
    """See :func:`nn.selu`."""

    def update(self, x: Any) -> Any:
        return F.selu(x)


class GLU(ElementWiseBlock):
    """See :func:`nn.glu`; halves the axis `dim`."""

    def __init__(self, dim: int = -1) -> None:
        super().__init__()
        self.dim = dim

    def update(self, x: Any) -> Any:
        return F.glu(x, self.dim)


class GELU(ElementWiseBlock):
    """See :func:`nn.gelu`; exact, where the function by default is not."""

    def __init__(self, approximate: bool = False) -> None:
        super().__init__()
        self.approximate = approximate

    def update(self, x: Any) -> Any:
        return F.gelu(x, self.approximate)


class Hardshrink(ElementWiseBlock):
    """See :func:`nn.hard_shrink`."""

    def __init__(self, lambd: Any = 0.5) -> None:
        super().__init__()
        self.lambd = lambd

    def update(self, x: Any) -> Any:
        return F.hard_shrink(x, self.lambd)


class Softshrink(ElementWiseBlock):
    """See :func:`nn.soft_shrink`."""

    def __init__(self, lambd: Any = 0.5) -> None:
        super().__init__()
        self.lambd = lambd

    def update(self, x: Any) -> Any:
        return F.soft_shrink(x, self.lambd)


class Tanhshrink(ElementWiseBlock):
    """See :func:`nn.tanh_shrink`."""

    def update(self, x: Any) -> Any:
        return F.tanh_shrink(x)


class LeakyReLU(ElementWiseBlock):
    """See :func:`nn.leaky_relu`."""

    def __init__(self, negative_slope: float = 0.01) -> None:
        super().__init__()
        self.negative_slope = negative_slope

    def update(self, x: Any) -> Any:
        return F.leaky_relu(x, self.negative_slope)


class PReLU(ElementWiseBlock):
    """See :func:`nn.prelu`.

    Args:
        num_parameters: slopes to train: 1, or as many as the last axis of x has numbers.
        init: what each starts with.
    States: weight (num_parameters,), a ParamState.
    """

    def __init__(self, num_parameters: int = 1, init: float = 0.25, dtype: Any = None) -> None:
        super().__init__()
        self.num_parameters = num_parameters
        self.weight = ParamState(jnp.full(num_parameters, init, dtype or float), axes=())

    def update(self, x: Any) -> Any:
        return F.prelu(x, self.weight.value)


class LogSigmoid(ElementWiseBlock):
    """See :func:`nn.log_sigmoid`."""

    def update(self, x: Any) -> Any:
        return F.log_sigmoid(x)


class Softplus(ElementWiseBlock):
    """See :func:`nn.softplus`."""

    def update(self, x: Any) -> Any:
        return F.softplus(x)


class Softsign(ElementWiseBlock):
    """See :func:`nn.soft_sign`."""

    def update(self, x: Any) -> Any:
        return F.soft_sign(x)


class Softmax(ElementWiseBlock):
    """See :func:`nn.softmax`; along the last axis, or `dim`."""

    def __init__(self, dim: int | None = None) -> None:
        super().__init__()
        self.dim = dim

    def update(self, x: Any) -> Any:
        return F.softmax(x, -1 if self.dim is None else self.dim)


class Softmin(ElementWiseBlock):
    """See :func:`nn.softmin`; along the last axis, or `dim`."""

    def __init__(self, dim: int | None = None) -> None:
        super().__init__()
        self.dim = dim

    def update(self, x: Any) -> Any:
        return F.softmin(x, -1 if self.dim is None else self.dim)


class LogSoftmax(ElementWiseBlock):
    """See :func:`nn.log_softmax`; along the last axis, or `dim`."""

    def __init__(self, dim: int | None = None) -> None:
        super().__init__()
        self.dim = dim

    def update(self, x: Any) -> Any:
        return F.log_softmax(x, -1 if self.dim is None else self.dim)


class Softmax2d(ElementWiseBlock):
    """See :func:`nn.softmax`; along the third axis from the end of x (C, H, W), with or without a batch in front.

    Raises: ParameterError: when called, another number of axes.
    """

    def update(self, x: Any) -> Any:
        if u.math.ndim(x) not in (3, 4):
            raise ParameterError(f"Softmax2d: the input has the shape {u.math.shape(x)}; needs (C, H, W) or (batch, C, H, W).")
        return F.softmax(x, -3)
