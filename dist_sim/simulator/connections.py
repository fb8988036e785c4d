"""`get_connections`: which synapses there are, and what their weights are now."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, final

import brainunit as u
import numpy as np

from dist_sim import units
from dist_sim.errors import ConnectError, ParameterError, UnknownNameError
from dist_sim.kernels import build
from dist_sim.nest.synapses import SYNAPSES
from dist_sim.network.connection import Connection, on_host
from dist_sim.simulator.assembly import Description

if TYPE_CHECKING:
    from dist_sim.simulator.simulation import Simulation

_NAMES = ("source", "target", "delay", "weight", "Kplus", "synapse_model")


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class SynapseCollection:
    """Synapses in order of (target id, source id, connection, slot): the same on any placement.

    Attributes:
        source, target: (n,) global ids.
        delay: (n,) [ms].
    """

    source: np.ndarray
    target: np.ndarray
    delay: u.Quantity
    _unit: str | None
    _first: np.ndarray
    _plastic: np.ndarray
    _place: np.ndarray
    _simulation: Callable[[], Simulation | None]

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: Any) -> SynapseCollection:
        def part(values: Any) -> Any:
            return values[index] if isinstance(index, slice) else values[np.atleast_1d(index)]

        try:
            chosen = {name: part(getattr(self, name)) for name in ("source", "target", "delay", "_first", "_plastic", "_place")}
        except (IndexError, TypeError) as error:
            raise ParameterError(f"{self!r}[{index!r:.40}]: indices from 0, a slice or a mask over them is needed.") from error
        return replace(self, **chosen)

    def get(self, names: str | Sequence[str]) -> Any:
        """Properties now: one by its name, or several as a dictionary.

        Args:
            names: source, target, delay [ms], weight [unit of the targets' input], Kplus of plastic synapses, synapse_model.

        Raises:
            UnknownNameError: no such property. ConnectError: weights in different units, or Kplus of static synapses.
        """
        if not isinstance(names, str):
            return {name: self.get(name) for name in names}
        if names in ("source", "target", "delay"):
            return getattr(self, names)
        if names == "weight":
            return self._weight()
        if names == "Kplus":
            return self._Kplus()
        if names == "synapse_model":
            return np.where(self._plastic >= 0, "stdp_synapse", "static_synapse")
        raise UnknownNameError("property", names, _NAMES, where="SynapseCollection.get")

    def _weight(self) -> u.Quantity:
        if self._unit is None:
            raise ConnectError(f"{self!r}.get('weight'): weights in pA and in mV. Ask for targets of one model at a time.")
        return units.quantity(self._now(0, self._first), self._unit)

    def _Kplus(self) -> np.ndarray:
        if (self._plastic < 0).any():
            raise ConnectError(f"{self!r}.get('Kplus'): static synapses have none. Ask for synapse='stdp_synapse'.")
        return self._now(1, self._plastic)

    def _now(self, column: int, values: np.ndarray) -> np.ndarray:
        """Initial values, with those of plastic synapses as they are now."""
        values, changed = values.copy(), self._plastic >= 0
        simulation = self._simulation()
        plastic = None if simulation is None else simulation.network.projection.plastic
        if plastic is not None and changed.any():
            values[changed] = plastic.synapses()[self._place[changed], column]
        return values

    def __repr__(self) -> str:
        return f"SynapseCollection({len(self)} synapses)"


def find(
    d: Description,
    simulation: Callable[[], Simulation | None],
    source: np.ndarray | None,
    target: np.ndarray | None,
    synapse: str | None,
) -> SynapseCollection:
    """The synapses from `source` to `target` (global ids; None: all) of one model, or of all.

    They are drawn again on the host, from the same keys as on the devices; weights are read from the network that `simulation`
    gives, once it is built.
    """
    if synapse is not None and synapse not in SYNAPSES:
        raise UnknownNameError("synapse", synapse, SYNAPSES, where="get_connections")
    place_of = _places([c for c in d.connections if c.plasticity is not None], d)
    parts: list[tuple[np.ndarray, ...]] = [tuple(np.zeros(0, t) for t in (int, int, int, float, float, int, int, int))]
    found_units = set()
    for number, c in enumerate(d.connections):
        plastic = c.plasticity is not None
        if synapse is not None and (synapse == "stdp_synapse") != plastic:
            continue
        local = np.arange(len(c.post_ids)) if target is None else np.flatnonzero(np.isin(c.post_ids, target))
        drawn = build.draw_values(on_host(c, local, seed=d.seed, backend=d.backend), seed=d.seed, dt=d.dt)
        chosen = np.full(len(drawn.source), True) if source is None else np.isin(drawn.source, source)
        post = c.post_ids[local[drawn.target]]
        place = place_of[id(c)][local[drawn.target]] + drawn.slot.astype(np.int64) if plastic else np.full(len(post), -1)
        Kplus = np.full(len(post), c.plasticity.Kplus if c.plasticity is not None else -1.0)
        order = np.full(len(post), number)
        columns = (drawn.source, post, drawn.delay, drawn.weight, Kplus, place, order, drawn.slot)
        parts.append(tuple(column[chosen] for column in columns))
        if chosen.any():
            found_units.add(d.models[c.group].input_unit)
    pre, post, delay, weight, Kplus, place, order, slot = (np.concatenate(column) for column in zip(*parts, strict=True))
    by = np.lexsort((slot, order, pre, post))
    return SynapseCollection(
        source=pre[by],
        target=post[by],
        delay=units.quantity(delay[by] * d.dt, "ms"),
        _unit=found_units.pop() if len(found_units) == 1 else None if found_units else "pA",
        _first=weight[by],
        _plastic=Kplus[by],
        _place=place[by],
        _simulation=simulation,
    )


def plastic_ends(d: Description, place: int) -> tuple[int, int]:
    """Source and target id of the synapse at a place among all plastic synapses of the network."""
    plastic = [c for c in d.connections if c.plasticity is not None]
    places = _places(plastic, d)
    # Several begin at one place where some have no synapses.
    begin = max(int(first[first <= place].max(initial=0)) for first in places.values())
    targets = np.concatenate([c.post_ids[places[id(c)] == begin] for c in plastic])
    found = find(d, lambda: None, None, targets, "stdp_synapse")
    (at,) = np.flatnonzero(found._place == place)
    return int(found.source[at]), int(found.target[at])


def _places(plastic: Sequence[Connection], d: Description) -> dict[int, np.ndarray]:
    """Per plastic connection, by its identity: (num_post,) place of the first synapse of each target among all plastic synapses
    of the network, in order of (target id, connection, slot)."""
    degrees = {
        id(c): c.rule.sources(c.ends(np.arange(len(c.post_ids)), seed=d.seed, backend=d.backend)).degrees for c in plastic
    }
    total = np.zeros(d.num_ids, dtype=np.int64)
    for c in plastic:
        total[c.post_ids] += degrees[id(c)]
    place, first = {}, np.cumsum(total) - total
    for c in plastic:
        place[id(c)] = first[c.post_ids].copy()
        first[c.post_ids] += degrees[id(c)]
    return place
