"""State-aware transforms: the States a function reads and writes are threaded through JAX's own."""

from dist_sim.core.transform.branches import cond as cond
from dist_sim.core.transform.branches import switch as switch
from dist_sim.core.transform.checkpointed import bounded_while_loop as bounded_while_loop
from dist_sim.core.transform.checkpointed import checkpointed_for_loop as checkpointed_for_loop
from dist_sim.core.transform.checkpointed import checkpointed_scan as checkpointed_scan
from dist_sim.core.transform.grad import grad as grad
from dist_sim.core.transform.grad import vector_grad as vector_grad
from dist_sim.core.transform.jacobian import hessian as hessian
from dist_sim.core.transform.jacobian import jacfwd as jacfwd
from dist_sim.core.transform.jacobian import jacobian as jacobian
from dist_sim.core.transform.jacobian import jacrev as jacrev
from dist_sim.core.transform.jit import Jit as Jit
from dist_sim.core.transform.jit import jit as jit
from dist_sim.core.transform.loops import for_loop as for_loop
from dist_sim.core.transform.loops import fori_loop as fori_loop
from dist_sim.core.transform.loops import scan as scan
from dist_sim.core.transform.loops import while_loop as while_loop
from dist_sim.core.transform.products import jvp as jvp
from dist_sim.core.transform.products import vjp as vjp
from dist_sim.core.transform.progress import ProgressBar as ProgressBar
from dist_sim.core.transform.remat import checkpoint as checkpoint
from dist_sim.core.transform.remat import remat as remat
from dist_sim.core.transform.shard_map import shard_map as shard_map
from dist_sim.core.transform.vmap import vmap as vmap
from dist_sim.core.transform.vmap import vmap_new_states as vmap_new_states
