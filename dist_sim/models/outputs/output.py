"""The contract of a synaptic output: the current that a conductance causes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, final

from dist_sim.core import Module
from dist_sim.errors import ParameterError
from dist_sim.models.describe import Described
from dist_sim.models.dynamics import Handover


class SynOut(Module, Described, ABC):
    """The current that flows at a potential, by the conductance that was bound in the same step.

    An output writes `update`, and declares its parameters in its body.
    """

    in_size: tuple[int, ...] = ()  # parameters are one number

    def __init__(self, name: str | None = None) -> None:
        super().__init__(name)
        self._conductance = Handover()

    @final
    def bind_cond(self, conductance: Any) -> None:
        """The conductance for the rest of this step."""
        self._conductance.put(conductance)

    @final
    def unbind_cond(self) -> None:
        """At the end of a step: in the next one it is bound anew."""
        self._conductance.take()

    @final
    def __call__(self, potential: Any) -> Any:
        if not self._conductance.is_there:
            raise ParameterError(
                f"{type(self).__name__}: no conductance was bound in this step. Call the population, as in `post(x)`: "
                "`post.update(x)` leaves out the synapses that run before it."
            )
        return self.update(self._conductance.look(), potential)

    @abstractmethod
    def update(self, conductance: Any, potential: Any) -> Any:
        """The current."""
