"""NaN and infinity in the states of neurons and plastic synapses, found at the end of the chunk in which they arose."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple, final

import jax
import jax.numpy as jnp
import numpy as np

from dist_sim.core import State
from dist_sim.errors import NumericalError
from dist_sim.nest.synapses.synapse import GROWTH
from dist_sim.network.plasticity import Plasticity
from dist_sim.partition.mesh import whole
from dist_sim.simulator.assembly import Description
from dist_sim.simulator.connections import ends_of
from dist_sim.simulator.network import Network


class _Found(NamedTuple):
    where: str
    values: dict[str, float]  # of what is not finite there
    more: int  # neurons or synapses


@final
class Finite:
    """Looks at every floating-point state of a network between chunks."""

    def __init__(self, network: Network, d: Description):
        self._network, self._d = network, d
        self._neurons = [state for _, _, state in _neuron_states(network)]

    def check(self, first: int, last: int) -> None:
        """After the chunk [first, last).

        Raises:
            NumericalError: a state is NaN or infinite; says which population, neuron or synapse, variable and time.
        """
        # A State of synapses is another one after its buffer has grown.
        plastic = self._network.projection.plastic
        states = self._neurons + [s for p in plastic.values() for s in (p.state, p.post_traces)]
        if states and not bool(_all_finite([s.value for s in states])):
            _refuse_infinite(self._network, self._d, first, last)
        for name, p in plastic.items():
            if p.limits is not None and bool(_beyond(p.state.value, p.fixed.value, p.limits)):
                _refuse_large(self._d, name, p, first, last)


def _refuse_infinite(network: Network, d: Description, first: int, last: int) -> None:
    in_plastic = (found for name, p in network.projection.plastic.items() for found in _in_plastic(name, p, d))
    for found in (*_in_neurons(network, d), *in_plastic):
        values = ", ".join(f"{name} became {value}" for name, value in found.values.items())
        raise NumericalError(
            f"{found.where}: {values} between {first * d.dt:g} and {last * d.dt:g} ms, and {found.more} more with it. Weights or "
            "currents that are too large do this: look at their units; dt may be too coarse."
        )


@jax.jit
def _all_finite(values: Sequence[jax.Array]) -> jax.Array:
    return jnp.stack([jnp.isfinite(v).all() for v in values]).all()


def _neuron_states(network: Network) -> list[tuple[str, int, State]]:
    return [found for found in network.neuron_states() if jnp.issubdtype(found[2].value.dtype, jnp.floating)]


def _in_neurons(network: Network, d: Description) -> Iterator[_Found]:
    for group, ids in enumerate(network.layout.groups):
        rows = {}
        for _, _, state in (found for found in _neuron_states(network) if found[1] == group):
            values = network.layout.gather(group, whole(state.value)).reshape(-1, len(ids))
            rows |= dict(zip(network.populations[group].text.states, values, strict=True))
        if (found := _first(rows)) is not None:
            k, values, more = found
            yield _Found(f"{_population(d, ids[k])}: neuron {ids[k]}", values, more)


def _in_plastic(name: str, plastic: Plasticity, d: Description) -> Iterator[_Found]:
    # Traces first: from them it gets into the weights.
    targets, traces = plastic.traces()
    taus = ", ".join(plastic.model.target_taus())
    sums = np.where(np.isfinite(traces), 0, traces).reshape(len(targets), -1).sum(axis=1)
    if (found := _first({f"the trace of its spikes ({taus})": sums})) is not None:
        k, values, more = found
        yield _Found(f"{_population(d, targets[k])}: neuron {targets[k]}", values, more)
    if (found := _first(dict(zip(plastic.text.variables, plastic.synapses().T, strict=True)))) is not None:
        k, values, more = found
        yield _Found(_synapse(d, name, k), values, more)


def _synapse(d: Description, model: str, place: int) -> str:
    source, target = ends_of(d, model, place)
    return f"{_population(d, target)}: synapse from neuron {source} ({_population(d, source)}) to neuron {target}"


@jax.jit
def _beyond(state: jax.Array, fixed: jax.Array, limits: jax.Array) -> jax.Array:
    return (jnp.abs(state[:, 0]) > limits[fixed[:, 1]]).any()


def _refuse_large(d: Description, name: str, plastic: Plasticity, first: int, last: int) -> None:
    weights = np.abs(plastic.synapses()[:, 0])
    k = int(np.argmax(weights))
    raise NumericalError(
        f"{_synapse(d, name, k)}: its weight grew to {weights[k]:g} between {first * d.dt:g} and {last * d.dt:g} ms, more than "
        f"{GROWTH:g} times the largest initial one of its connection. {name} has no bound of its own, and sums of such weights "
        "could leave the integers. Begin with larger weights, or depress more (alpha)."
    )


def _first(rows: Mapping[str, np.ndarray]) -> tuple[int, dict[str, float], int] | None:
    """The first place at which some of the rows are not finite, which are and how, and how many more places there are."""
    places = np.flatnonzero(~np.isfinite(list(rows.values())).all(axis=0))
    if not len(places):
        return None
    k = int(places[0])
    return k, {name: float(row[k]) for name, row in rows.items() if not np.isfinite(row[k])}, len(places) - 1


def _population(d: Description, node: int) -> str:
    return next(n.name for n in d.nodes if n.first_id >= 0 and n.first_id <= node < n.first_id + n.size)
