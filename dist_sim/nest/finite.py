"""NaN and infinity in the states of neurons, found at the end of the chunk in which they arose."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from dist_sim.core import State
from dist_sim.errors import NumericalError
from dist_sim.nest.assembly import Description
from dist_sim.nest.network import Network
from dist_sim.partition.mesh import whole


def check_finite(network: Network, d: Description, first: int, last: int) -> None:
    """Look at every floating-point state of the neurons after the chunk [first, last).

    Raises:
        NumericalError: one is NaN or infinite; says which population, neuron, variable and time.
    """
    states = [(name, g, s) for name, g, s in network.neuron_states() if jnp.issubdtype(s.value.dtype, jnp.floating)]
    if not states or bool(_all_finite([s.value for _, _, s in states])):
        return
    for name, group, state in states:
        _look(name, group, state, network, d, first, last)


@jax.jit
def _all_finite(values: Sequence[jax.Array]) -> jax.Array:
    return jnp.stack([jnp.isfinite(v).all() for v in values]).all()


def _look(name: str, group: int, state: State, network: Network, d: Description, first: int, last: int) -> None:
    values = network.layout.gather(group, whole(state.value)).reshape(-1, len(network.layout.groups[group]))
    bad = np.argwhere(~np.isfinite(values.T))
    if not len(bad):
        return
    neuron, row = bad[0]
    node = network.layout.groups[group][neuron]
    population = next(n for n in d.nodes if n.is_neuron and n.first_id <= node < n.first_id + n.size)
    variable = name.split(".", 1)[1]
    raise NumericalError(
        f"{population.name}: {variable} of neuron {node} became {values[row, neuron]} between {first * d.dt:g} and "
        f"{last * d.dt:g} ms, and {len(np.unique(bad[:, 0])) - 1} more neurons with it. Weights or currents that are too large "
        "do this: look at their units; dt may be too coarse."
    )
