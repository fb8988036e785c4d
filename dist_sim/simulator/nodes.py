"""What `create` returns: populations and devices, and parts of populations."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, final

import numpy as np

from dist_sim.errors import ConnectError, ParameterError
from dist_sim.kernels import build
from dist_sim.nest.devices import Device, spike_generator
from dist_sim.nest.neurons import NESTNeuron


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Node:
    """One call of `create`.

    Attributes:
        first_id: global id of the first neuron or spike generator; -1 for devices without ids.
        draws: parameters given, of a neuron model, by row; axes: entries of each axis of lists.
        device: the description, of a device.
    """

    name: str
    model: type
    size: int
    first_id: int
    draws: Mapping[str, build.Draw]
    device: Device | None
    axes: Mapping[str, int] = field(default_factory=dict)

    @property
    def is_neuron(self) -> bool:
        return issubclass(self.model, NESTNeuron)

    @property
    def emits_spikes(self) -> bool:
        """Whether its spikes travel along synapses."""
        return self.is_neuron or self.model is spike_generator


@final
class NodeView:
    """Nodes of a network, to connect and to look up: `len`, indices and slices, `+`.

    Attributes:
        nodes: what they were created by.
        ids: (n,) global ids; of devices without ids, their numbers from 0.
    """

    def __init__(self, nodes: tuple[Node, ...], ids: np.ndarray):
        self.nodes, self.ids = nodes, ids

    @property
    def node(self) -> Node:
        """The one node that the view is of."""
        if len(self.nodes) != 1:
            names = ", ".join(n.name for n in self.nodes)
            raise ConnectError(f"{names}: one population is needed here, not a union of {len(self.nodes)}.")
        return self.nodes[0]

    @property
    def name(self) -> str:
        return "+".join(n.name for n in self.nodes)

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: Any) -> NodeView:
        try:
            chosen = np.atleast_1d(self.ids[index])
        except IndexError as error:
            raise ParameterError(f"{self.name}[{index}]: it has {len(self)} nodes, with indices from 0.") from error
        if not isinstance(index, int | slice) and len(np.unique(chosen)) != len(chosen):
            raise ParameterError(f"{self.name}[...]: a node is chosen more than once. Each may be in a view once.")
        return NodeView(self.nodes, chosen)

    def __iter__(self) -> Iterator[NodeView]:
        return (self[k] for k in range(len(self)))

    def __add__(self, other: NodeView) -> NodeView:
        nodes = (*self.nodes, *(n for n in other.nodes if n not in self.nodes))
        if any(n.first_id < 0 for n in nodes):
            raise ConnectError(f"{self.name} + {other.name}: only neurons and spike generators can be joined.")
        ids = np.concatenate([self.ids, other.ids])
        if len(np.unique(ids)) != len(ids):
            raise ConnectError(f"{self.name} + {other.name}: they have nodes in common.")
        return NodeView(nodes, ids)

    def __repr__(self) -> str:
        span = f"ids {self.ids.min()}..{self.ids.max()}" if len(self.ids) and self.nodes[0].first_id >= 0 else f"{len(self.ids)}"
        return f"NodeView({self.name}: {span})"
