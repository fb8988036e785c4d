"""Matrices of derivatives of functions of States: jacrev, jacfwd and hessian."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax

from dist_sim.core.transform.grad import derived
from dist_sim.core.transform.pure import Argnums, PureCall, States, decorator


def jacrev(
    fun: Callable[..., Any] | None = None,
    grad_states: States = None,
    argnums: Argnums = None,
    has_aux: bool | None = None,
    return_value: bool = False,
    holomorphic: bool = False,
    allow_int: bool = False,
    unit_aware: bool = False,
    check_states: bool = True,
) -> Any:
    """The Jacobian of a function that returns arrays, row by row: one pass backward for each number of the result.

    Arguments, units, kept writes and the order of what is returned are those of :func:`grad`. Each entry has the shape of the
    result followed by that of the parameter; where the function returns a PyTree, there is such an entry in each of its places.
    The last axes lie as the parameter does.

    Raises: as :func:`grad`, which this is for any result.
    """

    def derive(call: PureCall) -> Any:
        matrix = jax.jacrev(call, has_aux=True, holomorphic=holomorphic, allow_int=allow_int)
        return _by_result(call, *matrix(call.leaves))

    options = dict(grad_states=grad_states, argnums=argnums, unit_aware=unit_aware, check_states=check_states)
    return decorator(
        derived, fun, derive=derive, where="jacrev", has_aux=has_aux, return_value=return_value, allow_int=allow_int, **options
    )


jacobian = jacrev


def jacfwd(
    func: Callable[..., Any] | None = None,
    grad_states: States = None,
    argnums: Argnums = None,
    has_aux: bool | None = None,
    return_value: bool = False,
    holomorphic: bool = False,
    unit_aware: bool = False,
    check_states: bool = True,
) -> Any:
    """The Jacobian column by column: one pass forward for each number of the parameters. See :func:`jacrev`."""

    def derive(call: PureCall) -> Any:
        return _by_result(call, *jax.jacfwd(call, has_aux=True, holomorphic=holomorphic)(call.leaves))

    options = dict(grad_states=grad_states, argnums=argnums, unit_aware=unit_aware, check_states=check_states)
    return decorator(derived, func, derive=derive, where="jacfwd", has_aux=has_aux, return_value=return_value, **options)


def hessian(
    func: Callable[..., Any] | None = None,
    grad_states: States = None,
    argnums: Argnums = None,
    return_value: bool = False,
    holomorphic: bool = False,
    has_aux: bool | None = None,
    unit_aware: bool = False,
    check_states: bool = True,
) -> Any:
    """The second derivatives of a function that returns one number.

    Arguments, kept writes and the order of what is returned are those of :func:`grad`. In the place of each parameter stands
    the structure of all of them once more, with arrays of the shape of the first followed by that of the second. Units: that of
    the result over those of both with `unit_aware`, else the product of both.

    Raises: as :func:`grad`.
    """

    def derive(call: PureCall) -> Any:
        matrix, carried = jax.hessian(call.scalar, has_aux=True, holomorphic=holomorphic)(call.leaves)
        return call.mirror([call.row(row, n) for n, row in enumerate(matrix)]), carried

    options = dict(grad_states=grad_states, argnums=argnums, unit_aware=unit_aware, check_states=check_states)
    return decorator(derived, func, derive=derive, where="hessian", has_aux=has_aux, return_value=return_value, **options)


def _by_result(call: PureCall, found: list[list[Any]], carried: Any) -> Any:
    return call.out_tree.unflatten([call.row(row, out=n) for n, row in enumerate(found)]), carried
