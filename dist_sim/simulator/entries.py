"""Synapses that have an entry of their own in the lists of their targets: which entry, and its weight."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from dist_sim.errors import ConnectError
from dist_sim.kernels import build
from dist_sim.nest.declared import Receptor
from dist_sim.nest.neurons import NESTNeuron
from dist_sim.network.connection import Connection, on_host
from dist_sim.network.rules import one_to_one

MOST = 32  # entries of a neuron: the text of its step grows with them, and takes minutes to compile with some hundreds


@dataclass(frozen=True, kw_only=True)
class Entries:
    """The synapses of one receptor where each has an entry of its own, numbered in each target in order of (connection, slot).

    Attributes:
        ids: (n,) global ids of the targets, ascending; weights: (entries, n) of their synapses, 0 where there is none.
        connections: the synapses of each entry, to a receptor type of its own.
    """

    model: type[NESTNeuron]
    receptor: Receptor
    ids: np.ndarray
    weights: np.ndarray
    connections: Sequence[Connection]

    @property
    def axis(self) -> str:
        assert self.receptor.axis is not None
        return self.receptor.axis

    def values(self, ids: np.ndarray) -> dict[str, np.ndarray]:
        """Weights of neurons by global id, (k,) by row."""
        place = np.searchsorted(self.ids, ids)
        known = np.append(self.ids, -1)[place] == ids
        padded = np.append(self.weights, np.zeros((len(self.weights), 1)), axis=1)
        return {f"{self.receptor.weights}[{k}]": np.where(known, row[place], 0.0) for k, row in enumerate(padded)}


def entries_of(
    model: type[NESTNeuron], receptor: Receptor, connections: Sequence[Connection], *, seed: int, dt: float, backend: str
) -> Entries:
    """Those of some connections, drawn on the host from the same keys as anywhere, hence the same on every placement.

    Raises:
        ConnectError: a neuron with more synapses than a text has room for.
    """
    everyone = [np.arange(len(c.post_ids)) for c in connections]
    drawn = [
        build.draw_values(on_host(c, local, seed=seed, backend=backend), seed=seed, dt=dt)
        for c, local in zip(connections, everyone, strict=True)
    ]
    source, slot, weight, delay = (
        np.concatenate([np.zeros(0), *(getattr(x, name) for x in drawn)]) for name in ("source", "slot", "weight", "delay")
    )
    target = np.concatenate([np.zeros(0, np.int64), *(c.post_ids[x.target] for c, x in zip(connections, drawn, strict=True))])
    of = np.repeat(np.arange(len(drawn)), [len(x.source) for x in drawn])
    order = np.lexsort((slot, of, target))
    ids, first, degree = np.unique(target[order], return_index=True, return_counts=True)
    number = np.empty(len(order), np.int64)
    number[order] = np.arange(len(order)) - np.repeat(first, degree)
    if len(ids) and degree.max() > MOST:
        most = int(degree.argmax())
        raise ConnectError(
            f"{connections[of[target == ids[most]][-1]].where}: neuron {ids[most]} has {degree[most]} synapses of "
            f"receptor_type={receptor.port}; a {model.__name__} has states of its own for each, and takes at most {MOST}. "
            "Make fewer, or use a model whose synapses share their states."
        )
    weights = np.zeros((int(degree.max(initial=0)), len(ids)))
    weights[number, np.searchsorted(ids, target)] = weight
    apart = []
    for k in range(len(weights)):
        # A target has one synapse of each number.
        its = number == k
        steps = delay[its] * dt
        apart.append(
            replace(
                connections[0],
                pre_ids=source[its].astype(np.int64),
                post_ids=target[its],
                rule=one_to_one(),
                weight=build.Draw(kind=build.CONSTANT, a=1.0),
                delay=build.Draw(kind=build.ARRAY, values=steps, shape=steps.shape),
                autapses=True,
                receptor=receptor.port + k,
                watched_by=None,
            )
        )
    return Entries(model=model, receptor=receptor, ids=ids, weights=weights, connections=apart)
