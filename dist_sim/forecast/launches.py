"""How many kernels a step launches where each costs a latency, whatever its size.

Counted in what XLA compiles for an H200 and for a TPU v5e (tests/accelerators). A pass through the loops inside a step, of models
with an adaptive solver and of synapses that changed, is not counted.
"""

from __future__ import annotations

from collections.abc import Sequence

from dist_sim.kernels.plastic import SynapseText


def launches(platform: str, backend: str, *, models: int, devices: int, drives: int, changing: Sequence[SynapseText]) -> int:
    """Of a step, on each device; on a TPU fused operations, whose number hardly depends on the network (110 to 166 were counted).

    Args:
        platform: 'gpu' or 'tpu'; backend: 'cuda' or 'reference'.
        models: of neurons; drives: layers of Poisson input; changing: synapses that change, of each family.
    """
    listening = {"cuda": 18, "reference": 15}[backend] if platform == "gpu" else 30
    plastic = sum(listening if text.listens else 4 for text in changing)
    if platform == "tpu":
        return 130 + plastic
    if backend == "cuda":  # deliver, push, Poisson, each model; and of XLA what puts them together
        return 4 + 2 * models + drives + plastic + 2 * (devices > 1)
    return 16 + 4 * models + 2 * drives + plastic + 4 * (devices > 1)
