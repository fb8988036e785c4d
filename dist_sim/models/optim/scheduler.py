"""The contract of a learning-rate scheduler, and of those that are functions of the epoch alone."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dist_sim.core import Module, State
from dist_sim.errors import ParameterError


class OptimState(State):
    """What an optimizer remembers between updates."""


class LRScheduler(Module, ABC):
    """Gives an optimizer its learning rate, a number that changes when `step` is called, once per epoch.

    Args:
        base_lr: the rate it is reckoned from, at least 0.

    Raises:
        ParameterError: another number.
    """

    def __init__(self, base_lr: float = 1e-3) -> None:
        super().__init__()
        self.base_lr = checked(f"{type(self).__name__}(base_lr=...)", base_lr, at_least=0.0)

    @abstractmethod
    def rate(self) -> jax.Array:
        """The present learning rate."""

    @abstractmethod
    def step(self, *args: Any) -> None:
        """The next epoch."""

    def step_epoch(self) -> None:
        """As :meth:`step`."""
        self.step()

    @property
    def current_lrs(self) -> list[jax.Array]:
        """A list of the present learning rate."""
        return [self.rate()]

    def get_lr(self) -> list[jax.Array]:
        """A list of the present learning rate, as in braintools and PyTorch."""
        return [self.rate()]

    get_last_lr = get_lr


class Schedule(LRScheduler):
    """A learning rate that is a function of the epoch, which counts the calls of :meth:`step`.

    Args:
        base_lr: see :class:`LRScheduler`.
        last_epoch: to start from.
    States: last_epoch, int32.
    """

    def __init__(self, base_lr: float = 1e-3, last_epoch: int = 0) -> None:
        super().__init__(base_lr)
        self.last_epoch = OptimState(jnp.asarray(whole(f"{type(self).__name__}(last_epoch=...)", last_epoch, 0), jnp.int32))

    @abstractmethod
    def rate_at(self, epoch: Any) -> Any:
        """The learning rate at an epoch, a number or a traced one."""

    def rate(self) -> jax.Array:
        return jnp.asarray(self.rate_at(self.last_epoch.value), float)

    def step(self, epoch: Any = None) -> None:
        """The next epoch, or this one."""
        self.last_epoch.value = self.last_epoch.value + 1 if epoch is None else jnp.asarray(epoch, jnp.int32)


def checked(where: str, given: Any, *, at_least: float = -math.inf, above: float = -math.inf) -> float:
    """A finite number within bounds.

    Raises:
        ParameterError: anything else.
    """
    is_number = isinstance(given, int | float | np.number | np.ndarray | jax.Array) and not isinstance(given, bool)
    if not is_number or np.ndim(given) or not math.isfinite(given) or not (given >= at_least and given > above):
        bound = f" above {above:g}" if above > -math.inf else f" of at least {at_least:g}" if at_least > -math.inf else ""
        raise ParameterError(f"{where}: needs a finite number{bound}, without unit; got {given!r:.60}.")
    return float(given)


def whole(where: str, given: Any, at_least: int) -> int:
    """A whole number.

    Raises:
        ParameterError: anything else.
    """
    if isinstance(given, bool) or not isinstance(given, int | np.integer) or given < at_least:
        raise ParameterError(f"{where}: needs a whole number of at least {at_least}; got {given!r:.60}.")
    return int(given)


def one_of(where: str, given: Any, allowed: Sequence[str]) -> None:
    """Raises:
    ParameterError: it is none of these.
    """
    if given not in allowed:
        raise ParameterError(f"{where}: got {given!r}; allowed are {', '.join(map(repr, allowed))}.")
