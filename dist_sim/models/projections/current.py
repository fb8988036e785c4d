from __future__ import annotations

from collections.abc import Callable
from typing import Any, final

import brainunit as u

from dist_sim.core import State
from dist_sim.errors import ParameterError
from dist_sim.models.describe import Descriptor
from dist_sim.models.dynamics import Dynamics
from dist_sim.models.outputs.output import SynOut
from dist_sim.models.projections.current_input import check_current, let_in
from dist_sim.models.projections.projection import Connected, unit_of_weights
from dist_sim.models.subpopulation import Subpopulation


@final
class CurrentProj(Connected):
    """A projection without synapses of its own: what arrives is a conductance for one step, and `out` makes a current of it.

    Args:
        prefetch, comm, post, delay: see :class:`Connected` (there: modules).
        out: an output, or the description of one.
        unit: of the input: without for spikes.

    Raises:
        ParameterError: sizes that do not fit, something else than an output.
        UnitError: an output that makes no current of the weights, a delay that is no time.
    Source: names are those of brainpy.state 0.1.
    """

    def __init__(
        self,
        *prefetch: Callable[..., Any] | State,
        comm: Any,
        out: SynOut | Descriptor[Any],
        post: Dynamics | Subpopulation,
        delay: Any = None,
        unit: Any = u.UNITLESS,
    ) -> None:
        super().__init__(prefetch, comm, post, delay, unit)
        self.out = out() if isinstance(out, Descriptor) else out
        if not isinstance(self.out, SynOut):
            raise ParameterError(f"CurrentProj(out={out!r:.60}): needs an output, such as COBA or CUBA.")
        found = unit_of_weights(comm)
        if found is not None:
            check_current("CurrentProj", self.out, found * unit, post)
        let_in(post, self.out, type(self.out).__name__)

    def update(self, *args: Any) -> None:
        """Sends: what `comm` makes of its input flows in this step, or in a later one."""
        self.out.bind_cond(self.arriving(*args))
