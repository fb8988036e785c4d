"""How spikes reach their targets: connectivity with weights, one kind per file."""

from dist_sim.models.communication.all_to_all import AllToAll as AllToAll
from dist_sim.models.communication.fixed_num_conn import EventFixedNumConn as EventFixedNumConn
from dist_sim.models.communication.fixed_num_conn import EventFixedProb as EventFixedProb
from dist_sim.models.communication.just_in_time import JITFixedNumConn as JITFixedNumConn
from dist_sim.models.communication.linear import Linear as Linear
from dist_sim.models.communication.one_to_one import OneToOne as OneToOne
from dist_sim.models.communication.plastic import Plastic as Plastic
from dist_sim.models.communication.sparse_linear import SparseLinear as SparseLinear
