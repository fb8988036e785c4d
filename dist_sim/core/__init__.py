"""State, Module, the environment and the transforms: what models are written with."""

from dist_sim.core import environ as environ
from dist_sim.core import filters as filters
from dist_sim.core import graph as graph
from dist_sim.core import random as random
from dist_sim.core import transform as transform
from dist_sim.core.caught import catch_new_states as catch_new_states
from dist_sim.core.grouped import HiddenGroupState as HiddenGroupState
from dist_sim.core.grouped import HiddenTreeState as HiddenTreeState
from dist_sim.core.hooks import clear_state_hooks as clear_state_hooks
from dist_sim.core.hooks import has_state_hooks as has_state_hooks
from dist_sim.core.hooks import list_state_hooks as list_state_hooks
from dist_sim.core.hooks import register_state_hook as register_state_hook
from dist_sim.core.hooks import unregister_state_hook as unregister_state_hook
from dist_sim.core.lifecycle import init_all_states as init_all_states
from dist_sim.core.lifecycle import reset_all_states as reset_all_states
from dist_sim.core.module import Module as Module
from dist_sim.core.module import ParamModule as ParamModule
from dist_sim.core.random import Random as Random
from dist_sim.core.state import BatchState as BatchState
from dist_sim.core.state import DelayState as DelayState
from dist_sim.core.state import HiddenState as HiddenState
from dist_sim.core.state import LongTermState as LongTermState
from dist_sim.core.state import ParamState as ParamState
from dist_sim.core.state import ShortTermState as ShortTermState
from dist_sim.core.state import State as State
