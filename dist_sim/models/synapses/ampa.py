from __future__ import annotations

from collections.abc import Callable
from typing import Any, final

import brainunit as u

from dist_sim.models.synapses.synapse import AT_REST
from dist_sim.models.synapses.two_state import TwoState


@final
class AMPA(TwoState):
    """AMPA receptor: see :class:`TwoState` for the equation, arguments, States and errors.

    Source: Destexhe, Mainen & Sejnowski (1994), doi:10.1007/BF00961734; Vijayan & Kopell (2012), doi:10.1073/pnas.1215385109.
    Names and defaults are those of brainpy.state 0.1.
    """

    def __init__(
        self,
        in_size: int | tuple[int, ...],
        name: str | None = None,
        alpha: Any = 0.98 / (u.ms * u.mM),
        beta: Any = 0.18 / u.ms,
        T: Any = 0.5 * u.mM,
        T_dur: Any = 0.5 * u.ms,
        g_initializer: Callable[[tuple[int, ...]], Any] | u.Quantity = AT_REST,
    ) -> None:
        super().__init__(in_size, name, alpha, beta, T, T_dur, g_initializer)
