"""What the kinetic models of receptors have in common: pulses of transmitter, and the binding of it."""

from __future__ import annotations

from abc import ABC
from typing import Any, ClassVar, NamedTuple

import brainunit as u
import jax.numpy as jnp

from dist_sim.core import HiddenState, environ
from dist_sim.models.exp_euler import exprel
from dist_sim.models.init import Constant
from dist_sim.models.parameter import Parameter
from dist_sim.models.synapses.synapse import Synapse


class Bound(NamedTuple):
    """The bound fraction at the end of a step, and its mean over the step."""

    end: Any
    mean: Any


class Receptor(Synapse, ABC):
    r"""A receptor that binds transmitter, of which a spike releases a square pulse: concentration T for the time T_dur.

    A spike during a pulse makes it last for T_dur from then on. A spike of size s, as short-term plasticity makes them, releases
    a part: of what lasts T_dur longer, the part s. A step integrates exactly also when the pulse ends within it: no clock is
    needed, and T_dur need not be a whole number of steps.

    States: transmitter, the time it is still there [ms].
    """

    takes_spikes: ClassVar[bool] = True
    T = Parameter(u.mM, at_least=0.0)
    T_dur = Parameter(u.ms, at_least=0.0)

    def no_transmitter(self, batch_size: int | None) -> HiddenState:
        """The State `transmitter` at the start."""
        return self.initial(Constant(0.0 * u.ms), u.ms, batch_size)

    def released(self, transmitter: HiddenState, pre_spike: Any) -> Any:
        """Lets spikes release, and the time of a step pass. Returns how long in this step there was transmitter."""
        left = transmitter.value
        if pre_spike is not None:
            left = left + jnp.asarray(pre_spike, float) * (self.T_dur - left)
        there = u.math.minimum(left, environ.get_dt().in_unit(u.ms))
        transmitter.value = left - there
        return there

    def bound(self, x: Any, binding: Any, unbinding: Any, there: Any) -> Bound:
        r"""One step of :math:`\dot x = \alpha T (1 - x) - \beta x`, with T for the time `there` and then without.

        Args:
            x: the fraction, also in a unit, of which one is everything then.
            binding: alpha.
            unbinding: beta > 0.
        """
        one, dt = u.maybe_decimal(1.0 * u.get_unit(x)), environ.get_dt().in_unit(u.ms)
        forth = binding * self.T
        rate = forth + unbinding
        aim = forth * (1.0 / rate) * one
        gone = dt - there
        mid = aim + (x - aim) * u.math.exp(-rate * there)
        end = mid * u.math.exp(-unbinding * gone)
        # No sum of two products: compilers round one of them or the other, depending on how the batch is split.
        with_it = aim + (x - aim) * _exprel(-rate * there)
        without = mid * _exprel(-unbinding * gone)
        return Bound(end, with_it + (without - with_it) * u.maybe_decimal(gone * (1.0 / dt)))


def opened(g: Any, opening: Any, closing: Any) -> Any:
    r"""One step of :math:`\dot g = o (1 - g) - c g`, exact where both rates are constant over it.

    Args:
        g: the part that is open, also in a unit, of which one is everything then.
        opening: o >= 0. closing: c > 0.
    """
    one, rate = u.maybe_decimal(1.0 * u.get_unit(g)), opening + closing
    aim = opening * (1.0 / rate) * one
    return aim + (g - aim) * u.math.exp(-rate * environ.get_dt())


def _exprel(z: Any) -> Any:
    return exprel(u.Quantity(z).to_decimal(u.UNITLESS))
