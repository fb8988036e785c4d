"""`get_connections`: which synapses there are, and what they are like now."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, final

import brainunit as u
import numpy as np

from dist_sim import units
from dist_sim.errors import ConnectError, ParameterError, UnknownNameError
from dist_sim.kernels import build
from dist_sim.nest.neurons.shape import receptor_unit
from dist_sim.nest.synapses import SYNAPSES
from dist_sim.nest.synapses.declared import WEIGHT
from dist_sim.network.connection import Connection, on_host
from dist_sim.simulator.assembly import Description

if TYPE_CHECKING:
    from dist_sim.simulator.simulation import Simulation

_NAMES = ("source", "target", "delay", "weight", "synapse_model")


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
    _first: np.ndarray
    _connection: np.ndarray
    _local: np.ndarray
    _slot: np.ndarray
    _description: Description
    _simulation: Callable[[], Simulation | None]

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: Any) -> SynapseCollection:
        def part(values: Any) -> Any:
            return values[index] if isinstance(index, slice) else values[np.atleast_1d(index)]

        columns = ("source", "target", "delay", "_first", "_connection", "_local", "_slot")
        try:
            chosen = {name: part(getattr(self, name)) for name in columns}
        except (IndexError, TypeError) as error:
            raise ParameterError(f"{self!r}[{index!r:.40}]: indices from 0, a slice or a mask over them is needed.") from error
        return replace(self, **chosen)

    def get(self, names: str | Sequence[str]) -> Any:
        """Properties now: one by its name, or several as a dictionary.

        Args:
            names: source, target, delay [ms], weight [unit of the targets' input], synapse_model, and the variables and
                parameters of the synapse models (Kplus, x, tau_plus, ...).

        Raises:
            UnknownNameError: no such property. ConnectError: weights in different units, or what only some of the synapses have.
        """
        if not isinstance(names, str):
            return {name: self.get(name) for name in names}
        if names in ("source", "target", "delay"):
            return getattr(self, names)
        connections = [self._description.connections[k] for k in np.unique(self._connection)]
        models = {c.synapse: SYNAPSES[c.synapse] for c in connections}
        if names == "weight":
            return units.quantity(self._now("weight"), self._unit(connections, names))
        if names == "synapse_model":
            return np.array([c.synapse for c in self._description.connections], dtype=str)[self._connection]
        own = f"{names}_" if any(f"{names}_" in m.settable() for m in models.values()) else names
        known = {n.rstrip("_"): None for m in models.values() for n in m.settable()}
        if not any(own in m.settable() for m in SYNAPSES.values()):
            raise UnknownNameError("property", names, [*_NAMES, *known], where="SynapseCollection.get")
        for model in models.values():
            if own not in model.settable():
                others = " or ".join(repr(n) for n, m in SYNAPSES.items() if own in m.settable())
                raise ConnectError(
                    f"{self!r}.get({names!r}): {model.__name__.replace('_synapse', '')} synapses have none. "
                    f"Ask for synapse={others}."
                )
        declared = [m.settable()[own] for m in models.values()]
        values = self._now(own)
        if declared and declared[0].unit is WEIGHT:
            return units.quantity(values, self._unit(connections, names))
        if declared and isinstance(declared[0].default, int):
            return np.rint(values).astype(np.int64)
        return units.quantity(values, declared[0].unit) if declared else values

    def _unit(self, connections: Sequence[Connection], name: str) -> Any:
        found = list(dict.fromkeys(receptor_unit(self._description.models[c.group], c.receptor) for c in connections))
        if len(found) > 1:
            words = " and in ".join(map(str, found))
            raise ConnectError(f"{self!r}.get({name!r}): weights in {words}. Ask for targets of one model at a time.")
        return found[0] if found else "pA"

    def _now(self, name: str) -> np.ndarray:
        """Numbers of the connections, initial values, or those of changing synapses as they are now."""
        values = self._first.copy()
        simulation, places = self._simulation(), {}
        for number in np.unique(self._connection):
            c, mine = self._description.connections[number], self._connection == number
            if c.plasticity is None or c.family is None or c.plasticity.released:
                continue
            if name in c.plasticity.parameters:
                values[mine] = c.plasticity.parameters[name]
            elif simulation is not None:
                plastic = simulation.network.projection.plastic[c.family]
                if c.family not in places:
                    places[c.family] = _places(simulation.description, c.family), plastic.synapses()
                first, synapses = places[c.family]
                place = first[number][self._local[mine]] + self._slot[mine]
                values[mine] = synapses[place, plastic.text.variables.index(name)]
            elif name != "weight":
                values[mine] = c.plasticity.initial[name]
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

    They are drawn again on the host, from the same keys as on the devices; what changes is read from the network that
    `simulation` gives, once it is built.
    """
    if synapse is not None and synapse not in SYNAPSES:
        raise UnknownNameError("synapse", synapse, SYNAPSES, where="get_connections")
    meets_source, meets_target = _meeting(source), _meeting(target)
    parts: list[tuple[np.ndarray, ...]] = [tuple(np.zeros(0, t) for t in (int, int, int, float, int, int, int))]
    for number, c in enumerate(d.connections):
        if synapse not in (None, c.synapse) or not meets_target(c.post_ids) or not meets_source(c.pre_ids):
            continue
        local = np.arange(len(c.post_ids)) if target is None else np.flatnonzero(np.isin(c.post_ids, target))
        drawn = build.draw_values(on_host(c, local, seed=d.seed, backend=d.builder), seed=d.seed, dt=d.dt)
        chosen = np.full(len(drawn.source), True) if source is None else np.isin(drawn.source, source)
        place = local[drawn.target]
        columns = (
            drawn.source, c.post_ids[place], drawn.delay, drawn.weight, np.full(len(place), number), place,
            drawn.slot.astype(np.int64),
        )  # fmt: skip
        parts.append(tuple(column[chosen] for column in columns))
    pre, post, delay, weight, order, place, slot = (np.concatenate(column) for column in zip(*parts, strict=True))
    by = np.lexsort((slot, order, pre, post))
    return SynapseCollection(
        source=pre[by], target=post[by], delay=units.quantity(delay[by] * d.dt, "ms"),
        _first=weight[by], _connection=order[by], _local=place[by], _slot=slot[by], _description=d, _simulation=simulation,
    )  # fmt: skip


def _meeting(ids: np.ndarray | None) -> Callable[[np.ndarray], bool]:
    """Tells of one side of a connection whether some of these ids (None: any) may be on it."""
    if ids is None:
        return lambda _: True
    low, high = (int(ids.min()), int(ids.max())) if len(ids) else (0, -1)
    known: dict[int, bool] = {}  # connections of the same view share its ids

    def meets(side: np.ndarray) -> bool:
        if (found := known.get(id(side))) is None:
            found = known[id(side)] = len(side) > 0 and bool(side.min() <= high and side.max() >= low)
        return found

    return meets


def ends_of(d: Description, family: str, place: int) -> tuple[int, int]:
    """Source and target id of the synapse at a place among all of a family."""
    places = _places(d, family)
    # Several begin at one place where some have no synapses.
    begin = max(int(first[first <= place].max(initial=0)) for first in places.values())
    targets = np.concatenate([d.connections[number].post_ids[first == begin] for number, first in places.items()])
    found = find(d, lambda: None, None, targets, None)
    numbers = enumerate(found._connection)
    (at,) = [k for k, n in numbers if n in places and places[n][found._local[k]] + found._slot[k] == place]
    return int(found.source[at]), int(found.target[at])


def _places(d: Description, family: str) -> dict[int, np.ndarray]:
    """Per connection of a family, by its number: (num_post,) place of the first synapse of each target among all of the
    family, in order of (target id, connection, slot)."""
    mine = {number: c for number, c in enumerate(d.connections) if c.family == family}
    degrees = {
        number: c.rule.sources(c.ends(np.arange(len(c.post_ids)), seed=d.seed, backend=d.builder)).degrees
        for number, c in mine.items()
    }
    total = np.zeros(d.num_ids, dtype=np.int64)
    for number, c in mine.items():
        total[c.post_ids] += degrees[number]
    place, first = {}, np.cumsum(total) - total
    for number, c in mine.items():
        place[number] = first[c.post_ids].copy()
        first[c.post_ids] += degrees[number]
    return place
