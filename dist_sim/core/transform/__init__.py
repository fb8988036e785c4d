"""State-aware transforms: the States a function reads and writes are threaded through JAX's own."""

from dist_sim.core.transform.branches import cond as cond
from dist_sim.core.transform.branches import switch as switch
from dist_sim.core.transform.jit import Jit as Jit
from dist_sim.core.transform.jit import jit as jit
from dist_sim.core.transform.loops import for_loop as for_loop
from dist_sim.core.transform.loops import fori_loop as fori_loop
from dist_sim.core.transform.loops import scan as scan
from dist_sim.core.transform.loops import while_loop as while_loop
