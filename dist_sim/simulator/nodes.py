"""What `create` returns: populations and devices, and parts of populations."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, final

import numpy as np

from dist_sim.errors import ConnectError, ParameterError
from dist_sim.kernels import build
from dist_sim.nest.devices import Device, TrainGenerator
from dist_sim.nest.neurons import NESTNeuron


@final
@dataclass(kw_only=True, eq=False)
class Node:
    """One call of `create`.

    Attributes:
        first_id: global id of the first neuron or spike generator; -1 for devices without ids.
        draws: parameters given, of a neuron model, by row; axes: entries of each axis of lists.
        given: parameters given, of a device; device: made from them.
        tell: checks a parameter of some of the nodes, given by their ids, and returns what sets it: until the network is built.
        network: names the Simulator that created it.
    """

    name: str
    model: type
    size: int
    first_id: int
    draws: Mapping[str, build.Draw]
    given: Mapping[str, Any]
    device: Device | None
    tell: Callable[[Node, np.ndarray, str, Any], Callable[[], None]]
    network: str
    axes: Mapping[str, int] = field(default_factory=dict)

    def __getstate__(self) -> dict[str, Any]:
        # A copy, or what comes out of a file, names what is in a result. It is no part of a network.
        return {**vars(self), "tell": _refuse, "draws": {}, "given": {}, "device": None}

    @property
    def is_neuron(self) -> bool:
        return issubclass(self.model, NESTNeuron)

    @property
    def has_spikes(self) -> bool:
        """Whether its spikes are the same for all targets, so that they can be recorded."""
        return self.is_neuron or issubclass(self.model, TrainGenerator)

    @property
    def emits_spikes(self) -> bool:
        """Whether its spikes travel along synapses."""
        return self.is_neuron or (isinstance(self.device, TrainGenerator) and self.device.by_synapses)


@final
class NodeView:
    """Nodes of a network, to connect and to look up: `len`, indices and slices, `+`.

    Until the network is built, `nodes.I_e = 800 * u.pA` says what `create` could have been told: one quantity for all, an array
    with one for each, or a distribution; `nodes.set(I_e=..., C_m=...)` says several.

    Attributes:
        nodes: what they were created by.
        ids: (n,) global ids; of devices without ids, their numbers from 0.
    """

    nodes: tuple[Node, ...]
    ids: np.ndarray

    def __init__(self, nodes: tuple[Node, ...], ids: np.ndarray):
        vars(self).update(nodes=nodes, ids=ids)

    def __setattr__(self, name: str, value: Any) -> None:
        if name in ("nodes", "ids"):
            raise ParameterError(f"{self.name}.{name}: which nodes these are does not change. Take another view.")
        listed = hasattr(value, "__len__") and not isinstance(value, str) and getattr(value, "ndim", 1) > 0
        if listed and len(self.nodes) > 1 and len(value) != len(self):
            raise ParameterError(f"{self.name}.{name}: {len(value)} values for {len(self)} nodes. Give one, or one for each.")
        changes = []
        for node in self.nodes:
            first = max(node.first_id, 0)
            mine = np.flatnonzero((self.ids >= first) & (self.ids < first + node.size))
            given = value
            if listed and len(self.nodes) > 1:
                given = [value[k] for k in mine] if isinstance(value, list | tuple) else value[mine]
            changes.append(node.tell(node, self.ids[mine], name, given))
        # All or none: a value that does not fit one population is not half set.
        for change in changes:
            change()

    def set(self, params: Mapping[str, Any] | None = None, /, **more: Any) -> None:
        """Several parameters at once, by name.

        Raises:
            UnknownNameError, UnitError, ParameterError: one that does not fit. ConnectError: the network is built.
        """
        for name, value in {**(params or {}), **more}.items():
            setattr(self, name, value)

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
        first = [max(n.first_id, 0) for n in self.nodes]
        there = [bool(((chosen >= f) & (chosen < f + n.size)).any()) for f, n in zip(first, self.nodes, strict=True)]
        return NodeView(tuple(n for n, kept in zip(self.nodes, there, strict=True) if kept) or self.nodes[:1], chosen)

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


def _refuse(node: Node, ids: np.ndarray, name: str, value: Any) -> Callable[[], None]:
    raise ConnectError(f"{node.name}.{name}: this is a copy, which names what is in a result. Set it in the network itself.")
