"""The contract of short-term plasticity."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from dist_sim.models.dynamics import Dynamics


class ShortTermPlasticity(Dynamics, ABC):
    """What a spike is worth, by the spikes before it: one value per source, for all of its synapses.

    A model declares its parameters and writes `__init__`, `init_state` and `update`.
    """

    @abstractmethod
    def update(self, pre_spike: Any) -> Any:
        """One step with spikes (or booleans, or part of one) at its end. Returns what they release: 0 where there are none."""
