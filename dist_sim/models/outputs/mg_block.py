from __future__ import annotations

from typing import Any, final

import brainunit as u

from dist_sim.models.outputs.output import SynOut
from dist_sim.models.parameter import Parameter


@final
class MgBlock(SynOut):
    r"""Conductance-based, with channels that magnesium blocks at low potentials:

    .. math:: I = g \, (E - V) \left(1 + \frac{[Mg]}{\beta} \, e^{-\alpha (V - V_{offset})}\right)^{-1}

    Args:
        E: reversal potential [voltage].
        cc_Mg: concentration of magnesium [concentration] >= 0; a bare number is one in mM.
        alpha: sensitivity to the potential [1 / voltage].
        beta: constant of unbinding [concentration] > 0; a bare number is one in mM.
        V_offset [voltage].
    Raises: UnitError, ParameterError: a wrong unit, or a bound above broken.
    Source: Jahr & Stevens (1990), doi:10.1523/JNEUROSCI.10-09-03178.1990. Names and defaults are those of brainpy.state 0.1, with
    the units that its documentation gives: its code has none, and fails with a potential in mV.
    """

    E = Parameter(u.mV)
    cc_Mg = Parameter(u.mM, at_least=0.0)
    alpha = Parameter(u.mV**-1)
    beta = Parameter(u.mM, positive=True)
    V_offset = Parameter(u.mV)

    def __init__(
        self,
        E: Any = 0.0 * u.mV,
        cc_Mg: Any = 1.2 * u.mM,
        alpha: Any = 0.062 / u.mV,
        beta: Any = 3.57 * u.mM,
        V_offset: Any = 0.0 * u.mV,
    ) -> None:
        super().__init__()
        self.E, self.alpha, self.V_offset = E, alpha, V_offset
        self.cc_Mg, self.beta = (x * u.mM if isinstance(x, float | int) else x for x in (cc_Mg, beta))

    def update(self, conductance: Any, potential: Any) -> Any:
        # From e^40 on nothing passes; without a bound its derivative would be no number.
        steepness = u.math.minimum(u.maybe_decimal(self.alpha * (self.V_offset - potential)), 40.0)
        blocked = self.cc_Mg * (1.0 / self.beta) * u.math.exp(steepness)
        return conductance * (self.E - potential) / (1.0 + blocked)
