from __future__ import annotations

from typing import final

import brainunit as u

from dist_sim.nest.declared import Parameter
from dist_sim.nest.neurons.binary import BinaryNeuron


@final
class mcculloch_pitts_neuron(BinaryNeuron):
    """Neuron of two states that is up after an update where its field h is above theta.

    It is updated at random times, the intervals between them exponential with mean tau_m. Only changes of state are sent: up
    as two spikes at once, down as one, which is what a recorder sees; between such neurons a synapse adds its weight to h when
    its source goes up, and takes it away when it goes down.

    Source: McCulloch & Pitts (1943), doi:10.1007/BF02478259; Ginzburg & Sompolinsky (1994), doi:10.1103/PhysRevE.50.3171.
    Checked against NEST 3.10 in mean and rate of changes.
    """

    theta = Parameter(u.mV, 0.0)

    @staticmethod
    def step(y, p, x):
        return BinaryNeuron.turned(y, p, x, lambda h: h > p.theta)
