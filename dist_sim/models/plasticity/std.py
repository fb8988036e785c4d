from __future__ import annotations

from typing import Any, final

import brainunit as u
import jax.numpy as jnp

from dist_sim.models.exp_euler import exp_euler_step
from dist_sim.models.init import Constant
from dist_sim.models.parameter import Parameter
from dist_sim.models.plasticity.short_term import ShortTermPlasticity


@final
class STD(ShortTermPlasticity):
    r"""Depression, exact at any step.

    .. math:: \tau \dot x = 1 - x

    and at a spike, in this order, release of x, :math:`x := x - U x`.

    Args: (each but in_size one value, or one per source; a State to change or train it later)
        in_size: number of sources, or their shape.
        tau: time constant [time] > 0 of recovery.
        U: part of the resources that a spike uses, in [0, 1].
    States: x, which starts at 1, (*in_size) or (batch, *in_size).
    Raises: UnitError, ParameterError: a wrong unit, or a bound above broken.
    Source: Abbott, Varela, Sen & Nelson (1997), doi:10.1126/science.275.5297.221. Names and defaults are those of brainpy.state
    0.1, whose jump takes x from before the recovery of the step: a difference of first order.
    """

    tau = Parameter(u.ms, positive=True)
    U = Parameter(u.UNITLESS, at_least=0.0, at_most=1.0)

    def __init__(self, in_size: int | tuple[int, ...], name: str | None = None, tau: Any = 200.0 * u.ms, U: Any = 0.07) -> None:
        super().__init__(in_size, name)
        self.tau, self.U = tau, U

    def init_state(self, batch_size: int | None = None) -> None:
        self.x = self.initial(Constant(1.0), u.UNITLESS, batch_size)

    def update(self, pre_spike: Any) -> Any:
        """One step with spikes (or booleans, or part of one) at its end. Returns x at spikes, and 0 elsewhere."""
        spike = jnp.asarray(pre_spike, float)
        x = exp_euler_step(lambda x: (1.0 - x) * (1.0 / self.tau), self.x.value)
        self.x.value = x - spike * self.U * x
        return spike * x
