from __future__ import annotations

from collections.abc import Callable
from typing import Any, final

import brainunit as u
import numpy as np

from dist_sim.core import Module, State
from dist_sim.errors import ParameterError, UnitError
from dist_sim.models.describe import Descriptor
from dist_sim.models.neurons.neuron import Neuron
from dist_sim.models.outputs.output import SynOut
from dist_sim.models.synapses.synapse import Synapse


@final
class AlignPostProj(Module):
    """A projection whose synapses are one value per target: exact for synapses that are linear and alike, and O(N).

    In a step, call it with the spikes of its sources, then call the population it leads to. Projections onto one population with
    equal descriptions of synapse and output share both: they are part of that population.

    Args:
        modules: what the input goes through first: Modules or functions, or a State instead of any input.
        comm: connectivity with weights, from the sources to the targets, such as `ds.nn.EventFixedProb`.
        syn, out: descriptions (`ds.Expon.desc(100)`, `ds.COBA.desc(E=0 * u.mV)`) to share, or a synapse and an output of its own.
        post: the targets.
        label: in front of the name of its input there.

    Raises:
        ParameterError: sizes that do not fit; a synapse that one value per target is not exact for; one of syn and out described
            and the other made; a projection that is called twice in a step.
        UnitError: weights in another unit than the synapse's, an output that makes no current of it.
    Source: Wang et al. (2024), ICLR, AU2gS9ut61. Names are those of brainpy.state 0.1.
    """

    def __init__(
        self,
        *modules: Callable[..., Any] | State,
        comm: Any,
        syn: Descriptor[Any] | Synapse,
        out: Descriptor[Any] | SynOut,
        post: Neuron,
        label: str | None = None,
    ) -> None:
        super().__init__()
        if not isinstance(post, Neuron):
            raise ParameterError(f"AlignPostProj(post={post!r:.60}): needs a population of neurons.")
        if isinstance(syn, Descriptor) != isinstance(out, Descriptor):
            raise ParameterError("AlignPostProj(syn=..., out=...): give descriptions of both, or a synapse and an output.")
        if not callable(comm):
            raise ParameterError(f"AlignPostProj(comm={comm!r:.60}): needs connectivity, such as ds.nn.EventFixedProb(...).")
        self.prefetch, self.comm, self.post = modules, comm, post
        self._shares = isinstance(syn, Descriptor)
        if isinstance(syn, Descriptor) and isinstance(out, Descriptor):
            key = " // ".join((*([label] if label else []), syn.text, out.text))
            if key not in post.before_updates:
                pair = _SynapseAndOutput(syn(), out())
                _check(comm, pair, post)
                post.before_updates[key] = pair
                post.add_current_input(key, pair.out)
                post.after_updates[key] = _StepEnd(pair.out)
            self.pair: Any = post.before_updates[key]
        else:
            self.pair = _SynapseAndOutput(syn, out)
            key = f"{label or type(syn).__name__} {len(post.after_updates)}"
            post.add_current_input(key, self.pair.out)
            post.after_updates[key] = _StepEnd(self.pair.out)
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
        """Sends: what `comm` makes of the spikes arrives at the synapse at the end of this step."""
        for module in self.prefetch:
            args = (module.value if isinstance(module, State) else module(*args),)
        self.syn.add_delta_input(self._key, self.comm(*args))
        if not self._shares:
            self.pair()


@final
class _SynapseAndOutput(Module):
    """A synapse, and the output that takes its conductance in the same step."""

    def __init__(self, syn: Any, out: Any) -> None:
        super().__init__()
        if not isinstance(syn, Synapse) or not syn.is_align_post:
            raise ParameterError(
                f"AlignPostProj(syn={type(syn).__name__}): one value per target is exact for linear ones alone, as Expon."
            )
        if not isinstance(out, SynOut):
            raise ParameterError(f"AlignPostProj(out={type(out).__name__}): needs an output, such as COBA or CUBA.")
        self.syn, self.out = syn, out
        self.senders = 0  # projections that lead here

    def update(self) -> None:
        self.out.bind_cond(self.syn())


@final
class _StepEnd(Module):
    """Runs after the targets: no later step takes the conductance of this one."""

    def __init__(self, out: SynOut) -> None:
        super().__init__()
        self.out = out

    def update(self, spikes: Any) -> None:
        self.out.unbind_cond()


def _check(comm: Any, pair: Any, post: Neuron) -> None:
    """Sizes and units along the way, before anything runs."""
    for what, size in (("comm leads to", getattr(comm, "out_size", None)), ("the synapse has", pair.syn.in_size)):
        if size is not None and np.prod(size) != np.prod(post.in_size):
            raise ParameterError(f"AlignPostProj: {what} {size} targets; post has {post.in_size}. They must be the same.")
    weight = getattr(comm, "weight", None)
    weight = weight.value if isinstance(weight, State) else None
    # With a bias, it is a dict of both.
    weight = weight["weight"] if isinstance(weight, dict) else weight
    unit = u.get_unit(pair.syn.g_initializer(pair.syn.in_size))
    if weight is not None and not u.have_same_dim(u.get_unit(weight), unit):
        raise UnitError(
            f"AlignPostProj: the weights are in {u.get_unit(weight)}, and {type(pair.syn).__name__} holds a conductance in "
            f"{unit}. Give the weights in that unit, or the synapse a g_initializer in theirs."
        )
    current = pair.out.update(1.0 * unit, 1.0 * u.mV)
    if not u.have_same_dim(current, u.mA):
        raise UnitError(
            f"AlignPostProj: {type(pair.out).__name__} makes {u.get_unit(current)} of {unit}; the neurons take a current (mA). "
            "With CUBA give a scale that makes it one."
        )
