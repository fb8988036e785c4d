"""Surrogate derivatives with a peak at threshold.

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
class Sigmoid(Shaped):
    r"""The derivative of a logistic function: :math:`\alpha s (1 - s), s = 1 / (1 + e^{-\alpha x})`; its integral is 1.

    Source: Zenke & Ganguli (2018), doi:10.1162/neco_a_01086; Neftci, Mostafa & Zenke (2019), doi:10.1109/MSP.2019.2931595.
    """

    alpha: float = 4.0

    def surrogate_grad(self, x: jax.Array) -> jax.Array:
        s = jax.nn.sigmoid(self.alpha * x)
        return self.alpha * s * (1.0 - s)


@final
@dataclass(frozen=True)
class PiecewiseQuadratic(Shaped):
    r"""A triangle: :math:`\max(0, \alpha - \alpha^2 |x|)`; its integral is 1.

    Source: Esser et al. (2016), doi:10.1073/pnas.1604850113; Bellec et al. (2018), arXiv:1803.09574.
    """

    alpha: float = 1.0

    def surrogate_grad(self, x: jax.Array) -> jax.Array:
        return jnp.maximum(self.alpha - self.alpha**2 * jnp.abs(x), 0.0)


@final
@dataclass(frozen=True)
class PiecewiseExp(Shaped):
    r"""Two exponentials: :math:`\frac{\alpha}{2} e^{-\alpha |x|}`; its integral is 1.

    Source: Neftci, Mostafa & Zenke (2019), doi:10.1109/MSP.2019.2931595.
    """

    alpha: float = 1.0

    def surrogate_grad(self, x: jax.Array) -> jax.Array:
        return self.alpha / 2.0 * jnp.exp(-self.alpha * jnp.abs(x))


@final
@dataclass(frozen=True)
class SoftSign(Shaped):
    r"""The derivative of a soft sign: :math:`\frac{\alpha}{2} (1 + \alpha |x|)^{-2}`; its integral is 1.

    Source: Zenke & Ganguli (2018), doi:10.1162/neco_a_01086.
    """

    alpha: float = 1.0

    def surrogate_grad(self, x: jax.Array) -> jax.Array:
        return self.alpha / 2.0 / (1.0 + self.alpha * jnp.abs(x)) ** 2


@final
@dataclass(frozen=True)
class Arctan(Shaped):
    r"""The derivative of an arc tangent: :math:`\frac{\alpha}{2} / (1 + (\frac{\pi}{2} \alpha x)^2)`; its integral is 1.

    Source: Fang et al. (2021), doi:10.1109/ICCV48922.2021.00266.
    """

    alpha: float = 1.0

    def surrogate_grad(self, x: jax.Array) -> jax.Array:
        return self.alpha / 2.0 / (1.0 + (math.pi / 2.0 * self.alpha * x) ** 2)


@final
@dataclass(frozen=True)
class NonzeroSignLog(Shaped):
    r"""Slow tails: :math:`1 / (1 / \alpha + |x|)`; its integral grows as a logarithm."""

    alpha: float = 1.0

    def surrogate_grad(self, x: jax.Array) -> jax.Array:
        return 1.0 / (1.0 / self.alpha + jnp.abs(x))


@final
@dataclass(frozen=True)
class ERF(Shaped):
    r"""The derivative of an error function: :math:`\frac{\alpha}{\sqrt\pi} e^{-\alpha^2 x^2}`; its integral is 1.

    Source: Esser et al. (2015), NeurIPS 28; Wu et al. (2018), doi:10.3389/fnins.2018.00331.
    """

    alpha: float = 1.0

    def surrogate_grad(self, x: jax.Array) -> jax.Array:
        return self.alpha / math.sqrt(math.pi) * jnp.exp(-((self.alpha * x) ** 2))


@final
@dataclass(frozen=True)
class QPseudoSpike(Shaped):
    r"""A power: :math:`(1 + \frac{2}{\alpha + 1} |x|)^{-\alpha}`; its integral is
    :math:`(\alpha + 1) / (\alpha - 1)` for alpha above 1.

    Source: Herranz-Celotti & Rouat (2022), arXiv:2202.00282.
    """

    alpha: float = 2.0

    def surrogate_grad(self, x: jax.Array) -> jax.Array:
        return (1.0 + 2.0 / (self.alpha + 1.0) * jnp.abs(x)) ** -self.alpha


@final
@dataclass(frozen=True)
class GaussianGrad(Shaped):
    r"""A normal density of the standard deviation sigma, times alpha, which is its integral.

    Source: Yin, Corradi & Bohte (2021), doi:10.1038/s42256-021-00397-w.
    """

    sigma: float = 0.5
    alpha: float = 0.5

    def surrogate_grad(self, x: jax.Array) -> jax.Array:
        return self.alpha * _normal(x, self.sigma)


@final
@dataclass(frozen=True)
class MultiGaussianGrad(Shaped):
    r""":math:`scale \, [(1 + h) N(x; 0, \sigma) - h N(x; \sigma, s \sigma) - h N(x; -\sigma, s \sigma)]` with normal densities N:
    negative further out; its integral is scale (1 - h).

    Source: Yin, Corradi & Bohte (2021), doi:10.1038/s42256-021-00397-w.
    """

    may_be_zero: ClassVar[tuple[str, ...]] = ("h",)

    h: float = 0.15
    s: float = 6.0
    sigma: float = 0.5
    scale: float = 0.5

    def surrogate_grad(self, x: jax.Array) -> jax.Array:
        wide = _normal(x - self.sigma, self.s * self.sigma) + _normal(x + self.sigma, self.s * self.sigma)
        return self.scale * ((1.0 + self.h) * _normal(x, self.sigma) - self.h * wide)


@final
@dataclass(frozen=True)
class InvSquareGrad(Shaped):
    r"""A square of a hyperbola: :math:`(1 + \alpha |x|)^{-2}`; its integral is :math:`2 / \alpha`.

    Source: Zenke & Ganguli (2018), doi:10.1162/neco_a_01086.
    """

    alpha: float = 100.0

    def surrogate_grad(self, x: jax.Array) -> jax.Array:
        return 1.0 / (self.alpha * jnp.abs(x) + 1.0) ** 2


@final
@dataclass(frozen=True)
class SlayerGrad(Shaped):
    r"""Two exponentials of the height 1: :math:`e^{-\alpha |x|}`; its integral is :math:`2 / \alpha`.

    Source: Shrestha & Orchard (2018), NeurIPS 31.
    """

    alpha: float = 1.0

    def surrogate_grad(self, x: jax.Array) -> jax.Array:
        return jnp.exp(-self.alpha * jnp.abs(x))


def _normal(x: jax.Array, std: float) -> jax.Array:
    return jnp.exp(-(x**2) / (2.0 * std**2)) / (math.sqrt(2.0 * math.pi) * std)
