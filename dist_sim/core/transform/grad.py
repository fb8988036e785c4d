"""Gradients of functions of States: grad and vector_grad."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from dist_sim.core.transform.checks import surfacing
from dist_sim.core.transform.pure import Argnums, PureCall, States, decorator, default_argnums
from dist_sim.errors import UnitError


def grad(
    fun: Callable[..., Any] | None = None,
    grad_states: States = None,
    argnums: Argnums = None,
    holomorphic: bool = False,
    allow_int: bool = False,
    has_aux: bool | None = None,
    return_value: bool = False,
    unit_aware: bool = False,
    check_states: bool = True,
) -> Any:
    """The gradient of a function that returns one number, by States, by arguments or by both.

    Works as a decorator, with or without arguments. The function is called once; what it writes to States is kept. A State
    that it writes before reading is differentiated at the value with which the function was entered. The gradient of a sharded
    State lies as the State does.

    Args:
        fun: returns a scalar; with `has_aux` a pair (scalar, anything else).
        grad_states: a State, or States in any PyTree. The gradients come back in the same structure.
        argnums: positional arguments to differentiate by, one or several; without States the first one.
        holomorphic: it is a complex function of complex numbers.
        allow_int: integers may be differentiated by; their gradients are of dtype float0.
        return_value: return the scalar too.
        unit_aware: gradients have the unit of the result over that of the parameter. By default they have the unit of the
            parameter, so that `p - rate * gradient` is one, and the result has none.
        check_states: raise for a State that the function does not touch, rather than give zeros.

    Returns:
        A function with the arguments of `fun` that returns `grads`, `(grads, value)`, `(grads, aux)` or
        `(grads, value, aux)`. `grads` is that of the States, of the arguments, or `(of the States, of the arguments)`.

    Raises: when called:
        ParameterError: a result that is no scalar or no pair; a State that is not touched; integers to differentiate by.
        UnitError: a result with a unit, and not `unit_aware`.
    """

    def derive(call: PureCall) -> Any:
        gradient = jax.grad(call.scalar, has_aux=True, holomorphic=holomorphic, allow_int=allow_int)
        found, carried = gradient(call.leaves)
        return call.row(found), carried

    options = dict(grad_states=grad_states, argnums=argnums, unit_aware=unit_aware, check_states=check_states)
    return decorator(
        derived, fun, derive=derive, where="grad", has_aux=has_aux, return_value=return_value, allow_int=allow_int, **options
    )


def vector_grad(
    func: Callable[..., Any] | None = None,
    grad_states: States = None,
    argnums: Argnums = None,
    return_value: bool = False,
    has_aux: bool | None = None,
    unit_aware: bool = False,
    check_states: bool = True,
) -> Any:
    """As :func:`grad`, for a function that returns arrays of any shape: the gradient of the sum of all that is in them.

    Where each element of the result depends on one element of the parameter, that is the vector of their derivatives.
    Results with units must all have the same one.
    """

    def derive(call: PureCall) -> Any:
        out, pull, carried = jax.vjp(call, call.leaves, has_aux=True)
        if any(unit != call.out_units[0] for unit in call.out_units):
            raise UnitError(f"vector_grad: the results have different units: {', '.join(map(str, call.out_units))}. Use jacrev.")
        (found,) = pull([jnp.ones_like(x) for x in out])
        return call.row(found), carried

    options = dict(grad_states=grad_states, argnums=argnums, unit_aware=unit_aware, check_states=check_states)
    return decorator(derived, func, derive=derive, where="vector_grad", has_aux=has_aux, return_value=return_value, **options)


def derived(
    fun: Callable[..., Any],
    *,
    derive: Callable[[PureCall], Any],
    where: str,
    grad_states: States,
    argnums: Argnums,
    has_aux: bool | None,
    return_value: bool,
    unit_aware: bool,
    check_states: bool,
    allow_int: bool = False,
) -> Callable[..., Any]:
    """A function that returns derivatives of `fun`, in the manner of :func:`grad`.

    Args:
        derive: the derivatives of a call in the user's structure, and what came with its result.
    """

    @functools.wraps(fun, updated=())
    def derivatives(*args: Any, **kwargs: Any) -> Any:
        call = PureCall(
            fun,
            args,
            kwargs,
            states=grad_states,
            argnums=default_argnums(grad_states, argnums),
            has_aux=bool(has_aux),
            unit_aware=unit_aware,
            check_states=check_states,
            allow_int=allow_int,
            where=where,
        )
        with surfacing():
            # Of an empty collection there is nothing to derive.
            found, carried = derive(call) if call.leaves else (call.row([]), call([])[1])
        if not unit_aware:
            call.refuse_units()
        value, aux = call.finish(carried)
        if not return_value and not has_aux:
            return found
        return (found, *((value,) if return_value else ()), *((aux,) if has_aux else ()))

    return derivatives
