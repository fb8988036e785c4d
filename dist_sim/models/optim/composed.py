"""Learning rates made of others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, final

import jax.numpy as jnp

from dist_sim.errors import ParameterError
from dist_sim.models.optim.scheduler import Schedule


@final
class ChainedScheduler(Schedule):
    """All of several schedules at once: the base_lr of the first, times how each has changed its own.

    Raises:
        ParameterError: none, or some that are no functions of the epoch.
    """

    def __init__(self, schedulers: Sequence[Schedule]) -> None:
        _schedules("ChainedScheduler", schedulers)
        super().__init__(schedulers[0].base_lr)
        self.schedulers = tuple(schedulers)

    def rate_at(self, epoch: Any) -> Any:
        rate = self.base_lr
        for s in self.schedulers:
            rate = rate * (s.rate_at(epoch + s.last_epoch.value) / s.base_lr if s.base_lr else 0.0)
        return rate


@final
class SequentialLR(Schedule):
    """One schedule after the other: each from its epoch in `milestones` on, and counted from there.

    Raises:
        ParameterError: other than one schedule more than milestones; milestones that do not ascend.
    """

    def __init__(self, schedulers: Sequence[Schedule], milestones: Sequence[int], last_epoch: int = 0) -> None:
        _schedules("SequentialLR", schedulers)
        super().__init__(schedulers[0].base_lr, last_epoch)
        if len(schedulers) != len(milestones) + 1 or list(milestones) != sorted(milestones):
            raise ParameterError(
                f"SequentialLR(milestones={milestones}): give ascending epochs, one less than the {len(schedulers)} schedulers."
            )
        self.schedulers, self.milestones = tuple(schedulers), tuple(milestones)

    def rate_at(self, epoch: Any) -> Any:
        rate = self.schedulers[0].rate_at(epoch)
        for start, schedule in zip(self.milestones, self.schedulers[1:], strict=True):
            # Before its start a schedule is asked for its first epoch, and not heard.
            rate = jnp.where(epoch < start, rate, schedule.rate_at(jnp.maximum(epoch - start, 0)))
        return rate


def _schedules(where: str, given: Sequence[Any]) -> None:
    if not given or not all(isinstance(s, Schedule) for s in given):
        raise ParameterError(
            f"{where}(schedulers=...): needs at least one schedule, each a function of the epoch such as StepLR."
        )
