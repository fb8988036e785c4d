"""Surrogate derivatives that do not vanish far from threshold.

In all of them x is the distance to threshold. Names, arguments and defaults are those of braintools 0.3.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, final

import jax
import jax.numpy as jnp

from dist_sim.models.surrogate.surrogate import Shaped


@final
@dataclass(frozen=True)
class PiecewiseLeakyRelu(Shaped):
    r""":math:`1 / 2w` within w of threshold, c further away.

    Source: Wu et al. (2018), doi:10.3389/fnins.2018.00331; Huh & Sejnowski (2018), NeurIPS 31.
    """

    may_be_zero: ClassVar[tuple[str, ...]] = ("c",)

    c: float = 0.01
    w: float = 1.0

    def surrogate_grad(self, x: jax.Array) -> jax.Array:
        return jnp.where(jnp.abs(x) > self.w, self.c, 1.0 / (2.0 * self.w)).astype(x.dtype)


@final
@dataclass(frozen=True)
class SquarewaveFourierSeries(Shaped):
    r"""The derivative of the first n terms of a square wave: :math:`\frac{4}{T} \sum_{i=1}^n \cos((2 i - 1) \omega x)` with
    :math:`\omega = 2 \pi / T`, T being t_period.
    """

    n: int = 2
    t_period: float = 8.0

    def surrogate_grad(self, x: jax.Array) -> jax.Array:
        omega = 2.0 * math.pi / self.t_period
        return 4.0 / self.t_period * sum((jnp.cos((2 * i - 1) * omega * x) for i in range(1, self.n + 1)), jnp.zeros_like(x))


@final
@dataclass(frozen=True)
class S2NN(Shaped):
    r"""Below threshold :math:`\alpha s (1 - s), s = 1 / (1 + e^{-\alpha x})`, from there on :math:`\beta / (x + 1)`.

    `epsilon` keeps a logarithm finite of which that is the derivative: it is without effect here.

    Source: Suetake et al. (2022), arXiv:2201.10879.
    """

    may_be_zero: ClassVar[tuple[str, ...]] = ("epsilon",)

    alpha: float = 4.0
    beta: float = 1.0
    epsilon: float = 1e-8

    def surrogate_grad(self, x: jax.Array) -> jax.Array:
        s = jax.nn.sigmoid(self.alpha * x)
        # Where it is not taken, the other branch needs a finite derivative.
        return jnp.where(x < 0, self.alpha * s * (1.0 - s), self.beta / (jnp.maximum(x, 0.0) + 1.0))


@final
@dataclass(frozen=True)
class LeakyRelu(Shaped):
    r"""alpha below threshold, beta from there on."""

    may_be_zero: ClassVar[tuple[str, ...]] = ("alpha",)

    alpha: float = 0.1
    beta: float = 1.0

    def surrogate_grad(self, x: jax.Array) -> jax.Array:
        return jnp.where(x < 0, self.alpha, self.beta).astype(x.dtype)


@final
@dataclass(frozen=True)
class LogTailedRelu(Shaped):
    r"""alpha up to threshold, 1 up to x = 1, then :math:`1 / x`.

    Source: Cai et al. (2017), arXiv:1702.00953.
    """

    may_be_zero: ClassVar[tuple[str, ...]] = ("alpha",)

    alpha: float = 0.0

    def surrogate_grad(self, x: jax.Array) -> jax.Array:
        return jnp.where(x > 0, 1.0 / jnp.maximum(x, 1.0), self.alpha)
