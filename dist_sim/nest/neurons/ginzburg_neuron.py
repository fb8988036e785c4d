from __future__ import annotations

from typing import final

import brainunit as u
import jax.numpy as jnp

from dist_sim.nest.declared import Parameter
from dist_sim.nest.laws import Discrete
from dist_sim.nest.neurons.binary import BinaryNeuron


@final
class ginzburg_neuron(BinaryNeuron):
    r"""Neuron of two states that is up after an update with a probability that grows with its field.

    .. math:: g(h) = c_1 h + \frac{c_2}{2} \left(1 + \tanh(c_3 (h - \theta))\right)

    It is updated at random times, the intervals between them exponential with mean tau_m. Only changes of state are sent: up
    as two spikes at once, down as one, which is what a recorder sees; between such neurons a synapse adds its weight to h when
    its source goes up, and takes it away when it goes down.

    Source: Ginzburg & Sompolinsky (1994), doi:10.1103/PhysRevE.50.3171. Checked against NEST 3.10 in mean and rate of changes.
    """

    theta = Parameter(u.mV, 0.0)
    c_1 = Parameter(1 / u.mV, 0.0)
    c_2 = Parameter(u.UNITLESS, 1.0)
    c_3 = Parameter(1 / u.mV, 1.0)
    law = Discrete(uniforms=3)

    @staticmethod
    def step(y, p, x):
        def goes_up(h):
            return x.uniforms[2] < p.c_1 * h + p.c_2 * 0.5 * (1.0 + jnp.tanh(p.c_3 * (h - p.theta)))

        return BinaryNeuron.turned(y, p, x, goes_up)
