"""`ds.util`: what `brainstate.util` has and models ask for: `struct`, dataclasses that JAX transforms, and `filter`."""

from dist_sim.core import filters as filter
from dist_sim.core.util import struct as struct

__all__ = ["filter", "struct"]
