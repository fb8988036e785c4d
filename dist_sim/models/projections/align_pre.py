"""Projections whose synapses are one value per source."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, final

from dist_sim.core import State
from dist_sim.errors import ParameterError
from dist_sim.models.communication import Plastic
from dist_sim.models.describe import Descriptor
from dist_sim.models.dynamics import Dynamics
from dist_sim.models.outputs.output import SynOut
from dist_sim.models.projections.current import CurrentProj
from dist_sim.models.projections.projection import Projection, checked_stp
from dist_sim.models.subpopulation import Subpopulation
from dist_sim.models.synapses.synapse import Synapse


@final
class align_pre_projection(Projection):
    """A projection whose synapses are one value per source: exact for every synapse that is alike for all targets of a source.

    O(N) in States; the values of all sources are exchanged, and weighted, at every step: with linear synapses,
    :class:`AlignPostProj` costs less. The current flows in the step in which the synapse opens.

    Args:
        spike_generator: what the input goes through to become spikes: Modules or functions, or a State instead of any input.
        stp: short-term plasticity of the sources, or its description; None for none.
        syn: a synapse of the size of the sources, or its description. Its conductance times the weights is what `out` takes: the
            weights carry the unit, or a `g_initializer` does (see :class:`Synapse`).
        comm, out, post, delay: see :class:`CurrentProj`. With a delay for all, what arrives waits at the targets; one per source
            delays the conductance of that source.

    Raises:
        ParameterError: sizes that do not fit, something else than a synapse.
        UnitError: conductance times weights of which `out` makes no current, a delay that is no time.
    Source: Wang et al. (2024), ICLR, AU2gS9ut61. Names are those of brainpy.state 0.1, where it works with no synapse.
    """

    def __init__(
        self,
        *spike_generator: Callable[..., Any] | State,
        syn: Synapse | Descriptor[Any],
        comm: Any,
        out: SynOut | Descriptor[Any],
        post: Dynamics | Subpopulation,
        stp: Any = None,
        delay: Any = None,
    ) -> None:
        super().__init__()
        where = "align_pre_projection"
        for module in spike_generator:
            if not callable(module) and not isinstance(module, State):
                raise ParameterError(f"{where}({module!r:.60}): spikes come from Modules, functions or States.")
        if isinstance(comm, Plastic):
            raise ParameterError(f"{where}: synapses that change take spikes, and here come conductances. Use AlignPostProj.")
        self.spike_generator, self.stp = spike_generator, checked_stp(stp, comm, where)
        syn = syn() if isinstance(syn, Descriptor) else syn
        if not isinstance(syn, Synapse):
            raise ParameterError(f"{where}(syn={syn!r:.60}): needs a synapse, such as Expon(100).")
        for what, found in (("comm has", getattr(comm, "in_size", None)), ("stp has", getattr(self.stp, "in_size", None))):
            if found is not None and found != syn.in_size:
                raise ParameterError(f"{where}: the synapse has {syn.in_size} sources; {what} {found}. They must be the same.")
        self.syn = syn
        self.projection = CurrentProj(comm=comm, out=out, post=post, delay=delay, unit=syn)

    def update(self, *args: Any) -> None:
        """Sends the spikes of this step."""
        for module in self.spike_generator:
            out = module.value if isinstance(module, State) else module(*args)
            args = out if isinstance(out, tuple) else (out,)
        if len(args) != 1:
            raise ParameterError(f"{type(self).__name__}: call it with the spikes of its sources; got {len(args)} arguments.")
        spikes = args[0] if self.stp is None else self.stp(args[0])
        self.projection(self.syn(spikes))
