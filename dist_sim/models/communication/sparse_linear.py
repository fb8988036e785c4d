from __future__ import annotations

from typing import Any, final

import brainunit as u
import jax
import jax.numpy as jnp
import numpy as np

from dist_sim.core import Module, ParamState, State
from dist_sim.errors import ParameterError
from dist_sim.kernels import build
from dist_sim.models.communication.synapses import OnTheWay, adding
from dist_sim.models.communication.weights import Given, added_bias, bias_of, check_last
from dist_sim.models.dynamics import shape_of
from dist_sim.network.connection import Connection
from dist_sim.network.rules import explicit_edges
from dist_sim.network.sparse import Sparse
from dist_sim.partition.mesh import current_mesh

_NONE = build.Draw(kind=build.CONSTANT)


@final
class SparseLinear(Module):
    """The pairs of a sparse matrix, each with its weight: y = x A + b; the work follows what is not 0 in x.

    Weights lie on the device of their target, on the mesh in use when it is made; sums are the same on any mesh.

    Args:
        spar_mat: a brainunit `CSR`, `CSC` or `COO`, or one of scipy, also times a unit; (from, to).
        b_init: bias (to,): an initialiser, an array, or a State with one; None for none.
        in_size: number of sources, or a shape whose last axis that is; the rows of the matrix where left out.
        name: of the Module.
        param_type: the State that holds both: `ParamState` to train them.
        delay: [time] >= 0, one for all or one for each pair, in the order of the matrix: see :class:`OnTheWay`. None for none.

    States: weight, a dict of "weight" (to, largest in-degree), row by row the pairs of a target in the order of the matrix, and
        "bias" (to,).
    Raises: ParameterError: no sparse matrix, or a size that does not fit; when called, an input of another size.
    Source: names and defaults are those of brainstate 0.5, which keeps the weights in the order of the matrix.
    """

    def __init__(
        self,
        spar_mat: Any,
        b_init: Given | None = None,
        in_size: int | tuple[int, ...] | None = None,
        name: str | None = None,
        param_type: type[State] = ParamState,
        delay: Any = None,
    ) -> None:
        super().__init__(name)
        data, row, column = _pairs(spar_mat)
        num_pre, num_post = spar_mat.shape
        self.in_size = (num_pre,) if in_size is None else shape_of(in_size, f"SparseLinear(in_size={in_size!r})")
        if self.in_size[-1] != num_pre:
            raise ParameterError(f"SparseLinear(in_size={in_size}): the matrix has {num_pre} rows, one per source.")
        self.out_size = (*self.in_size[:-1], num_post)
        connection = Connection(
            pre_ids=np.arange(num_pre), post_ids=np.arange(num_post), group=0, rule=explicit_edges(row, column), weight=_NONE,
            delay=_NONE, autapses=True, multapses=True, stream=0, where="SparseLinear",
        )  # fmt: skip
        connection.rule.check(connection.ends(np.zeros(0, np.int64)), "SparseLinear")
        mesh = current_mesh()
        self.synapses = Sparse(connection, seed=0, weighted=True, mesh=None if mesh is None else mesh.mesh)
        order = np.argsort(column, kind="stable")
        degrees = np.bincount(column, minlength=num_post)
        slot = np.arange(len(order)) - np.repeat(np.cumsum(degrees) - degrees, degrees)

        def by_target(given: Any) -> Any:
            """(num_post, largest in-degree), of one value for all pairs or one for each."""
            bare = np.asarray(u.get_mantissa(given))
            rows = np.zeros((num_post, self.synapses.width), bare.dtype)
            rows[column[order], slot] = np.broadcast_to(bare, row.shape)[order]
            return u.maybe_decimal(u.Quantity(jnp.asarray(rows, float), unit=u.get_unit(given)))

        params = {"weight": by_target(data)}
        if b_init is not None:
            params["bias"] = bias_of("SparseLinear(b_init=...)", b_init, (num_post,), params["weight"])
        self.weight = param_type(params, axes=("neuron", ...))
        self.on_the_way: OnTheWay | None = None
        if delay is not None:
            if len(self.in_size) > 1:
                raise ParameterError(f"SparseLinear(in_size={self.in_size}, delay=...): delays need sources along one axis.")
            if np.shape(u.get_mantissa(delay)) not in ((), row.shape):
                raise ParameterError(
                    f"SparseLinear(delay=...): has shape {np.shape(u.get_mantissa(delay))}; needs one time, or {row.shape}: one "
                    "for each pair of the matrix, in its order."
                )
            self.on_the_way = OnTheWay(self.synapses, by_target(delay), "SparseLinear(delay")

    def update(self, x: Any) -> Any:
        """y (..., to), of x (..., from), spikes or numbers, which may have a unit."""
        weight = self.weight.value["weight"]
        bare = u.get_mantissa(weight)
        sent = self.of_sources(u.get_mantissa(x))
        nothing = jnp.zeros((*sent.shape[:-1], self.out_size[-1]), jnp.result_type(bare, float))
        y = u.Quantity(adding(self.synapses, self.on_the_way, sent, bare)(nothing), unit=u.get_unit(x) * u.get_unit(weight))
        return added_bias("SparseLinear", u.maybe_decimal(y), self.weight.value)

    def of_sources(self, x: Any) -> jax.Array:
        """(..., from), which that must be."""
        check_last("SparseLinear", x, self.in_size[-1])
        return jnp.asarray(x)


def _pairs(matrix: Any) -> tuple[Any, np.ndarray, np.ndarray]:
    """The weights, rows and columns of a sparse matrix.

    Raises:
        ParameterError: it is none.
    """
    if isinstance(matrix, u.Quantity):  # what a matrix of scipy times a unit is
        data, row, column = _pairs(matrix.mantissa)
        return u.Quantity(data, unit=matrix.unit), row, column
    if len(getattr(matrix, "shape", ())) != 2 or not hasattr(matrix, "data") or isinstance(matrix, np.ndarray | jax.Array):
        raise ParameterError(
            f"SparseLinear(spar_mat={type(matrix).__name__}): needs a sparse matrix, such as `u.sparse.CSR((weights, indices, "
            "indptr), shape=(from, to))` of brainunit, whose weights may have a unit."
        )
    if hasattr(matrix, "row") and hasattr(matrix, "col"):
        row, column = matrix.row, matrix.col
    elif hasattr(matrix, "indptr"):
        lines = np.repeat(np.arange(len(matrix.indptr) - 1), np.diff(np.asarray(matrix.indptr, np.int64)))
        by_row = len(matrix.indptr) == matrix.shape[0] + 1 and "CSC" not in type(matrix).__name__.upper()
        row, column = (lines, matrix.indices) if by_row else (matrix.indices, lines)
    else:
        raise ParameterError(f"SparseLinear(spar_mat={type(matrix).__name__}): needs a CSR, CSC or COO matrix.")
    return matrix.data, np.asarray(row, np.int64), np.asarray(column, np.int64)
