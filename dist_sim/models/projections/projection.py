"""Projections, and what those with connectivity have in common."""

from __future__ import annotations

from abc import ABC
from collections.abc import Callable
from typing import Any

import brainunit as u
import jax
import numpy as np

from dist_sim.core import Module, State, environ
from dist_sim.core.transform import eval_shape
from dist_sim.errors import ParameterError
from dist_sim.models.communication import Plastic
from dist_sim.models.delays import Delay
from dist_sim.models.describe import Descriptor
from dist_sim.models.dynamics import Dynamics, shape_of
from dist_sim.models.parameter import Parameter
from dist_sim.models.plasticity import ShortTermPlasticity
from dist_sim.models.subpopulation import Subpopulation


class Projection(Module):
    """From one population to another. In a step, projections are called first, and then the populations they lead to.

    Called, it calls the Modules that it holds, unless a kind of projection does something else.

    Raises:
        ParameterError: it holds none.
    """

    def update(self, *args: Any) -> Any:
        parts = list(self.children())
        if not parts:
            raise ParameterError(f"{type(self).__name__}: holds no projections, and does not define update().")
        for part in parts:
            part(*args)


class Connected(Projection, ABC):
    """A projection through connectivity, with a delay.

    With one delay for all, what arrives at the targets is kept until it is due: split over a mesh as the targets are, and the
    spikes of a step are exchanged as they are. With one per source, what sources send is kept, and exchanged when it is due.
    A delay of k steps arrives k steps later; one between steps gives each of both its part, so that no spike is lost or doubled.
    Synapses that change (`ds.nn.Plastic`) get spikes when they are due, in whole steps.

    Args:
        modules: what the input goes through first: Modules or functions, or a State instead of any input.
        comm: connectivity with weights, from the sources to the targets, such as `ds.nn.EventFixedProb`.
        post: the targets: a population, or some of it, `cells[:100]`.
        delay: [time] >= 0, one or one per source; None for none.
        unit: of the input.
        stp: short-term plasticity of the sources, or its description, behind the modules; None for none.

    Raises:
        ParameterError: something else than that, sizes that do not fit, synapses with delays of their own and a delay.
    """

    delay = Parameter(u.ms, at_least=0.0)

    def __init__(
        self, modules: tuple[Callable[..., Any] | State, ...], comm: Any, post: Dynamics | Subpopulation, delay: Any,
        unit: Any = u.UNITLESS, stp: ShortTermPlasticity | Descriptor[Any] | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        where = type(self).__name__
        self.stp = checked_stp(stp, comm, where)
        if not isinstance(post, Dynamics | Subpopulation):
            raise ParameterError(f"{where}(post={post!r:.60}): needs a population of neurons.")
        for module in modules:
            if not callable(module) and not isinstance(module, State):
                raise ParameterError(f"{where}({module!r:.60}): the input goes through Modules, functions or States.")
        if not callable(comm):
            raise ParameterError(f"{where}(comm={comm!r:.60}): needs connectivity, such as ds.nn.EventFixedProb(...).")
        self.prefetch = modules if self.stp is None else (*modules, self.stp)
        self.comm, self.post, self.unit = comm, post, unit
        size = getattr(comm, "out_size", None)
        if size is not None and np.prod(size) != np.prod(post.in_size):
            raise ParameterError(f"{where}: comm leads to {size} targets; post has {post.in_size}. They must be the same.")
        self.line: Delay | None = None
        if delay is not None and getattr(comm, "on_the_way", None) is not None:
            raise ParameterError(f"{where}(delay=...): the synapses of comm have delays of their own. Give one or the other.")
        if delay is not None:
            self.in_size = shape_of(getattr(comm, "in_size", None), f"{where}(delay=...): the in_size of comm")
            self.delay = State(delay, axes=(..., "neuron")) if u.math.ndim(delay) and not isinstance(delay, State) else delay
            self.line = Delay(self._carried(), time=self.delay, interpolation="nearest" if isinstance(comm, Plastic) else None)

    def arriving(self, *args: Any) -> Any:
        """What arrives at the targets in this step."""
        return self._through(self.comm, *args)

    def adding(self, *args: Any) -> Any:
        """What arrives at the targets in this step, or what adds it to a total: see :meth:`Dynamics.add_delta_input`."""
        direct = self.line is None and u.have_same_dim(self.unit, u.UNITLESS)
        return self._through(getattr(self.comm, "adding", self.comm) if direct else self.comm, *args)

    def _through(self, comm: Callable[[Any], Any], *args: Any) -> Any:
        for module in self.prefetch:
            args = (module.value if isinstance(module, State) else module(*args),)
        if len(args) != 1:
            raise ParameterError(f"{type(self).__name__}: call it with the spikes of its sources; got {len(args)} arguments.")
        (x,) = args
        # Connectivity is linear: the unit waits outside.
        x = x.to_decimal(self.unit) if isinstance(x, u.Quantity) else x
        if self.line is None:
            out = comm(x)
        elif self._waits_before:
            self.line.update(x)
            out = self.comm(self.line.retrieve(self.delay))
        else:
            self.line.update(self.comm(x))
            out = self.line.retrieve(self.delay)
        return out if callable(out) else u.maybe_decimal(out * self.unit)

    @property
    def _waits_before(self) -> bool:
        """Whether what sources send waits, and not what arrives at the targets."""
        return u.math.ndim(self.delay) > 0 or isinstance(self.comm, Plastic)

    def _carried(self) -> Any:
        """Shape and unit of what waits."""
        source = jax.ShapeDtypeStruct(self.in_size, environ.dftype())
        return source if self._waits_before else eval_shape(self.comm, source)


def checked_stp(stp: Any, comm: Any, where: str) -> ShortTermPlasticity | None:
    """Short-term plasticity, made if it is described.

    Raises:
        ParameterError: something else, or of another number of sources than `comm`.
    """
    stp = stp() if isinstance(stp, Descriptor) else stp
    if stp is not None and not isinstance(stp, ShortTermPlasticity):
        raise ParameterError(f"{where}(stp={stp!r:.60}): needs short-term plasticity, such as STP or STD.")
    size = getattr(comm, "in_size", None)
    if stp is not None and size is not None and size != stp.in_size:
        raise ParameterError(f"{where}: stp has {stp.in_size} sources; comm has {size}. They must be the same.")
    return stp


def unit_of_weights(comm: Any) -> Any:
    """The unit of the weights of connectivity; None where they cannot be seen."""
    weight = getattr(comm, "weight", None)
    value = weight.value if isinstance(weight, State) else None
    # With a bias, it is a dict of both.
    value = value["weight"] if isinstance(value, dict) else value
    return None if value is None else u.get_unit(value)
