"""The contract of a BrainPy-style synapse."""

from __future__ import annotations

from abc import ABC
from typing import Any, ClassVar

import brainunit as u
import jax.numpy as jnp

from dist_sim.core import HiddenState
from dist_sim.models.dynamics import Dynamics
from dist_sim.models.init import Constant, Initializer

AT_REST = Constant(0.0 * u.mS)
"""The `g_initializer` of a synapse that was given none."""


class Synapse(Dynamics, ABC):
    """Synaptic dynamics with one value per neuron, of the side it is aligned with.

    A synapse declares its parameters and writes `__init__`, `init_state` and `update(x=None)`: one step, with `x` arriving, which
    returns the conductance.

    **Its unit follows the weights** of the projection it is in, unless a `g_initializer` is given, which says the unit. Aligned
    with its targets, it sums up weights and has their unit. Aligned with its sources, it is multiplied by weights: it has no unit
    where they have the one that the output makes a current of. Otherwise, and by itself, it is in mS, as in brainpy.state. The
    scale is free everywhere: weights in nS may arrive at a conductance in mS.

    Attributes:
        is_align_post: linear with the same time constants for all synapses of a neuron, so that their sum obeys the same
            equation and one value per target is exact.
        takes_spikes: `update` is given spikes, without unit; otherwise what arrives, in the unit of the conductance.
        g_initializer: where the conductance starts; its unit is that of the conductance.
    """

    is_align_post: ClassVar[bool] = False
    takes_spikes: ClassVar[bool] = False
    g_initializer: Any

    @property
    def unit(self) -> Any:
        """Of the conductance."""
        given = self.g_initializer
        return given.unit if isinstance(given, Initializer) else u.get_unit(given(self.in_size))

    def follow(self, unit: Any) -> None:
        """Takes a unit for the conductance, if nothing has said one: for projections, before there are States."""
        if self.g_initializer is AT_REST and not self.states(HiddenState):
            self.g_initializer = Constant(u.maybe_decimal(0.0 * unit))

    def arriving(self, x: Any) -> Any:
        """What `update` adds: a number is a spike, or part of one, and brings one unit of conductance."""
        if self.takes_spikes or isinstance(x, u.Quantity):
            return x
        return u.maybe_decimal(jnp.asarray(x, float) * self.unit)
