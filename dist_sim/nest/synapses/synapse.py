"""The contract of a NEST-named synapse model."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from dist_sim.kernels import build
from dist_sim.network.plasticity import Stdp


class Synapse(ABC):
    """What `connect(synapse=...)` takes: a model with its parameters.

    Attributes:
        weight, delay: as of `connect`, which takes them from here or from its own arguments; None where they are not given.
        weight_recorder: what `create(weight_recorder)` returned, to record what the synapses pass on; None for nothing.
    """

    weight: Any
    delay: Any
    weight_recorder: Any

    @abstractmethod
    def plasticity(self, weight: build.Draw, unit: str, where: str) -> Stdp | None:
        """How the weights change, in bare numbers; None if they do not.

        Args:
            weight: the initial weights, in `unit`, which is that of the target's input.

        Raises:
            UnitError, ParameterError: parameters that do not fit each other or the target.
        """
