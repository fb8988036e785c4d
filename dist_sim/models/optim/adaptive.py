"""Gradients over their own size, of each number by itself: Adam and its relatives.

All take `lr`, `weight_decay`, `grad_clip_norm` and `grad_clip_value`: see :class:`~dist_sim.models.optim.optimizer.Optimizer`.
Names, arguments and defaults are those of braintools 0.3.
"""

from __future__ import annotations

from typing import Any, NamedTuple, final

import jax
import jax.numpy as jnp
import optax

from dist_sim.errors import ParameterError
from dist_sim.models.optim.optimizer import Limit, Optimizer, Rate

Betas = tuple[float, float]


@final
class Adam(Optimizer):
    r"""Gradients over their recent size: :math:`d = \hat m / (\sqrt{\hat v} + \epsilon)` with running means m of g and v of
    :math:`g^2`, corrected for their start; with `amsgrad` over the largest v so far. beta1 and beta2 count before `betas`.

    Source: Kingma & Ba (2015), arXiv:1412.6980; Reddi, Kale & Kumar (2018), arXiv:1904.09237.
    """

    def __init__(
        self,
        lr: Rate = 1e-3,
        betas: Betas = (0.9, 0.999),
        beta1: float | None = None,
        beta2: float | None = None,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        amsgrad: bool = False,
        grad_clip_norm: Limit = None,
        grad_clip_value: Limit = None,
    ) -> None:
        betas = betas[0] if beta1 is None else beta1, betas[1] if beta2 is None else beta2
        rule = (optax.scale_by_amsgrad if amsgrad else optax.scale_by_adam)(*betas, eps)
        super().__init__(rule, lr, weight_decay, grad_clip_norm, grad_clip_value)


@final
class AdamW(Optimizer):
    """As :class:`Adam`, with the decay of weights beside the rule.

    Source: Loshchilov & Hutter (2019), arXiv:1711.05101.
    """

    def __init__(
        self,
        lr: Rate = 1e-3,
        betas: Betas = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.01,
        grad_clip_norm: Limit = None,
        grad_clip_value: Limit = None,
    ) -> None:
        rule = optax.scale_by_adam(*betas, eps)
        super().__init__(rule, lr, weight_decay, grad_clip_norm, grad_clip_value, decoupled=True)


@final
class Adamax(Optimizer):
    """As :class:`Adam`, with the largest recent size in the place of the mean one.

    Source: Kingma & Ba (2015), arXiv:1412.6980.
    """

    def __init__(
        self,
        lr: Rate = 2e-3,
        betas: Betas = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        grad_clip_norm: Limit = None,
        grad_clip_value: Limit = None,
    ) -> None:
        super().__init__(optax.scale_by_adamax(*betas, eps), lr, weight_decay, grad_clip_norm, grad_clip_value)


@final
class RAdam(Optimizer):
    """As :class:`Adam`, rectified while the size is not known well.

    Source: Liu et al. (2020), arXiv:1908.03265.
    """

    def __init__(
        self,
        lr: Rate = 1e-3,
        betas: Betas = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        grad_clip_norm: Limit = None,
        grad_clip_value: Limit = None,
    ) -> None:
        super().__init__(optax.scale_by_radam(*betas, eps), lr, weight_decay, grad_clip_norm, grad_clip_value)


@final
class AdaBelief(Optimizer):
    """As :class:`Adam`, over how far gradients are from their mean.

    Source: Zhuang et al. (2020), arXiv:2010.07468.
    """

    def __init__(
        self,
        lr: Rate = 1e-3,
        betas: Betas = (0.9, 0.999),
        eps: float = 1e-16,
        weight_decay: float = 0.0,
        grad_clip_norm: Limit = None,
        grad_clip_value: Limit = None,
    ) -> None:
        super().__init__(optax.scale_by_belief(*betas, eps), lr, weight_decay, grad_clip_norm, grad_clip_value)


