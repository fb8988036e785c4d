"""The NEST-compatible family: models and devices under NEST's names."""

from dist_sim.nest.devices import DEVICES as DEVICES
from dist_sim.nest.neurons import NEURONS as NEURONS
