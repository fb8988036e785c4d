"""Learning rates along cosines and triangles, as functions of the epoch."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, final

import jax.numpy as jnp

from dist_sim.errors import ParameterError
from dist_sim.models.optim.scheduler import Schedule, one_of, whole


def _half_cosine(part: Any) -> Any:
    """From 1 at 0 to 0 at 1."""
    return (1.0 + jnp.cos(math.pi * part)) / 2.0


@final
class CosineAnnealingLR(Schedule):
    """Half a cosine from base_lr to eta_min at the epoch T_max; eta_min from there on."""

    def __init__(self, base_lr: float = 1e-3, T_max: int = 50, eta_min: float = 0.0, last_epoch: int = 0) -> None:
        super().__init__(base_lr, last_epoch)
        self.T_max, self.eta_min = whole("CosineAnnealingLR(T_max=...)", T_max, 1), eta_min

    def rate_at(self, epoch: Any) -> Any:
        return self.eta_min + (self.base_lr - self.eta_min) * _half_cosine(jnp.minimum(epoch, self.T_max) / self.T_max)


@final
class CosineAnnealingWarmRestarts(Schedule):
    """Half a cosine from base_lr to eta_min over T_0 epochs, then again over T_mult times as many, and so on.

    Source: Loshchilov & Hutter (2017), arXiv:1608.03983.
    """

    def __init__(self, base_lr: float = 1e-3, T_0: int = 10, T_mult: int = 1, eta_min: float = 0.0, last_epoch: int = 0) -> None:
        super().__init__(base_lr, last_epoch)
        self.T_0 = whole("CosineAnnealingWarmRestarts(T_0=...)", T_0, 1)
        self.T_mult = whole("CosineAnnealingWarmRestarts(T_mult=...)", T_mult, 1)
        self.eta_min = eta_min
        # Of all rounds that begin at an epoch an int32 can count.
        rounds = [0, T_0]
        while T_mult > 1 and rounds[-1] < 2**31:
            rounds.append(rounds[-1] + (rounds[-1] - rounds[-2]) * T_mult)
        self._starts = tuple(min(n, 2**31 - 1) for n in rounds)

    def rate_at(self, epoch: Any) -> Any:
        if self.T_mult == 1:
            part = (epoch % self.T_0) / self.T_0
        else:
            starts = jnp.asarray(self._starts, jnp.int32)
            n = jnp.searchsorted(starts, epoch, side="right")
            part = (epoch - starts[n - 1]) / (starts[n] - starts[n - 1])
        return self.eta_min + (self.base_lr - self.eta_min) * _half_cosine(part)


@final
class WarmupCosineSchedule(Schedule):
    """From warmup_start_lr to base_lr, linearly over `warmup_steps` epochs; then half a cosine to eta_min at total_steps."""

    def __init__(
        self,
        base_lr: float = 1e-3,
        warmup_steps: int = 1000,
        total_steps: int = 10000,
        warmup_start_lr: float = 0.0,
        eta_min: float = 0.0,
        last_epoch: int = 0,
    ) -> None:
        super().__init__(base_lr, last_epoch)
        self.warmup_steps = whole("WarmupCosineSchedule(warmup_steps=...)", warmup_steps, 0)
        self.total_steps = whole("WarmupCosineSchedule(total_steps=...)", total_steps, self.warmup_steps + 1)
        self.warmup_start_lr, self.eta_min = warmup_start_lr, eta_min

    def rate_at(self, epoch: Any) -> Any:
        up = self.warmup_start_lr + (self.base_lr - self.warmup_start_lr) * epoch / max(self.warmup_steps, 1)
        part = jnp.clip((epoch - self.warmup_steps) / (self.total_steps - self.warmup_steps), 0.0, 1.0)
        return jnp.where(epoch < self.warmup_steps, up, self.eta_min + (self.base_lr - self.eta_min) * _half_cosine(part))


@final
class CyclicLR(Schedule):
    """Up from base_lr to max_lr and down again, again and again, each time by `scale_fn`, or: "triangular" as high as before,
    "triangular2" half as high, "exp_range" gamma^epoch as high.

    Source: Smith (2017), doi:10.1109/WACV.2017.58.
    """

    def __init__(
        self,
        base_lr: float = 1e-3,
        max_lr: float = 1e-2,
        step_size_up: int = 2000,
        step_size_down: int | None = None,
        mode: str = "triangular",
        gamma: float = 1.0,
        scale_fn: Callable[[Any], Any] | None = None,
        scale_mode: str = "cycle",
        last_epoch: int = 0,
    ) -> None:
        super().__init__(base_lr, last_epoch)
        one_of("CyclicLR(mode=...)", mode, ("triangular", "triangular2", "exp_range"))
        one_of("CyclicLR(scale_mode=...)", scale_mode, ("cycle", "iterations"))
        self.max_lr, self.mode, self.gamma, self.scale_fn, self.scale_mode = max_lr, mode, gamma, scale_fn, scale_mode
        self.step_size_up = whole("CyclicLR(step_size_up=...)", step_size_up, 1)
        self.step_size_down = whole("CyclicLR(step_size_down=...)", step_size_down or step_size_up, 1)

    def rate_at(self, epoch: Any) -> Any:
        length = self.step_size_up + self.step_size_down
        cycle, at = epoch // length, epoch % length
        height = jnp.where(at < self.step_size_up, at / self.step_size_up, (length - at) / self.step_size_down)
        if self.scale_fn is not None:
            scale = self.scale_fn(cycle + 1 if self.scale_mode == "cycle" else epoch)
        else:
            scale = {"triangular": 1.0, "triangular2": 0.5**cycle, "exp_range": self.gamma**epoch}[self.mode]
        return self.base_lr + (self.max_lr - self.base_lr) * height * scale


@final
class OneCycleLR(Schedule):
    """Up from max_lr / div_factor to max_lr, linearly over pct_start of total_steps, then down to max_lr / final_div_factor.

    Args:
        total_steps: of the whole; or give epochs and steps_per_epoch.
        anneal_strategy: how it goes down, "cos" or "linear".
    Source: Smith & Topin (2018), arXiv:1708.07120.
    """

    def __init__(
        self,
        max_lr: float = 1e-2,
        total_steps: int | None = None,
        epochs: int | None = None,
        steps_per_epoch: int | None = None,
        pct_start: float = 0.3,
        anneal_strategy: str = "cos",
        div_factor: float = 25.0,
        final_div_factor: float = 1e4,
        last_epoch: int = 0,
    ) -> None:
        super().__init__(max_lr / div_factor, last_epoch)
        one_of("OneCycleLR(anneal_strategy=...)", anneal_strategy, ("cos", "linear"))
        if not 0.0 < pct_start < 1.0:
            raise ParameterError(f"OneCycleLR(pct_start={pct_start}): a part of the steps lies between 0 and 1.")
        if total_steps is None and (epochs is None or steps_per_epoch is None):
            raise ParameterError("OneCycleLR: give total_steps, or epochs and steps_per_epoch.")
        steps = (epochs or 0) * (steps_per_epoch or 0) if total_steps is None else total_steps
        self.total_steps = whole("OneCycleLR(total_steps=...)", steps, 1)
        self.max_lr, self.min_lr, self.pct_start, self.anneal_strategy = (
            max_lr,
            max_lr / final_div_factor,
            pct_start,
            anneal_strategy,
        )

    def rate_at(self, epoch: Any) -> Any:
        top = self.pct_start * self.total_steps
        up = self.base_lr + (self.max_lr - self.base_lr) * epoch / top
        part = jnp.clip((epoch - top) / (self.total_steps - top), 0.0, 1.0)
        down = _half_cosine(part) if self.anneal_strategy == "cos" else 1.0 - part
        return jnp.where(epoch <= top, up, self.min_lr + (self.max_lr - self.min_lr) * down)
