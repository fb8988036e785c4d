from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, final

import brainunit as u
import jax.numpy as jnp

from dist_sim.core import environ
from dist_sim.models.exp_euler import exprel
from dist_sim.models.init import Constant
from dist_sim.models.parameter import Parameter
from dist_sim.models.synapses.receptor import opened
from dist_sim.models.synapses.synapse import Synapse


@final
class NMDA(Synapse):
    r"""NMDA receptor that saturates, of working memory and decisions. Its magnesium block is an output:
    :class:`~dist_sim.models.outputs.MgBlock`.

    .. math:: \dot x = -x / \tau_{rise}, \qquad \dot g = \alpha x (1 - g) - g / \tau_{decay}

    A spike adds 1 to x at the beginning of its step; one of another size, as short-term plasticity makes them, adds that. The
    synapse is aligned with its sources. x is exact at any step. g takes the mean of x over the step, which is of second order,
    stays between 0 and 1 whatever x is, and errs by less than 1e-5 at the defaults and dt of 0.1 ms.

    Args: (each but in_size one value, or one per neuron; a State to change or train it later)
        in_size: number of sources, or their shape.
        tau_decay, tau_rise [time] > 0.
        alpha: rate of opening [1 / time] >= 0.
        g_initializer: where g starts, of which one is all receptors open; its unit is that of g. Without one, g is the part that
            is open, and the weights are in the unit of a conductance.
    States: g [that of g_initializer] and x [1], each (*in_size) or (batch, *in_size).
    Raises: UnitError, ParameterError: a wrong unit, or a bound above broken.
    Source: Wang (1999), doi:10.1523/JNEUROSCI.19-21-09587.1999; Wang (2002), doi:10.1016/S0896-6273(02)01092-9, where g is s.
    """

    takes_spikes: ClassVar[bool] = True
    tau_decay = Parameter(u.ms, positive=True)
    tau_rise = Parameter(u.ms, positive=True)
    alpha = Parameter(u.ms**-1, at_least=0.0)

    def __init__(
        self,
        in_size: int | tuple[int, ...],
        name: str | None = None,
        tau_decay: Any = 100.0 * u.ms,
        tau_rise: Any = 2.0 * u.ms,
        alpha: Any = 0.5 / u.ms,
        g_initializer: Callable[[tuple[int, ...]], Any] | u.Quantity = Constant(0.0),
    ) -> None:
        super().__init__(in_size, name)
        self.tau_decay, self.tau_rise, self.alpha = tau_decay, tau_rise, alpha
        self.g_initializer = self.initializer("g_initializer", g_initializer)

    def init_state(self, batch_size: int | None = None) -> None:
        self.g = self.initial(self.g_initializer, batch_size=batch_size)
        self.x = self.initial(Constant(0.0), u.UNITLESS, batch_size)

    def update(self, pre_spike: Any = None) -> Any:
        """One step, with spikes of the shape of g (or booleans, or sizes of spikes) at its beginning. Returns g."""
        passed = u.maybe_decimal(environ.get_dt() * (1.0 / self.tau_rise))
        x = self.x.value if pre_spike is None else self.x.value + jnp.asarray(pre_spike, float)
        self.x.value = x * jnp.exp(-passed)
        self.g.value = opened(self.g.value, self.alpha * (x * exprel(-jnp.asarray(passed))), 1.0 / self.tau_decay)
        return self.g.value
