"""Small functions of `ds.nn`: for labels, gradients and sizes."""

from __future__ import annotations

from typing import Any

import brainunit as u
import jax
import jax.numpy as jnp

from dist_sim.core import Module, ParamState
from dist_sim.core.walk import dotted
from dist_sim.errors import ParameterError, UnitError


def clip_grad_norm(grad: Any, max_norm: Any, norm_type: float | str | None = 2.0, return_norm: bool = False) -> Any:
    """Gradients, shrunk together to a norm of at most `max_norm`, where theirs is larger.

    Args:
        grad: a PyTree of arrays, or of quantities of one unit.
        max_norm: above 0, in that unit.
        norm_type: p of the p-norm of all numbers as one vector; "inf" for their largest. None for 2.
        return_norm: return a pair of the gradients and the norm that they had.

    Raises:
        UnitError: gradients of different units, or a `max_norm` in another one.
        ParameterError: another type of norm.
    """
    order = 2.0 if norm_type is None else norm_type
    orders = {"inf": jnp.inf, "-inf": -jnp.inf}
    if isinstance(order, str) and order not in orders:
        raise ParameterError(f"clip_grad_norm(norm_type={norm_type!r}): give a number, 'inf' or '-inf'.")
    order = orders.get(order, order) if isinstance(order, str) else order
    leaves, treedef = jax.tree.flatten(grad, is_leaf=lambda x: isinstance(x, u.Quantity))
    if not leaves:
        return (grad, jnp.zeros(())) if return_norm else grad
    unit = u.get_unit(leaves[0])
    if not all(u.have_same_dim(x, unit) for x in (*leaves, max_norm)):
        found = ", ".join(dict.fromkeys(str(u.get_unit(x)) for x in leaves))
        raise UnitError(
            f"clip_grad_norm: gradients in {found}, max_norm in {u.get_unit(max_norm)}: of different units there is no norm. "
            "Clip those of one unit, with a max_norm in it."
        )
    bare = [jnp.asarray(u.Quantity(x).to_decimal(unit)) for x in leaves]
    norm = jnp.linalg.norm(jnp.concatenate([x.ravel() for x in bare]), ord=order)
    factor = jnp.minimum(1.0, u.Quantity(max_norm).to_decimal(unit) / (norm + 1e-6))
    clipped = treedef.unflatten([u.maybe_decimal(x * factor * unit) for x in bare])
    return (clipped, u.maybe_decimal(norm * unit)) if return_norm else clipped


def count_parameters(module: Module, precision: int = 2, return_table: bool = False) -> Any:
    """Prints how many numbers the ParamStates of a model hold, and returns it.

    Args:
        precision: digits after the point, of thousands (K) and millions (M).
        return_table: return a pair of the text that was printed and the number.
    """
    counts = {dotted(path): state.numel() for path, state in module.states(ParamState).items()}
    total = sum(counts.values())
    rows = [("Modules", "Parameters"), *((path, _short(n, precision)) for path, n in counts.items())]
    rows.append(("Total", _short(total, precision)))
    width = max(len(name) for name, _ in rows)
    table = "\n".join(f"{name:{width}}  {number:>10}" for name, number in rows)
    print(table)
    return (table, total) if return_table else total


def _short(number: int, precision: int) -> str:
    for size, letter in ((10**6, "M"), (10**3, "K")):
        if number >= size:
            return f"{number / size:.{precision}f}{letter}"
    return str(number)
