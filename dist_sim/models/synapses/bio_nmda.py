from __future__ import annotations

from collections.abc import Callable
from typing import Any, final

import brainunit as u

from dist_sim.models.init import Constant
from dist_sim.models.parameter import Parameter
from dist_sim.models.synapses.receptor import Receptor, opened
from dist_sim.models.synapses.synapse import AT_REST


@final
class BioNMDA(Receptor):
    r"""NMDA receptor of second order. Its magnesium block is an output: :class:`~dist_sim.models.outputs.MgBlock`.

    .. math:: \dot x = \alpha_2 [T] (1 - x) - \beta_2 x, \qquad \dot g = \alpha_1 x (1 - g) - \beta_1 g

    [T] is a square pulse, from the step of a spike on: see :class:`Receptor`. x is exact at any step; g takes the mean of x over
    the step, which makes it of second order. The synapse is aligned with its sources.

    Args: (each but in_size one value, or one per neuron; a State to change or train it later)
        in_size: number of sources, or their shape.
        alpha1, beta1: rates [1 / time] of opening, >= 0, and closing, > 0.
        alpha2: rate of binding [1 / (time concentration)] >= 0.
        beta2: rate of unbinding [1 / time] > 0.
        T: concentration [concentration] >= 0 of a pulse.
        T_dur: its duration [time] >= 0.
        g_initializer: where g starts; its unit is that of g, of which one is all receptors open. Without, it follows the weights:
            see :class:`Synapse`.
        x_initializer: where x starts, without unit.
    States: g [that of g_initializer], x [1] and transmitter [ms], each (*in_size) or (batch, *in_size).
    Raises: UnitError, ParameterError: a wrong unit, or a bound above broken.
    Source: Destexhe, Mainen & Sejnowski (1994), doi:10.1007/BF00961734; Ermentrout & Terman (2010), Mathematical Foundations of
    Neuroscience, ch. 7. Names and defaults are those of brainpy.state 0.1, which takes x of the end of the step: of first order.
    """

    alpha1 = Parameter(u.ms**-1, at_least=0.0)
    beta1 = Parameter(u.ms**-1, positive=True)
    alpha2 = Parameter((u.ms * u.mM) ** -1, at_least=0.0)
    beta2 = Parameter(u.ms**-1, positive=True)

    def __init__(
        self,
        in_size: int | tuple[int, ...],
        name: str | None = None,
        alpha1: Any = 2.0 / u.ms,
        beta1: Any = 0.01 / u.ms,
        alpha2: Any = 1.0 / (u.ms * u.mM),
        beta2: Any = 0.5 / u.ms,
        T: Any = 1.0 * u.mM,
        T_dur: Any = 0.5 * u.ms,
        g_initializer: Callable[[tuple[int, ...]], Any] | u.Quantity = AT_REST,
        x_initializer: Callable[[tuple[int, ...]], Any] | float = Constant(0.0),
    ) -> None:
        super().__init__(in_size, name)
        self.alpha1, self.beta1, self.alpha2, self.beta2 = alpha1, beta1, alpha2, beta2
        self.T, self.T_dur = T, T_dur
        self.g_initializer = self.initializer("g_initializer", g_initializer)
        self.x_initializer = self.initializer("x_initializer", x_initializer, u.UNITLESS)

    def init_state(self, batch_size: int | None = None) -> None:
        self.g = self.initial(self.g_initializer, batch_size=batch_size)
        self.x = self.initial(self.x_initializer, u.UNITLESS, batch_size)
        self.transmitter = self.no_transmitter(batch_size)

    def update(self, pre_spike: Any = None) -> Any:
        """One step, with spikes of the shape of g (or booleans, or part of one) at its beginning. Returns g."""
        x = self.bound(self.x.value, self.alpha2, self.beta2, self.released(self.transmitter, pre_spike))
        self.x.value = x.end
        self.g.value = opened(self.g.value, self.alpha1 * x.mean, self.beta1)
        return self.g.value
