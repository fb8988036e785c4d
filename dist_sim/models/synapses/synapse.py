"""The contract of a BrainPy-style synapse."""

from __future__ import annotations

from abc import ABC
from typing import Any, ClassVar

import brainunit as u
import jax.numpy as jnp

from dist_sim.models.dynamics import Dynamics
from dist_sim.models.init import Initializer


class Synapse(Dynamics, ABC):
    """Synaptic dynamics with one value per neuron, of the side it is aligned with.

    A synapse declares its parameters and writes `__init__`, `init_state` and `update(x=None)`: one step, with `x` arriving, which
    returns the conductance.

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

    def arriving(self, spikes: Any) -> Any:
        """What to call a synapse with that is aligned with its sources: each spike is one unit of conductance."""
        spikes = jnp.asarray(spikes, float)
        return spikes if self.takes_spikes else u.maybe_decimal(spikes * self.unit)
