"""How spikes reach their targets: connectivity with weights, one kind per file."""

from dist_sim.models.communication.fixed_num_conn import EventFixedNumConn as EventFixedNumConn
from dist_sim.models.communication.fixed_num_conn import EventFixedProb as EventFixedProb
from dist_sim.models.communication.linear import Linear as Linear
