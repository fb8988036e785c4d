"""What both model families share: connection rules, distributions, the projection of all synapses, Poisson input."""

from dist_sim.network.channels import Channels as Channels
from dist_sim.network.connection import Connection as Connection
from dist_sim.network.distributions import Distribution as Distribution
from dist_sim.network.distributions import LogNormal as LogNormal
from dist_sim.network.distributions import Normal as Normal
from dist_sim.network.distributions import Uniform as Uniform
from dist_sim.network.drive import PoissonDrive as PoissonDrive
from dist_sim.network.drive import poisson_inputs as poisson_inputs
from dist_sim.network.projection import Projection as Projection
from dist_sim.network.tables import Backend as Backend
