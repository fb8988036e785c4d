from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, final

import brainunit as u

from dist_sim.models.exp_euler import exp_euler_step
from dist_sim.models.parameter import Parameter
from dist_sim.models.synapses.synapse import AT_REST, Synapse


@final
class Expon(Synapse):
    r"""Conductance that jumps at a spike and decays exponentially, exact at any step.

    .. math:: \tau \dot g = -g

    A step first decays, then adds what arrives.

    Args:
        in_size: number of synapses, or neurons that they are aligned with; or a shape.
        tau: time constant [time] > 0, one value or one per neuron; a State to change or train it later.
        g_initializer: where g starts; its unit is that of g, which follows the weights if it is left out: see
            :class:`Synapse`.
    States: g (*in_size) or (batch, *in_size) [that of g_initializer].
    Raises: UnitError, ParameterError: a wrong unit, or a bound above broken.
    Source: Brette et al. (2007), doi:10.1007/s10827-007-0038-6. Names and defaults are those of brainpy.state 0.1.
    """

    is_align_post: ClassVar[bool] = True
    tau = Parameter(u.ms, positive=True)

    def __init__(
        self,
        in_size: int | tuple[int, ...],
        name: str | None = None,
        tau: Any = 8.0 * u.ms,
        g_initializer: Callable[[tuple[int, ...]], Any] | u.Quantity = AT_REST,
    ) -> None:
        super().__init__(in_size, name)
        self.tau = tau
        self.g_initializer = self.initializer("g_initializer", g_initializer)

    def init_state(self, batch_size: int | None = None) -> None:
        self.g = self.initial(self.g_initializer, batch_size=batch_size)

    def update(self, x: Any = None) -> Any:
        """One step. Returns g, of its shape; `x`: in the unit of g, or spikes."""
        g = exp_euler_step(lambda g: self.sum_current_inputs(-g) * (1.0 / self.tau), self.g.value)
        g = self.sum_delta_inputs(g)
        self.g.value = g if x is None else g + self.arriving(x)
        return self.g.value
