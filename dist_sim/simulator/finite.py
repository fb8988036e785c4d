"""NaN and infinity in the states of neurons and plastic synapses, found at the end of the chunk in which they arose."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dist_sim.core import State
from dist_sim.errors import NumericalError
from dist_sim.partition.mesh import whole
from dist_sim.simulator.assembly import Description
from dist_sim.simulator.connections import plastic_ends
from dist_sim.simulator.network import Network


class _Found(NamedTuple):
    where: str
    values: dict[str, float]  # of what is not finite there
    more: int  # neurons or synapses


def check_finite(network: Network, d: Description, first: int, last: int) -> None:
    """Look at every floating-point state after the chunk [first, last).

    Raises:
        NumericalError: one is NaN or infinite; says which population, neuron or synapse, variable and time.
    """
    plastic = network.projection.plastic
    states = [s for _, _, s in _neuron_states(network)] + ([] if plastic is None else [plastic.state, plastic.post_traces])
    if not states or bool(_all_finite([s.value for s in states])):
        return
    for found in (*_in_neurons(network, d), *_in_plastic(network, d)):
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
        for name, _, state in (found for found in _neuron_states(network) if found[1] == group):
            values = network.layout.gather(group, whole(state.value)).reshape(-1, len(ids))
            rows |= dict(zip(network.populations[group].text.states, values, strict=True))
        if (found := _first(rows)) is not None:
            k, values, more = found
            yield _Found(f"{_population(d, ids[k])}: neuron {ids[k]}", values, more)


def _in_plastic(network: Network, d: Description) -> Iterator[_Found]:
    if (plastic := network.projection.plastic) is None:
        return
    # Traces first: from them it gets into the weights.
    targets, traces = plastic.traces()
    if (
        found := _first({"the trace of its spikes (tau_minus)": np.where(np.isfinite(traces), 0, traces).sum(axis=1)})
    ) is not None:
        k, values, more = found
        yield _Found(f"{_population(d, targets[k])}: neuron {targets[k]}", values, more)
    if (found := _first(dict(zip(("weight", "Kplus"), plastic.synapses().T, strict=True)))) is not None:
        k, values, more = found
        source, target = plastic_ends(d, k)
        where = f"{_population(d, target)}: synapse from neuron {source} ({_population(d, source)}) to neuron {target}"
        yield _Found(where, values, more)


def _first(rows: Mapping[str, np.ndarray]) -> tuple[int, dict[str, float], int] | None:
    """The first place at which some of the rows are not finite, which are and how, and how many more places there are."""
    places = np.flatnonzero(~np.isfinite(list(rows.values())).all(axis=0))
    if not len(places):
        return None
    k = int(places[0])
    return k, {name: float(row[k]) for name, row in rows.items() if not np.isfinite(row[k])}, len(places) - 1


def _population(d: Description, node: int) -> str:
    return next(n.name for n in d.nodes if n.first_id >= 0 and n.first_id <= node < n.first_id + n.size)
