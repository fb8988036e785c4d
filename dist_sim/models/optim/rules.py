"""Gradients, with or without a memory, and any rule of optax.

All take `lr`, `weight_decay`, `grad_clip_norm` and `grad_clip_value`: see :class:`~dist_sim.models.optim.optimizer.Optimizer`.
Names, arguments and defaults are those of braintools 0.3.
"""

from __future__ import annotations

from typing import final

import optax

from dist_sim.errors import ParameterError
from dist_sim.models.optim.optimizer import Limit, Optimizer, Rate


@final
class OptaxOptimizer(Optimizer):
    """Any optimizer of optax.

    Args:
        tx: a complete one, such as `optax.adam(1e-3)`, with its own learning rate; None for Adam's rule with `lr`.
        lr: without tx, 0.001 where left out.

    Raises:
        ParameterError: tx is none; both tx and lr.
    """

    def __init__(
        self,
        tx: optax.GradientTransformation | None = None,
        lr: Rate | None = None,
        weight_decay: float = 0.0,
        grad_clip_norm: Limit = None,
        grad_clip_value: Limit = None,
    ) -> None:
        if tx is not None and not isinstance(tx, optax.GradientTransformation):
            raise ParameterError(
                f"OptaxOptimizer(tx={tx!r:.60}): needs an optax.GradientTransformation, such as optax.adam(1e-3)."
            )
        if tx is not None and lr is not None:
            raise ParameterError("OptaxOptimizer(tx=..., lr=...): tx has its own learning rate. Give one of both.")
        rule = optax.scale_by_adam() if tx is None else tx
        rate = 1e-3 if lr is None else lr
        super().__init__(rule, rate, weight_decay, grad_clip_norm, grad_clip_value, scaled=tx is not None)


@final
class SGD(Optimizer):
    """Gradient descent: d = g; with momentum as :class:`Momentum`, or :class:`MomentumNesterov`.

    Source: Robbins & Monro (1951), doi:10.1214/aoms/1177729586.
    """

    def __init__(
        self,
        lr: Rate = 1e-3,
        momentum: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
        grad_clip_norm: Limit = None,
        grad_clip_value: Limit = None,
    ) -> None:
        rule = optax.trace(momentum, nesterov) if momentum else optax.identity()
        super().__init__(rule, lr, weight_decay, grad_clip_norm, grad_clip_value)


@final
class Momentum(Optimizer):
    r"""Gradient descent with a memory: :math:`d := \mu d + g`.

    Source: Polyak (1964), doi:10.1016/0041-5553(64)90137-5.
    """

    def __init__(
        self,
        lr: Rate = 1e-3,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        grad_clip_norm: Limit = None,
        grad_clip_value: Limit = None,
    ) -> None:
        super().__init__(optax.trace(momentum), lr, weight_decay, grad_clip_norm, grad_clip_value)


@final
class MomentumNesterov(Optimizer):
    r"""As :class:`Momentum`, looking ahead: :math:`m := \mu m + g, d = \mu m + g`.

    Source: Sutskever et al. (2013), PMLR 28(3):1139-1147.
    """

    def __init__(
        self,
        lr: Rate = 1e-3,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        grad_clip_norm: Limit = None,
        grad_clip_value: Limit = None,
    ) -> None:
        super().__init__(optax.trace(momentum, nesterov=True), lr, weight_decay, grad_clip_norm, grad_clip_value)


@final
class Lars(Optimizer):
    """As :class:`Momentum`, with steps in proportion to the size of each weight array.

    Source: You, Gitman & Ginsburg (2017), arXiv:1708.03888.
    """

    def __init__(
        self,
        lr: Rate = 1.0,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        trust_coefficient: float = 1e-3,
        eps: float = 1e-8,
        grad_clip_norm: Limit = None,
        grad_clip_value: Limit = None,
    ) -> None:
        ratio = optax.scale_by_trust_ratio(trust_coefficient=trust_coefficient, eps=eps)
        super().__init__(optax.chain(ratio, optax.trace(momentum)), lr, weight_decay, grad_clip_norm, grad_clip_value)


@final
class Lion(Optimizer):
    """The sign of a running mean of gradients.

    Source: Chen et al. (2023), arXiv:2302.06675.
    """

    def __init__(
        self,
        lr: Rate = 1e-4,
        betas: tuple[float, float] = (0.9, 0.99),
        weight_decay: float = 0.0,
        grad_clip_norm: Limit = None,
        grad_clip_value: Limit = None,
    ) -> None:
        super().__init__(optax.scale_by_lion(*betas), lr, weight_decay, grad_clip_norm, grad_clip_value, decoupled=True)
