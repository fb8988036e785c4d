from __future__ import annotations

from collections.abc import Callable
from typing import Any, final

import brainunit as u

from dist_sim.core import State
from dist_sim.errors import ParameterError
from dist_sim.models.describe import Descriptor
from dist_sim.models.dynamics import Dynamics
from dist_sim.models.outputs.output import SynOut
from dist_sim.models.projections.current_input import check_current, let_in, makes_current, unit_shown
from dist_sim.models.projections.projection import Connected, unit_of_weights
from dist_sim.models.subpopulation import Subpopulation
from dist_sim.models.synapses.synapse import AT_REST, Synapse


@final
class CurrentProj(Connected):
    """A projection without synapses of its own: what arrives is a conductance for one step, and `out` makes a current of it.

    Args:
        prefetch, comm, post, delay: see :class:`Connected` (there: modules).
        out: an output, or the description of one.
        unit: of the input, or the synapse whose conductance that is; by default the one that `prefetch` ends with, as in
            `cells.align_pre(ds.AMPA.desc()).prefetch("g")`, else none: spikes.

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
        made, found = out() if isinstance(out, Descriptor) else out, unit_of_weights(comm)
        if not isinstance(made, SynOut):
            raise ParameterError(f"CurrentProj(out={out!r:.60}): needs an output, such as COBA or CUBA.")
        of, syn = unit, unit if isinstance(unit, Synapse) else _fetched(prefetch) if unit is u.UNITLESS else None
        if syn is not None:
            if found is not None and makes_current(made, found, post):
                syn.follow(u.UNITLESS)
            unit = syn.unit
        super().__init__(prefetch, comm, post, delay, unit)
        self.out = made
        if found is not None:
            where = "align_pre_projection" if isinstance(of, Synapse) else "CurrentProj"
            given = f"weights {unit_shown(found)}"
            if syn is None and not u.have_same_dim(unit, u.UNITLESS):
                given += f" times an input in {unit}"
            elif syn is not None and syn.g_initializer is not AT_REST and not u.have_same_dim(unit, u.UNITLESS):
                given += f" times {type(syn).__name__} in {unit}, as its g_initializer says: leave that out"
            check_current(where, self.out, found * unit, post, given)
        let_in(post, self.out, type(self.out).__name__)

    def update(self, *args: Any) -> None:
        """Sends: what `comm` makes of its input flows in this step, or in a later one."""
        self.out.bind_cond(self.arriving(*args))


def _fetched(prefetch: tuple[Any, ...]) -> Synapse | None:
    """The synapse whose conductance the input ends as; one of a user's own may not say its unit."""
    module, item = (getattr(prefetch[-1], name, None) for name in ("module", "item")) if prefetch else (None, None)
    return module if isinstance(module, Synapse) and item == "g" and hasattr(module, "g_initializer") else None
