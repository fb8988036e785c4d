"""`ds.nn`: modules and their lifecycle."""

from dist_sim.core import Module as Module
from dist_sim.core import init_all_states as init_all_states
from dist_sim.core import reset_all_states as reset_all_states
