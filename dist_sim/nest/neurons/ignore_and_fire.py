from __future__ import annotations

from typing import final

import brainunit as u
import jax.numpy as jnp

from dist_sim import units
from dist_sim.nest.declared import Counter, Parameter, Receptor
from dist_sim.nest.laws import Discrete
from dist_sim.nest.neurons.neuron import NESTNeuron


@final
class ignore_and_fire(NESTNeuron):
    r"""A neuron that fires at a fixed rate whatever it receives: for benchmarks whose traffic is known beforehand.

    The first spike comes after the part `phase`, in (0, 1], of the period 1 / rate, and then one every period; both are rounded
    to steps. Weights are in pA and have no effect.

    Source: NEST 3.10, against which it is checked spike for spike.
    """

    rate = Parameter(u.Hz, 10.0, above=0.0)
    phase = Parameter(u.UNITLESS, 1.0, above=0.0, at_most=1.0)

    left = Counter()

    spikes = Receptor(u.pA)
    law = Discrete()

    @staticmethod
    def propagators(p, dt):
        period = 1.0 / p.rate * 1000.0
        return {"period": units.steps_up(period, dt), "first": units.steps_up(p.phase / p.rate * 1000.0, dt)}

    @staticmethod
    def step(y, p, x):
        left = jnp.where(x.step == 0, p.first, y.left)
        spike = left == 0
        return {"left": jnp.where(spike, p.period - 1, left - 1)}, spike
