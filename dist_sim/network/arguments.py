"""Numbers of a network that its compiled step takes as arguments, so that another network with others is no other program."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from dist_sim.core import LongTermState
from dist_sim.partition.mesh import sharded, spread


def everywhere(mesh: Mesh, values: np.ndarray) -> LongTermState:
    """A State with these values on every device."""
    return LongTermState(spread(jnp.asarray(values), sharded(mesh)), sharding=sharded(mesh))


def roomy(length: int) -> int:
    """The length of an array for `length` entries that depend on random numbers: one of few, up to 64 entries or 1/64 longer, so
    that networks of other seeds have arrays of the same length. What is large is built too slowly for compiling to matter, and
    has what it needs."""
    grain = 1 << max(length.bit_length() - 7, 6)
    return length if length > _LARGE else -(-length // grain) * grain


_LARGE = 1 << 24
