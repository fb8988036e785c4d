"""Receptors that are open or closed: AMPA and GABAa."""

from __future__ import annotations

from abc import ABC
from collections.abc import Callable
from typing import Any

import brainunit as u

from dist_sim.models.parameter import Parameter
from dist_sim.models.synapses.receptor import Receptor


class TwoState(Receptor, ABC):
    r"""Receptor that opens as it binds transmitter, exact at any step.

    .. math:: \dot g = \alpha [T] (1 - g) - \beta g

    [T] is a square pulse, from the step of a spike on: see :class:`Receptor`. The synapse is aligned with its sources.

    Args: (each but in_size one value, or one per neuron; a State to change or train it later)
        in_size: number of sources, or their shape.
        alpha: rate of binding [1 / (time concentration)] >= 0.
        beta: rate of unbinding [1 / time] > 0.
        T: concentration [concentration] >= 0 of a pulse.
        T_dur: its duration [time] >= 0.
        g_initializer: where g starts; its unit is that of g, of which one is all receptors open. Without, it follows the weights:
            see :class:`Synapse`.
    States: g [that of g_initializer] and transmitter [ms], each (*in_size) or (batch, *in_size).
    Raises: UnitError, ParameterError: a wrong unit, or a bound above broken.
    """

    alpha = Parameter((u.ms * u.mM) ** -1, at_least=0.0)
    beta = Parameter(u.ms**-1, positive=True)

    def __init__(
        self,
        in_size: int | tuple[int, ...],
        name: str | None,
        alpha: Any,
        beta: Any,
        T: Any,
        T_dur: Any,
        g_initializer: Callable[[tuple[int, ...]], Any] | u.Quantity,
    ) -> None:
        super().__init__(in_size, name)
        self.alpha, self.beta, self.T, self.T_dur = alpha, beta, T, T_dur
        self.g_initializer = self.initializer("g_initializer", g_initializer)

    def init_state(self, batch_size: int | None = None) -> None:
        self.g = self.initial(self.g_initializer, batch_size=batch_size)
        self.transmitter = self.no_transmitter(batch_size)

    def update(self, pre_spike: Any = None) -> Any:
        """One step, with spikes of the shape of g (or booleans, or part of one) at its beginning. Returns g."""
        there = self.released(self.transmitter, pre_spike)
        self.g.value = self.bound(self.g.value, self.alpha, self.beta, there).end
        return self.g.value
