from __future__ import annotations

from typing import Any, final

from dist_sim.kernels import build
from dist_sim.nest.synapses.synapse import Synapse


@final
class static_synapse(Synapse):
    """Synapses whose weights never change.

    Args:
        weight, delay: as of `connect`.
        weight_recorder: records each spike that they pass on.
    """

    def __init__(self, *, weight: Any = None, delay: Any = None, weight_recorder: Any = None):
        self.weight, self.delay, self.weight_recorder = weight, delay, weight_recorder

    def plasticity(self, weight: build.Draw, unit: str, where: str) -> None:
        del weight, unit, where
