from __future__ import annotations

from collections.abc import Callable
from typing import Any, final

import brainunit as u
import numpy as np

from dist_sim.core import Module, State
from dist_sim.errors import ParameterError, UnitError
from dist_sim.models.describe import Descriptor
from dist_sim.models.dynamics import Dynamics
from dist_sim.models.outputs.output import SynOut
from dist_sim.models.plasticity import ShortTermPlasticity
from dist_sim.models.projections.current_input import check_current, let_in, unit_shown
from dist_sim.models.projections.projection import Connected, unit_of_weights
from dist_sim.models.subpopulation import Subpopulation
from dist_sim.models.synapses.synapse import Synapse


@final
class AlignPostProj(Connected):
    """A projection whose synapses are one value per target: exact for synapses that are linear and alike, and O(N).

    In a step, call it with the spikes of its sources, then call the population it leads to. Projections onto one population with
    equal descriptions of synapse and output share both: they are part of that population. Each has a delay of its own.

    Args:
        modules, comm, post, stp, delay: see :class:`Connected`. A delay counts from the release.
        syn, out: descriptions (`ds.Expon.desc(100)`, `ds.COBA.desc(E=0 * u.mV)`) to share, or a synapse and an output of its own.
        label: in front of the name of its input there.

    Raises:
        ParameterError: sizes that do not fit; a synapse that one value per target is not exact for; one of syn and out described
            and the other made; a projection that is called twice in a step.
        UnitError: weights in another unit than the synapse's, an output that makes no current of it, a delay that is no time.
    Source: Wang et al. (2024), ICLR, AU2gS9ut61. Names are those of brainpy.state 0.1, which makes two spikes of one that is
    delayed by a part of a step; `align_post_projection` is another name for it, as there for one with `stp`, which does not work.
    """

    def __init__(
        self,
        *modules: Callable[..., Any] | State,
        comm: Any,
        syn: Descriptor[Any] | Synapse,
        out: Descriptor[Any] | SynOut,
        post: Dynamics | Subpopulation,
        label: str | None = None,
        stp: ShortTermPlasticity | Descriptor[Any] | None = None,
        delay: Any = None,
    ) -> None:
        if isinstance(syn, Descriptor) != isinstance(out, Descriptor):
            raise ParameterError("AlignPostProj(syn=..., out=...): give descriptions of both, or a synapse and an output.")
        super().__init__(modules, comm, post, delay, stp=stp)
        self._shares = isinstance(syn, Descriptor)
        if isinstance(syn, Descriptor) and isinstance(out, Descriptor):
            key = " // ".join((*([label] if label else []), syn.text, out.text))
            if key not in post.before_updates:
                pair = SynapseAndOutput(syn(), out())
                _check(comm, pair, post)
                post.before_updates[key] = pair
                let_in(post, pair.out, key)
            self.pair: Any = post.before_updates[key]
        else:
            self.pair = SynapseAndOutput(syn, out)
            key = let_in(post, self.pair.out, label or type(syn).__name__)
        _check(comm, self.pair, post)
        self.pair.senders += 1
        self._key = f"{key} {self.pair.senders}"

    @property
    def syn(self) -> Synapse:
        return self.pair.syn

    @property
    def out(self) -> SynOut:
        return self.pair.out

    def update(self, *args: Any) -> None:
        """Sends: what `comm` makes of the spikes arrives at the synapse at the end of this step, or of a later one."""
        self.syn.add_delta_input(self._key, self.adding(*args))
        if not self._shares:
            self.pair()


align_post_projection = AlignPostProj


@final
class SynapseAndOutput(Module):
    """A synapse, and the output that takes its conductance in the same step."""

    def __init__(self, syn: Any, out: Any) -> None:
        super().__init__()
        if not isinstance(syn, Synapse) or not syn.is_align_post:
            raise ParameterError(
                f"AlignPostProj(syn={type(syn).__name__}): one value per target is exact for linear ones alone, as Expon. "
                "align_pre_projection takes every synapse."
            )
        if not isinstance(out, SynOut):
            raise ParameterError(f"AlignPostProj(out={type(out).__name__}): needs an output, such as COBA or CUBA.")
        self.syn, self.out = syn, out
        self.senders = 0  # projections that lead here

    def update(self) -> None:
        self.out.bind_cond(self.syn())


def _check(comm: Any, pair: Any, post: Dynamics | Subpopulation) -> None:
    """Sizes and units along the way, before anything runs."""
    if np.prod(pair.syn.in_size) != np.prod(post.in_size):
        raise ParameterError(
            f"AlignPostProj: the synapse has {pair.syn.in_size} targets; post has {post.in_size}. They must be the same."
        )
    found = unit_of_weights(comm)
    if found is not None:
        pair.syn.follow(found)
    unit = pair.syn.unit
    if found is not None and not u.have_same_dim(found, unit):
        raise UnitError(
            f"AlignPostProj: the weights are {unit_shown(found)}, and {type(pair.syn).__name__} holds a conductance "
            f"{unit_shown(unit)}, by its g_initializer or by the weights of a projection that shares it. Give these weights "
            "in that unit, or leave g_initializer out."
        )
    check_current("AlignPostProj", pair.out, unit, post, f"weights {unit_shown(unit)}")
