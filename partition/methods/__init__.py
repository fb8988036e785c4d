"""Placement: which device owns which neuron. Results do not depend on it; speed does."""

from dist_sim.partition.methods.balanced import Balanced
from dist_sim.partition.methods.block import Block
from dist_sim.partition.methods.round_robin import RoundRobin

PLACEMENTS = {method.name: method for method in (Block(), RoundRobin(), Balanced())}
