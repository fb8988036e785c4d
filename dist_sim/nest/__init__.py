"""The NEST-compatible family: models and devices under NEST's names, and what a model of one's own is made of."""

from dist_sim.nest.declared import Counter as Counter
from dist_sim.nest.declared import Parameter as Parameter
from dist_sim.nest.declared import Receptor as Receptor
from dist_sim.nest.declared import State as State
from dist_sim.nest.declared import recordable as recordable
from dist_sim.nest.devices import DEVICES as DEVICES
from dist_sim.nest.laws import Adaptive as Adaptive
from dist_sim.nest.laws import Discrete as Discrete
from dist_sim.nest.laws import Linear as Linear
from dist_sim.nest.neurons import NEURONS as NEURONS
from dist_sim.nest.neurons import NESTNeuron as NESTNeuron
from dist_sim.nest.neurons.neuron import crossed as crossed
