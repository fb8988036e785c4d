"""The contract of a regulariser, what a loss has added for the values of a parameter; and several together."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, final

import brainunit as u
import jax.numpy as jnp

from dist_sim.core import Module, ParamState, State, environ


class Regularization(Module, ABC):
    """A regulariser: :meth:`loss` of the values of a parameter, where they may start, and what they are without data.

    Args:
        fit_hyper: its own numbers are trained, too; they are ParamStates then.
    """

    def __init__(self, fit_hyper: bool = False) -> None:
        super().__init__()
        self.fit_hyper = fit_hyper

    @abstractmethod
    def loss(self, value: Any) -> Any:
        """What is added to the loss, one number."""

    def sample_init(self, shape: Any) -> Any:
        """Values to start with, at random from `ds.random`, of this shape."""
        raise NotImplementedError(f"{type(self).__name__} does not define sample_init().")

    def reset_value(self) -> Any:
        """The likeliest value: that of a parameter which nothing is known of."""
        raise NotImplementedError(f"{type(self).__name__} does not define reset_value().")

    def _kept(self, given: Any) -> Any:
        """One of its own numbers, as it is kept: to be trained, or not."""
        value = u.math.asarray(given, dtype=environ.dftype())
        return ParamState(value) if self.fit_hyper else value


@final
class ChainedReg(Regularization):
    """The sum of several, times `weight`. Values start as the first one says."""

    def __init__(self, *regularizations: Regularization, weight: float = 1.0, fit_hyper: bool = False) -> None:
        super().__init__(fit_hyper)
        self.regularizations = regularizations
        self.weight = weight

    def loss(self, value: Any) -> Any:
        return self.weight * sum((each.loss(value) for each in self.regularizations), 0.0)

    def sample_init(self, shape: Any) -> Any:
        return self.regularizations[0].sample_init(shape) if self.regularizations else jnp.zeros(shape)

    def reset_value(self) -> Any:
        return self.regularizations[0].reset_value() if self.regularizations else 0.0


def read(kept: Any) -> Any:
    """One of a regulariser's own numbers."""
    return kept.value if isinstance(kept, State) else kept


def positive(kept: Any) -> Any:
    """One that must be above 0, also where training has moved it elsewhere."""
    return jnp.maximum(read(kept), 0.0) + 1e-8
