"""Learning rates that rise or fall once, as functions of the epoch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, final

import jax.numpy as jnp

from dist_sim.errors import ParameterError
from dist_sim.models.optim.scheduler import Schedule, checked, whole


@final
class ConstantLR(Schedule):
    """`factor` times base_lr for `total_iters` epochs, then base_lr."""

    def __init__(self, base_lr: float = 1e-3, factor: float = 1.0 / 3, total_iters: int = 5, last_epoch: int = 0) -> None:
        super().__init__(base_lr, last_epoch)
        self.factor, self.total_iters = factor, total_iters

    def rate_at(self, epoch: Any) -> Any:
        return self.base_lr * jnp.where(epoch < self.total_iters, self.factor, 1.0)


@final
class LinearLR(Schedule):
    """From start_factor to end_factor times base_lr, linearly over `total_iters` epochs."""

    def __init__(
        self,
        base_lr: float = 1e-3,
        start_factor: float = 1.0 / 3,
        end_factor: float = 1.0,
        total_iters: int = 5,
        last_epoch: int = 0,
    ) -> None:
        super().__init__(base_lr, last_epoch)
        self.start_factor, self.end_factor = start_factor, end_factor
        self.total_iters = whole("LinearLR(total_iters=...)", total_iters, 0)

    def rate_at(self, epoch: Any) -> Any:
        part = jnp.clip(epoch / self.total_iters, 0.0, 1.0) if self.total_iters else 1.0
        return self.base_lr * (self.start_factor + (self.end_factor - self.start_factor) * part)


@final
class WarmupScheduler(Schedule):
    """From warmup_start_lr to base_lr, linearly over `warmup_epochs` epochs."""

    def __init__(self, base_lr: float = 1e-3, warmup_epochs: int = 5, warmup_start_lr: float = 0.0, last_epoch: int = 0) -> None:
        super().__init__(base_lr, last_epoch)
        self.warmup_epochs = whole("WarmupScheduler(warmup_epochs=...)", warmup_epochs, 0)
        self.warmup_start_lr = warmup_start_lr

    def rate_at(self, epoch: Any) -> Any:
        part = jnp.minimum(epoch / self.warmup_epochs, 1.0) if self.warmup_epochs else 1.0
        return self.warmup_start_lr + (self.base_lr - self.warmup_start_lr) * part


@final
class StepLR(Schedule):
    """Times gamma every `step_size` epochs."""

    def __init__(self, base_lr: float = 1e-3, step_size: int = 30, gamma: float = 0.1, last_epoch: int = 0) -> None:
        super().__init__(base_lr, last_epoch)
        self.step_size, self.gamma = whole("StepLR(step_size=...)", step_size, 1), gamma

    def rate_at(self, epoch: Any) -> Any:
        return self.base_lr * self.gamma ** (epoch // self.step_size)


@final
class MultiStepLR(Schedule):
    """Times gamma at each of the epochs `milestones`."""

    def __init__(
        self, base_lr: float = 1e-3, milestones: Sequence[int] = (30, 60, 90), gamma: float = 0.1, last_epoch: int = 0
    ) -> None:
        super().__init__(base_lr, last_epoch)
        self.milestones, self.gamma = tuple(sorted(milestones)), gamma

    def rate_at(self, epoch: Any) -> Any:
        return self.base_lr * self.gamma ** sum(jnp.where(epoch >= m, 1, 0) for m in self.milestones)


@final
class PiecewiseConstantSchedule(Schedule):
    """values[0] before the first of the epochs `boundaries`, values[1] from there on, and so on; whatever base_lr."""

    def __init__(
        self,
        base_lr: float = 1e-3,
        boundaries: Sequence[int] = (1000, 2000),
        values: Sequence[float] = (1.0, 0.1, 0.01),
        last_epoch: int = 0,
    ) -> None:
        super().__init__(base_lr, last_epoch)
        if len(boundaries) != len(values) - 1 or list(boundaries) != sorted(boundaries):
            raise ParameterError(
                f"PiecewiseConstantSchedule(boundaries={boundaries}, values={values}): give ascending epochs, and one value more."
            )
        self.boundaries, self.values = tuple(boundaries), tuple(values)

    def rate_at(self, epoch: Any) -> Any:
        return jnp.asarray(self.values)[jnp.searchsorted(jnp.asarray(self.boundaries), epoch, side="right")]


@final
class ExponentialLR(Schedule):
    """Times gamma at every epoch."""

    def __init__(self, base_lr: float = 1e-3, gamma: float = 0.95, last_epoch: int = 0) -> None:
        super().__init__(base_lr, last_epoch)
        self.gamma = gamma

    def rate_at(self, epoch: Any) -> Any:
        return self.base_lr * self.gamma**epoch


@final
class ExponentialDecayLR(Schedule):
    """Times decay_rate every `decay_steps` epochs from transition_begin on, between them too unless `staircase`; not beyond
    end_value."""

    def __init__(
        self,
        base_lr: float = 1e-3,
        decay_steps: int = 1000,
        decay_rate: float = 0.96,
        transition_begin: int = 0,
        staircase: bool = False,
        end_value: float | None = None,
        last_epoch: int = 0,
    ) -> None:
        super().__init__(base_lr, last_epoch)
        self.decay_steps = whole("ExponentialDecayLR(decay_steps=...)", decay_steps, 1)
        self.decay_rate = checked("ExponentialDecayLR(decay_rate=...)", decay_rate, above=0.0)
        self.transition_begin = whole("ExponentialDecayLR(transition_begin=...)", transition_begin, 0)
        self.staircase, self.end_value = staircase, end_value

    def rate_at(self, epoch: Any) -> Any:
        exponent = jnp.maximum(epoch - self.transition_begin, 0) / self.decay_steps
        rate = self.base_lr * self.decay_rate ** (jnp.floor(exponent) if self.staircase else exponent)
        if self.end_value is None:
            return rate
        return (jnp.maximum if self.decay_rate < 1 else jnp.minimum)(rate, self.end_value)


@final
class PolynomialLR(Schedule):
    """base_lr (1 - epoch / total_iters)^power, and 0 from total_iters on."""

    def __init__(self, base_lr: float = 1e-3, total_iters: int = 5, power: float = 1.0, last_epoch: int = 0) -> None:
        super().__init__(base_lr, last_epoch)
        self.total_iters, self.power = whole("PolynomialLR(total_iters=...)", total_iters, 1), power

    def rate_at(self, epoch: Any) -> Any:
        return self.base_lr * (1.0 - jnp.minimum(epoch, self.total_iters) / self.total_iters) ** self.power
