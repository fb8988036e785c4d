"""The contract of a BrainPy-style synapse."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

from dist_sim.models.dynamics import Dynamics


class Synapse(Dynamics, ABC):
    """Synaptic dynamics with one value per neuron, of the side it is aligned with.

    A synapse declares its parameters and writes `__init__`, `init_state` and `update`.

    Attributes:
        is_align_post: linear with the same time constants for all synapses of a neuron, so that their sum obeys the same
            equation and one value per target is exact.
        g_initializer: where the conductance starts; its unit is that of the conductance.
    """

    is_align_post: ClassVar[bool] = False
    g_initializer: Any

    @abstractmethod
    def update(self, x: Any = None) -> Any:
        """One step, with `x` arriving at its end. Returns the conductance."""
