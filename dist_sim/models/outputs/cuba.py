from __future__ import annotations

from typing import Any, final

import brainunit as u

from dist_sim.errors import ParameterError
from dist_sim.models.outputs.output import SynOut


@final
class CUBA(SynOut):
    r"""Current-based: :math:`I = g \cdot scale`, whatever the potential.

    Args:
        scale: a unit or quantity; by default volts, which make a current in ampere of a conductance in siemens. A
            projection checks that the product is a current.
    Source: Brette et al. (2007), doi:10.1007/s10827-007-0038-6.
    """

    def __init__(self, scale: Any = u.volt) -> None:
        super().__init__()
        if isinstance(scale, bool | str) or scale is None:
            raise ParameterError(f"CUBA(scale={scale!r}): needs a unit or a quantity, such as u.volt.")
        self.scale = 1.0 * scale

    def update(self, conductance: Any, potential: Any = None) -> Any:
        return conductance * self.scale
