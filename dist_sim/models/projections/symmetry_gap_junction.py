from __future__ import annotations

from collections.abc import Callable
from typing import Any, final

from dist_sim.core import ParamState, State
from dist_sim.models.dynamics import Dynamics
from dist_sim.models.projections.gap_junction import GapJunction


@final
class SymmetryGapJunction(GapJunction):
    r"""Gap junctions of one conductance in both directions.

    .. math:: I_{post} = w \, (V_{pre} - V_{post}) = -I_{pre}

    Args:
        couples: two populations, or one whose neurons are joined with each other.
        states: the name of the potential in both, or a pair of names.
        conn, weight, param_type, errors: see :class:`GapJunction`. weight: one, or one per junction.

    Source: Bennett & Zukin (2004), doi:10.1016/S0896-6273(04)00043-1. Names are those of brainpy.state 0.1.
    """

    def __init__(
        self,
        couples: tuple[Dynamics, Dynamics] | Dynamics,
        states: str | tuple[str, str],
        conn: Callable[..., Any],
        weight: Any,
        param_type: type[State] = ParamState,
    ) -> None:
        pre, post = couples if isinstance(couples, tuple | list) else (couples, couples)
        names = (states, states) if isinstance(states, str) else (states[0], states[1])
        super().__init__(pre, post, names, conn, weight, param_type, two=False)

    def weights(self) -> tuple[Any, Any]:
        return self.weight.value, self.weight.value
