from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, final

import brainunit as u

from dist_sim.core import environ
from dist_sim.models.parameter import Parameter
from dist_sim.models.synapses.synapse import AT_REST, Synapse


@final
class Alpha(Synapse):
    r"""Conductance in the shape of an alpha function, exact at any step.

    .. math:: \tau \dot h = -h, \qquad \tau \dot g = h - g

    A step first integrates, then adds what arrives to h: g of one unit is :math:`(t / \tau) \, e^{-t / \tau}`, with the peak 1/e
    at the time tau.

    Args:
        in_size: number of synapses, or neurons that they are aligned with; or a shape.
        tau: time constant [time] > 0, one value or one per neuron; a State to change or train it later.
        g_initializer: where g and h start; its unit is theirs, which follows the weights if it is left out: see
            :class:`Synapse`.
    States: g, h (*in_size) or (batch, *in_size) [that of g_initializer].
    Raises: UnitError, ParameterError: a wrong unit, or a bound above broken.
    Source: Rall (1967), doi:10.1152/jn.1967.30.5.1138. Names and defaults are those of brainpy.state 0.1, which holds h fixed
    over a step: an error of first order, not made here. There, it is not for AlignPostProj.
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
        self.h = self.initial(self.g_initializer, batch_size=batch_size)

    def update(self, x: Any = None) -> Any:
        """One step. Returns g, of its shape; `x`: in the unit of g, or spikes."""
        passed = environ.get_dt() * (1.0 / self.tau)
        kept = u.math.exp(-passed)
        g, h = self.g.value, self.h.value
        self.g.value = (g + h * passed) * kept
        h = self.sum_delta_inputs(h * kept)
        self.h.value = h if x is None else h + self.arriving(x)
        return self.g.value