@final
class Yogi(Optimizer):
    """As :class:`Adam`, with a mean size that does not fall quickly.

    Source: Zaheer et al. (2018), NeurIPS 31.
    """

    def __init__(
        self,
        lr: Rate = 1e-3,
        betas: Betas = (0.9, 0.999),
        eps: float = 1e-3,
        weight_decay: float = 0.0,
        grad_clip_norm: Limit = None,
        grad_clip_value: Limit = None,
    ) -> None:
        super().__init__(optax.scale_by_yogi(*betas, eps), lr, weight_decay, grad_clip_norm, grad_clip_value)


@final
class Lamb(Optimizer):
    """As :class:`AdamW`, with steps in proportion to the size of each weight array.

    Source: You et al. (2020), arXiv:1904.00962.
    """

    def __init__(
        self,
        lr: Rate = 1e-3,
        betas: Betas = (0.9, 0.999),
        eps: float = 1e-6,
        weight_decay: float = 0.0,
        grad_clip_norm: Limit = None,
        grad_clip_value: Limit = None,
    ) -> None:
        # The decay comes between the two: the size of the whole step is set.
        decay = optax.add_decayed_weights(weight_decay) if weight_decay else optax.identity()
        rule = optax.chain(optax.scale_by_adam(*betas, eps), decay, optax.scale_by_trust_ratio())
        super().__init__(rule, lr, 0.0, grad_clip_norm, grad_clip_value)


@final
class Adagrad(Optimizer):
    r"""Gradients over the root of the sum of their squares, and the rate over 1 + lr_decay times the updates so far.

    Source: Duchi, Hazan & Singer (2011), JMLR 12:2121-2159.
    """

    def __init__(
        self,
        lr: Rate = 1e-2,
        lr_decay: float = 0.0,
        weight_decay: float = 0.0,
        initial_accumulator_value: float = 0.0,
        eps: float = 1e-10,
        grad_clip_norm: Limit = None,
        grad_clip_value: Limit = None,
    ) -> None:
        falling = optax.scale_by_schedule(lambda n: 1.0 / (1.0 + lr_decay * n)) if lr_decay else optax.identity()
        rule = optax.chain(optax.scale_by_rss(initial_accumulator_value, eps), falling)
        super().__init__(rule, lr, weight_decay, grad_clip_norm, grad_clip_value)


@final
class Adadelta(Optimizer):
    """Gradients over their recent size, times that of recent changes.

    Source: Zeiler (2012), arXiv:1212.5701.
    """

    def __init__(
        self,
        lr: Rate = 1.0,
        rho: float = 0.9,
        eps: float = 1e-6,
        weight_decay: float = 0.0,
        grad_clip_norm: Limit = None,
        grad_clip_value: Limit = None,
    ) -> None:
        super().__init__(optax.scale_by_adadelta(rho, eps), lr, weight_decay, grad_clip_norm, grad_clip_value)


@final
class RMSprop(Optimizer):
    """Gradients over the root of their recent mean square; `centered` over their standard deviation.

    Source: Tieleman & Hinton (2012), Coursera: Neural Networks for Machine Learning, lecture 6.5; Graves (2013), arXiv:1308.0850.
    """

    def __init__(
        self,
        lr: Rate = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum: float = 0.0,
        centered: bool = False,
        grad_clip_norm: Limit = None,
        grad_clip_value: Limit = None,
    ) -> None:
        scale = (optax.scale_by_stddev if centered else optax.scale_by_rms)(alpha, eps)
        rule = optax.chain(scale, optax.trace(momentum) if momentum else optax.identity())
        super().__init__(rule, lr, weight_decay, grad_clip_norm, grad_clip_value)


