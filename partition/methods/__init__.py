"""Plans: which device owns which neuron. Results do not depend on the plan; speed does."""

from dist_sim.partition.methods.balanced import Balanced
from dist_sim.partition.methods.block import Block
from dist_sim.partition.methods.round_robin import RoundRobin

PLANS = {plan.name: plan for plan in (Block(), RoundRobin(), Balanced())}
