from __future__ import annotations

from typing import Any, final

import brainunit as u

from dist_sim.models.outputs.output import SynOut
from dist_sim.models.parameter import Parameter


@final
class COBA(SynOut):
    r"""Conductance-based: :math:`I = g (E - V)`.

    Args:
        E: reversal potential [voltage].
    Raises: UnitError: E is no voltage.
    Source: Brette et al. (2007), doi:10.1007/s10827-007-0038-6.
    """

    E = Parameter(u.mV)

    def __init__(self, E: Any) -> None:
        super().__init__()
        self.E = E

    def update(self, conductance: Any, potential: Any) -> Any:
        return conductance * (self.E - potential)
