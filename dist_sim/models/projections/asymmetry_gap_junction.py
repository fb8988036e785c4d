from __future__ import annotations

from collections.abc import Callable
from typing import Any, final

from dist_sim.core import ParamState, State
from dist_sim.models.dynamics import Dynamics
from dist_sim.models.projections.gap_junction import GapJunction


@final
class AsymmetryGapJunction(GapJunction):
    r"""Gap junctions that rectify: of another conductance in each direction.

    .. math:: I_{post} = w_0 \, (V_{pre} - V_{post}), \qquad I_{pre} = w_1 \, (V_{post} - V_{pre})

    Args:
        pre, pre_state, post, post_state: the populations, and the names of the potential.
        conn, weight, param_type, errors: see :class:`GapJunction`. weight: a pair (w_0, w_1), or (junctions, 2).

    Source: Phelan (2005), doi:10.1016/j.bbamem.2004.10.004. Names are those of brainpy.state 0.1.
    """

    def __init__(
        self,
        pre: Dynamics,
        pre_state: str,
        post: Dynamics,
        post_state: str,
        conn: Callable[..., Any],
        weight: Any,
        param_type: type[State] = ParamState,
    ) -> None:
        super().__init__(pre, post, (pre_state, post_state), conn, weight, param_type, two=True)

    def weights(self) -> tuple[Any, Any]:
        return self.weight.value[..., 0], self.weight.value[..., 1]
