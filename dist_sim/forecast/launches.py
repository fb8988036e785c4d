"""How many kernels a step launches where each costs a latency, whatever its size.

Counted in what XLA compiles for an H200 (tests/accelerators). A pass through the loops inside a step, of models with an adaptive
solver and of synapses that changed, is not counted.
"""

from __future__ import annotations

from collections.abc import Sequence

from dist_sim.kernels.plastic import SynapseText


def launches(backend: str, *, models: int, devices: int, drives: int, changing: Sequence[SynapseText]) -> int:
    """Of a step, on each device.

    Args:
        backend: whose kernels: 'cuda' or 'reference'.
        models: of neurons; drives: layers of Poisson input; changing: synapses that change, of each family.
    """
    plastic = sum(_LISTENING[backend] if text.listens else _DEAF for text in changing)
    if backend == "cuda":  # deliver, push, Poisson, each model; and of XLA what puts them together
        return 4 + 2 * models + drives + plastic + 2 * (devices > 1)
    return 16 + 4 * models + 2 * drives + plastic + 4 * (devices > 1)


# A family of synapses that change: with the spikes of their targets, or not.
_LISTENING, _DEAF = {"cuda": 18, "reference": 15}, 4