@final
class Nadam(Optimizer):
    r"""As :class:`Adam`, looking ahead, with a momentum :math:`\beta_1 (1 - 0.96^{\psi t} / 2)` that rises; :math:`\psi` is
    `momentum_decay`.

    Source: Dozat (2016), ICLR workshop; the schedule is that of PyTorch's NAdam.
    """

    def __init__(
        self,
        lr: Rate = 2e-3,
        betas: Betas = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum_decay: float = 4e-3,
        grad_clip_norm: Limit = None,
        grad_clip_value: Limit = None,
    ) -> None:
        super().__init__(_nadam(*betas, eps, momentum_decay), lr, weight_decay, grad_clip_norm, grad_clip_value)


@final
class Adafactor(Optimizer):
    """Gradients over the root of their recent mean square, of which matrices keep means of rows and columns alone.

    Args:
        lr: the learning rate; None for steps in proportion to the root mean square of each weight array, but to eps[1] at least,
            times the smaller one of 0.01 and one over the root of the number of updates.
        eps: added to squares of gradients; and see `lr`.
        clip_threshold: the largest root mean square of a step over the rate.
        decay_rate: the mean forgets as the number of updates to minus this power.
        beta1: of a running mean of steps; None for none.
        factored: False keeps all squares. Arrays below 128 rows or columns keep them, too.

    Raises: ParameterError: a threshold that is not above 0.
    Source: Shazeer & Stern (2018), arXiv:1804.04235; the rule of optax. braintools takes clip_threshold, beta1 and eps[1],
        and does not use them.
    """

    def __init__(
        self,
        lr: Rate | None = None,
        eps: tuple[float, float] = (1e-30, 1e-3),
        clip_threshold: float = 1.0,
        decay_rate: float = 0.8,
        beta1: float | None = None,
        weight_decay: float = 0.0,
        factored: bool = True,
        grad_clip_norm: Limit = None,
        grad_clip_value: Limit = None,
    ) -> None:
        if not clip_threshold > 0:
            raise ParameterError(f"Adafactor(clip_threshold={clip_threshold}): needs a number above 0.")
        parts: list[optax.GradientTransformation] = [
            optax.scale_by_factored_rms(factored, decay_rate, epsilon=eps[0]), optax.clip_by_block_rms(clip_threshold),
        ]  # fmt: skip
        if lr is None:
            parts += [optax.scale_by_param_block_rms(eps[1]), optax.scale_by_schedule(_falling)]
        if beta1 is not None:
            parts.append(optax.ema(beta1, debias=False))
        rate = 1.0 if lr is None else lr
        super().__init__(optax.chain(*parts), rate, weight_decay, grad_clip_norm, grad_clip_value, decoupled=True)


def _falling(updates: Any) -> jax.Array:
    return jnp.minimum(1e-2, 1.0 / jnp.sqrt(updates + 1.0))


class _NadamMemory(NamedTuple):
    count: jax.Array
    product: jax.Array
    mean: Any
    square: Any


def _nadam(b1: float, b2: float, eps: float, decay: float) -> optax.GradientTransformation:
    def momentum(count: jax.Array) -> jax.Array:
        return b1 * (1.0 - 0.5 * 0.96 ** (count * decay))

    def start(params: Any) -> _NadamMemory:
        zeros = jax.tree.map(jnp.zeros_like, params)
        return _NadamMemory(jnp.zeros((), jnp.int32), jnp.ones(()), zeros, zeros)

    def update(updates: Any, state: Any, params: Any = None) -> Any:
        memory, count = state, state.count + 1
        mean = jax.tree.map(lambda m, g: b1 * m + (1.0 - b1) * g, memory.mean, updates)
        square = jax.tree.map(lambda v, g: b2 * v + (1.0 - b2) * g**2, memory.square, updates)
        now, ahead = momentum(count), momentum(count + 1)
        product = memory.product * now
        of_gradient, of_mean = (1.0 - now) / (1.0 - product), ahead / (1.0 - product * ahead)
        moved = jax.tree.map(
            lambda g, m, v: (of_gradient * g + of_mean * m) / (jnp.sqrt(v / (1.0 - b2**count)) + eps), updates, mean, square
        )
        return moved, _NadamMemory(count, product, mean, square)

    return optax.GradientTransformation(start, update)
