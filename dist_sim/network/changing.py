"""What a connection says of synapses that change."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, final

from dist_sim.kernels.plastic import SynapseText


class SynapseModel(Protocol):
    """A model of synapses that change."""

    name: str

    def text(self, dtype: Any, uniforms: int) -> SynapseText:
        """What spikes do to one synapse, with so many random numbers for a presynaptic one."""
        ...

    def target_taus(self) -> tuple[str, ...]:
        """Parameters of the target that are the time constants of the traces."""
        ...


@final
@dataclass(frozen=True, kw_only=True)
class Changing:
    """Synapses of one connection whose variables change.

    Attributes:
        model: what spikes do to them.
        parameters: by name [ms, unit of the target's input, or none].
        initial: values of the variables besides the weight.
        largest: no synapse passes on more than this [unit of the target's input], whatever happens.
        bounded: whether that follows from the model; else it is looked at after each chunk.
        uniforms: random numbers that a presynaptic spike takes.
        released: what they pass on is what their sources release of their weights, which stay: these are what a recorder sees.
    """

    model: SynapseModel
    parameters: Mapping[str, float]
    initial: Mapping[str, float]
    largest: float
    bounded: bool = True
    uniforms: int = 0
    released: bool = False
