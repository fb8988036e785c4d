"""Products of derivatives with vectors: vjp (backward) and jvp (forward)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax

from dist_sim.core.transform.checks import surfacing
from dist_sim.core.transform.pure import Argnums, PureCall, States
from dist_sim.errors import ParameterError


def vjp(
    fun: Callable[..., Any], *primals: Any, grad_states: States = None, argnums: Argnums = 0, has_aux: bool = False
) -> tuple[Any, ...]:
    """The result of `fun(*primals)`, and a function from its cotangent to the cotangents of States and arguments.

    Args:
        grad_states: States to pull back to, in any PyTree.
        argnums: the arguments to pull back to: by default the first one if there are any, None for none.
        has_aux: `fun` returns (result, anything else).

    Returns:
        `(result, pullback)` or `(result, pullback, aux)`. `pullback(cotangent)` takes one array for each of the result (a unit
        that it has must be that of the result) and returns what :func:`grad` would: cotangents of the States, of the arguments
        or `(of the States, of the arguments)`, with the units of what they are for. What the function writes to States is kept,
        once.

    Raises:
        ParameterError: nothing to pull back to; a State that the function does not touch; integers.
    """
    if not primals and argnums == 0:
        argnums = None
    if grad_states is None and argnums is None:
        raise ParameterError("vjp: nothing to pull back to. Give arguments and argnums, or grad_states.")
    call = PureCall(fun, primals, {}, states=grad_states, argnums=argnums, has_aux=has_aux, where="vjp")
    with surfacing():
        out, pull, carried = jax.vjp(call, call.leaves, has_aux=True)
    value, aux = call.finish(carried)

    def pullback(cotangent: Any) -> Any:
        (found,) = pull(call.bare_result(cotangent, out))
        return call.row(found)

    return (value, pullback, aux) if has_aux else (value, pullback)


def jvp(fun: Callable[..., Any], primals: Sequence[Any], tangents: Sequence[Any], *, has_aux: bool = False) -> tuple[Any, ...]:
    """The result of `fun(*primals)`, and how it changes along the tangents of its arguments; States stay as they are.

    Args:
        tangents: one for each of `primals`, like it in structure, shapes, dtypes and units.
        has_aux: `fun` returns (result, anything else).

    Returns:
        `(result, tangent)` or `(result, tangent, aux)`; the tangent has the units of the result. What the function writes to
        States is kept, once.
    """
    nums = range(len(primals))
    call = PureCall(fun, tuple(primals), {}, states=None, argnums=nums, has_aux=has_aux, allow_int=True, where="jvp")
    with surfacing():
        _, found, carried = jax.jvp(call, (call.leaves,), (call.bare_arguments(tangents),), has_aux=True)
    tangent = call.result(found)
    value, aux = call.finish(carried)
    return (value, tangent, aux) if has_aux else (value, tangent)
