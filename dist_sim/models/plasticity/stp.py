from __future__ import annotations

from typing import Any, final

import brainunit as u
import jax.numpy as jnp

from dist_sim.models.exp_euler import exp_euler_step
from dist_sim.models.init import Constant
from dist_sim.models.parameter import Parameter
from dist_sim.models.plasticity.short_term import ShortTermPlasticity


@final
class STP(ShortTermPlasticity):
    r"""Facilitation and depression, exact at any step.

    .. math:: \tau_f \dot u = -u, \qquad \tau_d \dot x = 1 - x

    and at a spike, in this order, :math:`u := u + U (1 - u)`, release of :math:`u x`, :math:`x := x - u x`.

    Args: (each but in_size one value, or one per source; a State to change or train it later)
        in_size: number of sources, or their shape.
        U: part of the resources that is used at rest, in [0, 1].
        tau_f, tau_d: time constants [time] > 0 of facilitation and depression.
    States: u, which starts at U, and x, at 1, each (*in_size) or (batch, *in_size).
    Raises: UnitError, ParameterError: a wrong unit, or a bound above broken.
    Source: Tsodyks, Pawelzik & Markram (1998), doi:10.1162/089976698300017502. Names and defaults are those of brainpy.state
    0.1, whose jumps take u and x from before the decay of the step: a difference of first order.
    """

    U = Parameter(u.UNITLESS, at_least=0.0, at_most=1.0)
    tau_f = Parameter(u.ms, positive=True)
    tau_d = Parameter(u.ms, positive=True)

    def __init__(
        self,
        in_size: int | tuple[int, ...],
        name: str | None = None,
        U: Any = 0.15,
        tau_f: Any = 1500.0 * u.ms,
        tau_d: Any = 200.0 * u.ms,
    ) -> None:
        super().__init__(in_size, name)
        self.U, self.tau_f, self.tau_d = U, tau_f, tau_d

    def init_state(self, batch_size: int | None = None) -> None:
        self.u = self.initial(lambda shape: jnp.broadcast_to(self.U, shape), u.UNITLESS, batch_size)
        self.x = self.initial(Constant(1.0), u.UNITLESS, batch_size)

    def update(self, pre_spike: Any) -> Any:
        """One step with spikes (or booleans, or part of one) at its end. Returns u x at spikes, and 0 elsewhere."""
        spike = jnp.asarray(pre_spike, float)
        used = exp_euler_step(lambda u: -u * (1.0 / self.tau_f), self.u.value)
        x = exp_euler_step(lambda x: (1.0 - x) * (1.0 / self.tau_d), self.x.value)
        used = used + spike * self.U * (1.0 - used)
        released = spike * used * x
        self.u.value, self.x.value = used, x - released
        return released
