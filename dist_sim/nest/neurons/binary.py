"""What neurons of two states share: when they are updated, and the field that is the sum of the inputs that are up."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import brainunit as u
import jax.numpy as jnp

from dist_sim.nest.declared import Parameter, Receptor, State
from dist_sim.nest.laws import Discrete
from dist_sim.nest.neurons.neuron import NESTNeuron


class BinaryNeuron(NESTNeuron):
    """Updated at random times, the intervals between them exponential with mean tau_m; the new state follows from the field h.

    Only changes of state are sent: up as two spikes at once, down as one, which is what a spike_recorder sees. A synapse between
    such neurons adds its weight to h when its source goes up, and takes it away when it goes down.
    Source: Ginzburg & Sompolinsky (1994), doi:10.1103/PhysRevE.50.3171; NEST 3.10.
    """

    tau_m = Parameter(u.ms, 10.0, above=0.0)

    S = State(u.UNITLESS, settable=False)
    h = State(u.UNITLESS, settable=False)
    # Steps until the next update, and the interval that follows it: one random number a step serves both.
    until_update = State(u.ms, -1.0, settable=False)

    changes = Receptor(u.mV)
    binary = True
    records = ("S", "h")
    law: ClassVar[Any] = Discrete(uniforms=2)

    @staticmethod
    def turned(y: Any, p: Any, x: Any, goes_up: Callable[[Any], Any]) -> tuple[dict[str, Any], Any]:
        """The step of a neuron that is up after an update if `goes_up(h)`."""
        h = y.h + x.changes
        interval = -p.tau_m * jnp.log(x.uniforms[1])
        begun = jnp.where(y.until_update < 0.0, interval, y.until_update)
        left = begun - p.dt
        updating = left < 0.0
        S = jnp.where(updating, jnp.where(goes_up(h), 1.0, 0.0), y.S)
        sent = jnp.where(S > y.S, 2, jnp.where(S < y.S, 1, 0))
        return {"S": S, "h": h, "until_update": jnp.where(updating, jnp.maximum(left + interval, 0.0), left)}, sent
