"""How the input of neurons lies in a device's input vector, and what a unit of it stands for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np


@dataclass(frozen=True, kw_only=True)
class Channels:
    """How the input of one model lies in a device's input vector.

    Attributes:
        count: channels, each with a place for every neuron of the model's block.
        offset: where the first begins.
        routes: receptor type -> channels of its positive and of its negative weights.
        counting: channels that count spikes and leave their weights aside.
        quantum: (count, n) what one unit of the integer input stands for, of the neurons of this process's devices, in the
            unit of the receptor; powers of two. It belongs to the neuron: a strong synapse elsewhere changes nothing.
    """

    structure: ClassVar[tuple[str, ...]] = ("count", "offset")

    count: int
    offset: int
    routes: Mapping[int, tuple[int, int]]
    counting: frozenset[int]
    quantum: np.ndarray

    def quanta(self, receptor: int, places: np.ndarray) -> np.ndarray:
        """(k,) of neurons by their places in the share: the coarser of the two channels of a receptor type."""
        return np.maximum(*(self.quantum[channel, places] for channel in self.routes[receptor]))


def quantum_for(bound: np.ndarray, wide: bool) -> np.ndarray:
    """The powers of two that one unit of an integer weight stands for, so that sums up to `bound` leave a factor 2 of room."""
    return 2.0 ** np.ceil(np.log2(np.maximum(bound, 1e-30) / 2.0 ** (61 if wide else 29)))
