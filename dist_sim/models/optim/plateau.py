"""A learning rate that falls when training stands still."""

from __future__ import annotations

from typing import Any, final

import jax
import jax.numpy as jnp
import numpy as np

from dist_sim.errors import ParameterError
from dist_sim.models.optim.scheduler import LRScheduler, OptimState, one_of


@final
class ReduceLROnPlateau(LRScheduler):
    """Times `factor`, but not below min_lr, when what is measured has not become better for more than `patience` epochs; after
    that, `cooldown` epochs are not counted.

    Args:
        mode: better is less ("min") or more ("max"), by more than `threshold`, "rel" of the best so far or "abs".
    States: lr, best [that of the metric], num_bad_epochs and cooldown_counter (int32).
    Raises: ParameterError: another mode, a factor of 1 or more.
    """

    def __init__(
        self,
        base_lr: float = 1e-3,
        mode: str = "min",
        factor: float = 0.1,
        patience: int = 10,
        threshold: float = 1e-4,
        threshold_mode: str = "rel",
        cooldown: int = 0,
        min_lr: float = 0.0,
    ) -> None:
        super().__init__(base_lr)
        one_of("ReduceLROnPlateau(mode=...)", mode, ("min", "max"))
        one_of("ReduceLROnPlateau(threshold_mode=...)", threshold_mode, ("rel", "abs"))
        if not 0.0 <= factor < 1.0:
            raise ParameterError(f"ReduceLROnPlateau(factor={factor}): needs a number from 0 to below 1.")
        self.mode, self.factor, self.patience, self.threshold = mode, factor, patience, threshold
        self.threshold_mode, self.cooldown, self.min_lr = threshold_mode, cooldown, min_lr
        self.lr = OptimState(jnp.asarray(self.base_lr, float))
        self.best = OptimState(jnp.asarray(np.inf if mode == "min" else -np.inf, float))
        self.num_bad_epochs, self.cooldown_counter = (OptimState(jnp.zeros((), jnp.int32)) for _ in range(2))

    def rate(self) -> jax.Array:
        return self.lr.value

    def step(self, metric: Any) -> None:
        """The next epoch, in which `metric` was measured, a number without unit."""
        best, resting = self.best.value, self.cooldown_counter.value > 0
        margin = self.threshold if self.mode == "max" else -self.threshold
        bar = best * (1.0 + margin) if self.threshold_mode == "rel" else best + margin
        better = metric < bar if self.mode == "min" else metric > bar
        bad = jnp.where(resting, self.num_bad_epochs.value, jnp.where(better, 0, self.num_bad_epochs.value + 1))
        reduce = ~resting & (bad > self.patience)
        self.best.value = jnp.where(~resting & better, metric, best)
        self.num_bad_epochs.value = jnp.where(reduce, 0, bad)
        rest = self.cooldown_counter.value
        self.cooldown_counter.value = jnp.where(reduce, self.cooldown, jnp.maximum(rest - 1, 0))
        self.lr.value = jnp.where(reduce, jnp.maximum(self.lr.value * self.factor, self.min_lr), self.lr.value)
