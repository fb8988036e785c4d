"""Electrical coupling: the shared part of its two kinds."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, final

import brainunit as u
import jax.numpy as jnp
import numpy as np

from dist_sim.core import State
from dist_sim.errors import ParameterError, UnitError
from dist_sim.models.dynamics import Dynamics
from dist_sim.models.projections.current_input import Flowing, let_in
from dist_sim.models.projections.projection import Projection


class GapJunction(Projection, ABC):
    r"""Currents between neurons, in proportion to the difference of their potentials at the beginning of a step.

    In a step, call it before both populations, and then each of them. Junctions join any two neurons: on a mesh, the potentials
    are exchanged, and each device computes all currents.

    Args:
        pre, post: the populations; they may be one.
        states: the names of the State in either.
        conn: called with the sizes of both, gives two equally long arrays: the neurons that are joined.
        weight: conductances [current / State]: a value, or a callable of a shape.
        shape: of the weights, by the number of junctions.
        param_type: the State that holds the weights.

    Raises:
        ParameterError: something else than populations, neurons that do not exist, weights that do not fit.
        UnitError: weights that make no current.
    """

    def __init__(
        self,
        pre: Any,
        post: Any,
        states: tuple[str, str],
        conn: Callable[..., Any],
        weight: Any,
        param_type: type[State],
        two: bool,
    ) -> None:
        super().__init__()
        where = type(self).__name__
        for given in (pre, post):
            if not isinstance(given, Dynamics):
                raise ParameterError(f"{where}({given!r:.60}): joins populations of neurons.")
        if len(states) != 2 or not all(isinstance(name, str) for name in states):
            raise ParameterError(f"{where}(states={states!r}): needs the name of a State, such as 'V', or a pair of them.")
        self.pre, self.post = pre, post
        self.pre_state, self.post_state = states
        ends = [np.asarray(ids, np.int64) for ids in conn(pre.out_size, post.out_size)]
        for name, ids, of in zip(("pre", "post"), ends, (pre, post), strict=True):
            count = int(np.prod(of.in_size))
            if ids.ndim != 1 or len(ids) != len(ends[0]) or not ((ids >= 0) & (ids < count)).all():
                raise ParameterError(
                    f"{where}(conn=...): the {name} side has the shape {ids.shape}; needs as many numbers as the other one "
                    f"({len(ends[0])}), each from 0 to {count - 1}."
                )
        self.pre_ids, self.post_ids = (State(jnp.asarray(ids)) for ids in ends)
        shape = (len(ends[0]), 2) if two else (len(ends[0]),)
        value = weight(shape) if callable(weight) else weight.value if isinstance(weight, State) else weight
        if two and u.math.shape(value)[-1:] != (2,) or len(u.math.shape(value)) > len(shape):
            raise ParameterError(f"{where}(weight=...): has the shape {u.math.shape(value)}; needs {shape}.")
        if u.math.shape(value)[:1] not in ((), shape[:1], shape[1:]):
            raise ParameterError(f"{where}(weight=...): has the shape {u.math.shape(value)}; needs {shape}.")
        if not u.have_same_dim(u.get_unit(value) * u.mV, u.mA):
            raise UnitError(f"{where}(weight=...): needs a conductance, such as 0.1 * u.mS; got {u.get_unit(value)}.")
        self.weight = weight if isinstance(weight, State) else param_type(value)
        self._into_pre, self._into_post = Flowing(), Flowing()
        let_in(post, self._into_post, where)
        let_in(pre, self._into_pre, where)

    @abstractmethod
    def weights(self) -> tuple[Any, Any]:
        """Conductances for the currents into post, and out of pre: each one, or (junctions,)."""

    @final
    def update(self, *args: Any) -> Any:
        """The currents of this step. Returns those out of pre, of the shape of its State."""
        pre, post = (getattr(of, name).value for of, name in ((self.pre, self.pre_state), (self.post, self.post_state)))
        before, after = _flat(pre, self.pre), _flat(post, self.post)
        higher = before[..., self.pre_ids.value] - after[..., self.post_ids.value]
        into_post, out_of_pre = self.weights()
        self._into_post.bind_cond(_summed(higher * into_post, self.post_ids.value, post, after))
        leaving = _summed(higher * out_of_pre, self.pre_ids.value, pre, before)
        self._into_pre.bind_cond(-leaving)
        return leaving


def _flat(value: Any, of: Dynamics) -> Any:
    return value.reshape((*value.shape[: value.ndim - len(of.in_size)], -1))


def _summed(currents: Any, ids: Any, like: Any, flat: Any) -> Any:
    bare = jnp.zeros(flat.shape, flat.dtype).at[..., ids].add(u.get_mantissa(currents))
    return u.Quantity(bare.reshape(like.shape), unit=u.get_unit(currents))
