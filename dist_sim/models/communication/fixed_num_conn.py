from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, final

import brainunit as u
import jax
import jax.numpy as jnp
import numpy as np

from dist_sim.core import Module, ParamState, State, random
from dist_sim.errors import ParameterError
from dist_sim.kernels import build
from dist_sim.models.communication.synapses import OnTheWay, adding
from dist_sim.models.dynamics import shape_of
from dist_sim.models.init import Groups
from dist_sim.network.connection import Connection
from dist_sim.network.rules import fixed_indegree, fixed_outdegree
from dist_sim.network.sparse import Sparse
from dist_sim.partition.mesh import current_mesh

_NONE = build.Draw(kind=build.CONSTANT)


@final
class EventFixedNumConn(Module):
    """Every source has the same number of targets (or every target of sources), drawn uniformly; the work follows the spikes.

    Synapses lie on the device of their target, on the mesh in use when it is made, and are the same on any mesh. Everything can
    be differentiated: spikes and weights.

    Args:
        in_size, out_size: numbers of sources and targets, or shapes.
        conn_num: a whole number of targets of each source, or a float in [0, 1]: that part of all targets, rounded down.
        conn_weight: one number or quantity for all synapses; `ds.init.Groups`, of which each synapse takes the value of its pair
            of groups, as a weight of its own then; another callable of a shape (an initialiser), asked for a row per target of as
            many weights as the largest in-degree; or such an array itself.
        efferent_target: "post": each source has `conn_num` targets; "pre": each target has that many sources.
        afferent_ratio: part of the sources, in [0, 1], that have targets at all, chosen at random.
        allow_multi_conn: draw with replacement.
        seed: of the connections; None takes one from `ds.random`.
        name: of the Module.
        param_type: the State that holds the weights: `ParamState` to train them.
        conn_delay: [time] >= 0 of each synapse, given as weights are, or one for all: see :class:`OnTheWay`. None for none.

    States: weight, a number or (num_targets, largest in-degree): row by row the synapses of a target, in the order drawn.
    Raises: ParameterError, ConnectError: a number out of bounds, more targets than there are.
    Source: names and defaults are those of brainstate 0.5, in which EventFixedProb is another name for it.
    """

    def __init__(
        self,
        in_size: int | tuple[int, ...],
        out_size: int | tuple[int, ...],
        conn_num: int | float,
        conn_weight: Any,
        efferent_target: str = "post",
        afferent_ratio: float = 1.0,
        allow_multi_conn: bool = True,
        seed: int | None = None,
        name: str | None = None,
        param_type: type[State] = ParamState,
        conn_delay: Any = None,
    ) -> None:
        super().__init__(name)
        where = type(self).__name__
        self.in_size = shape_of(in_size, f"{where}(in_size={in_size!r})")
        self.out_size = shape_of(out_size, f"{where}(out_size={out_size!r})")
        if efferent_target not in ("post", "pre"):
            raise ParameterError(f"{where}(efferent_target={efferent_target!r}): allowed are 'post' and 'pre'.")
        if not 0.0 <= afferent_ratio <= 1.0:
            raise ParameterError(f"{where}(afferent_ratio={afferent_ratio}): a part of the sources lies between 0 and 1.")
        num_pre, num_post = math.prod(self.in_size), math.prod(self.out_size)
        for given in (conn_weight, conn_delay):
            if isinstance(given, Groups):
                given.check(num_pre, num_post)
        self.conn_num = number_of(conn_num, num_post if efferent_target == "post" else num_pre, where)
        seed = int(random.randint(2**31 - 1)) if seed is None else seed
        sources = np.flatnonzero(np.random.default_rng(seed).random(num_pre) < afferent_ratio)
        self._sources = None if len(sources) == num_pre else jnp.asarray(sources)
        rule = (fixed_outdegree if efferent_target == "post" else fixed_indegree)(self.conn_num)
        connection = Connection(
            pre_ids=np.arange(len(sources)), post_ids=np.arange(num_post), group=0, rule=rule, weight=_NONE, delay=_NONE,
            autapses=True, multapses=allow_multi_conn, stream=0, where=where,
        )  # fmt: skip
        rule.check(connection.ends(np.zeros(0, np.int64)), where)
        mesh = current_mesh()
        one_for_all = not callable(conn_weight) and not np.ndim(u.get_mantissa(_value(conn_weight)))
        self.synapses = Sparse(connection, seed=seed, weighted=not one_for_all, mesh=None if mesh is None else mesh.mesh)
        rows = num_post, self.synapses.width

        def by_target(given: Any) -> Any:
            if isinstance(given, Groups):
                source = sources[self.synapses.sources] if len(sources) else self.synapses.sources
                return given.between(source, np.arange(num_post)[:, None])
            return given(rows) if callable(given) else given

        weight = by_target(conn_weight)
        if not one_for_all and np.shape(u.get_mantissa(_value(weight))) != rows:
            raise ParameterError(
                f"{where}(conn_weight=...): has shape {np.shape(u.get_mantissa(_value(weight)))}; needs one number, or {rows}: a "
                "row per target, as long as the largest in-degree."
            )
        self.weight = weight if isinstance(weight, State) else param_type(weight, axes=() if one_for_all else ("neuron", None))
        self.on_the_way: OnTheWay | None = None
        if conn_delay is not None:
            self.on_the_way = OnTheWay(self.synapses, by_target(conn_delay), f"{where}(conn_delay")

    def update(self, spikes: jax.Array) -> Any:
        """What arrives: (..., *out_size), in the unit of the weights. `spikes`: (..., *in_size) booleans or numbers."""
        lead = spikes.shape[: spikes.ndim - len(self.in_size)]
        unit = u.get_unit(self.weight.value)
        nothing = jnp.zeros((*lead, *self.out_size), jnp.result_type(u.get_mantissa(self.weight.value), float))
        return self.adding(spikes)(u.maybe_decimal(u.Quantity(nothing, unit=unit)))

    def adding(self, spikes: jax.Array) -> Callable[[Any], Any]:
        """What adds to a total (..., *out_size) what arrives, in its place where nothing else needs it. See `update`."""
        if spikes.shape[spikes.ndim - len(self.in_size) :] != self.in_size:
            raise ParameterError(f"{type(self).__name__}: spikes have the shape {spikes.shape}; needs (..., *{self.in_size}).")
        lead = spikes.shape[: spikes.ndim - len(self.in_size)]
        flat = spikes.reshape(*lead, -1)
        flat = flat if self._sources is None else flat[..., self._sources]
        added = adding(self.synapses, self.on_the_way, flat, self.weight.value)
        return lambda total: added(total.reshape((*lead, -1))).reshape(total.shape)


EventFixedProb = EventFixedNumConn


def number_of(given: Any, of: int, where: str) -> int:
    """How many connections that is: a whole number, or a part of so many, rounded down.

    Raises:
        ParameterError: neither.
    """
    if isinstance(given, float | np.floating) and 0.0 <= given <= 1.0:
        return int(of * given)
    if isinstance(given, int | np.integer) and not isinstance(given, bool) and given >= 0:
        return int(given)
    raise ParameterError(f"{where}(conn_num={given!r}): needs a whole number, or a float between 0 and 1 for that part of {of}.")


def _value(given: Any) -> Any:
    return given.value if isinstance(given, State) else given
