"""`ds.nn`: modules, their lifecycle, connectivity and integration."""

from dist_sim.core import Module as Module
from dist_sim.core import init_all_states as init_all_states
from dist_sim.core import reset_all_states as reset_all_states
from dist_sim.core.environ_context import EnvironContext as EnvironContext
from dist_sim.core.lifecycle import assign_state_values as assign_state_values
from dist_sim.core.lifecycle import call_order as call_order
from dist_sim.core.lifecycle import vmap_init_all_states as vmap_init_all_states
from dist_sim.core.sequential import Sequential as Sequential
from dist_sim.models import init as init
from dist_sim.models.communication import AllToAll as AllToAll
from dist_sim.models.communication import EventFixedNumConn as EventFixedNumConn
from dist_sim.models.communication import EventFixedProb as EventFixedProb
from dist_sim.models.communication import JITFixedNumConn as JITFixedNumConn
from dist_sim.models.communication import Linear as Linear
from dist_sim.models.communication import OneToOne as OneToOne
from dist_sim.models.communication import SparseLinear as SparseLinear
from dist_sim.models.delays import Delay as Delay
from dist_sim.models.delays import DelayAccess as DelayAccess
from dist_sim.models.delays import OutputDelayAt as OutputDelayAt
from dist_sim.models.delays import Prefetch as Prefetch
from dist_sim.models.delays import PrefetchDelay as PrefetchDelay
from dist_sim.models.delays import PrefetchDelayAt as PrefetchDelayAt
from dist_sim.models.delays import StateWithDelay as StateWithDelay
from dist_sim.models.dynamics import Dynamics as Dynamics
from dist_sim.models.exp_euler import exp_euler_step as exp_euler_step
from dist_sim.models.functions import clip_grad_norm as clip_grad_norm
from dist_sim.models.functions import count_parameters as count_parameters
from dist_sim.models.functions import one_hot as one_hot

# A group of populations is a Module that holds them.
DynamicsGroup = Module
