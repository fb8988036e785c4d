from __future__ import annotations

from collections.abc import Callable
from typing import Any, final

import brainunit as u

from dist_sim.core import State
from dist_sim.errors import UnitError
from dist_sim.models.describe import Descriptor
from dist_sim.models.dynamics import Dynamics
from dist_sim.models.plasticity import ShortTermPlasticity
from dist_sim.models.projections.projection import Connected, unit_of_weights
from dist_sim.models.subpopulation import Subpopulation


@final
class DeltaProj(Connected):
    """A projection whose spikes make the potential of their targets jump by the weights.

    With a label it is what the model of the targets makes of `sum_delta_inputs(..., label=label)`: a conductance, for instance.

    Args:
        prefetch, comm, post, stp, delay: see :class:`Connected` (there: modules).
        label: in front of the name of its input.

    Raises:
        ParameterError: sizes that do not fit; a projection that is called twice in a step.
        UnitError: weights in another unit than what the targets add them to, a delay that is no time.
    Source: Brunel (2000), doi:10.1023/A:1008925309027. Names are those of brainpy.state 0.1, without delay and stp there.
    """

    def __init__(
        self, *prefetch: Callable[..., Any] | State, comm: Any, post: Dynamics | Subpopulation, label: str | None = None,
        stp: ShortTermPlasticity | Descriptor[Any] | None = None, delay: Any = None,
    ) -> None:  # fmt: skip
        super().__init__(prefetch, comm, post, delay, stp=stp)
        unit, wanted = unit_of_weights(comm), getattr(post, "delta_unit", None)
        if unit is not None and wanted is not None and not u.have_same_dim(unit, wanted):
            raise UnitError(
                f"DeltaProj: the weights are in {unit}; {type(post).__name__} sums them up in {wanted}. Give them in {wanted}."
            )
        self.label = label
        self._key = post.new_delta_input("DeltaProj", label)

    def update(self, *args: Any) -> None:
        """Sends: what `comm` makes of the spikes is added to the potential in this step, or a later one."""
        self.post.add_delta_input(self._key, self.adding(*args), self.label)
