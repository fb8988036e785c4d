"""`ds.surrogate`: spike functions with a derivative, one per file."""

from dist_sim.models.surrogate.relu_grad import ReluGrad as ReluGrad
from dist_sim.models.surrogate.surrogate import Surrogate as Surrogate
