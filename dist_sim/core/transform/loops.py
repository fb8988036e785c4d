"""Loops over time that carry States: for_loop, scan, while_loop and fori_loop.

In all of them the written States are part of the loop's carry and nothing else of the model is: States that are only read
enter as constants of the loop. Called outside of `jit`, a loop is compiled at every call; inside, once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from dist_sim.core.state import State
from dist_sim.core.transform.discovery import Outcome, Touched, discover, discovering, gather, keep, propagate_environ, run
from dist_sim.errors import ParameterError, StateValueError, TraceContextError


def for_loop(f: Callable[..., Any], *xs: Any, length: int | None = None, reverse: bool = False, unroll: int = 1) -> Any:
    """Runs `f(*x)` for each x along the first axis of `xs` and stacks what it returns; States are carried.

    Args:
        xs: PyTrees of arrays with one common first axis. Without any, `f()` is called `length` times.
        length: number of steps; may be left out where `xs` says it.
        reverse: run from the last x to the first. Outputs lie where their x lay.
        unroll: steps per iteration of the compiled loop.

    Raises:
        ParameterError: neither xs nor length, or first axes that differ.
        StateValueError: a step that makes a State another slot.
    """
    _, ys = scan(lambda carry, x: (carry, f(*x)), (), xs, length=length, reverse=reverse, unroll=unroll)
    return ys


def scan(
    f: Callable[[Any, Any], tuple[Any, Any]],
    init: Any,
    xs: Any = None,
    length: int | None = None,
    *,
    reverse: bool = False,
    unroll: int = 1,
) -> tuple[Any, Any]:
    """`carry, y = f(carry, x)` for each x along the first axis of `xs`; returns the last carry and the stacked ys.

    Arguments and errors: see :func:`for_loop`.
    """
    length = _length(xs, length)
    if discovering():
        carry, y = f(init, jax.tree.map(lambda x: _any_slice(x, length), xs))
        return carry, jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (length, *jnp.shape(leaf))), y)
    one = jax.tree.map(lambda x: jax.ShapeDtypeStruct(jnp.shape(x)[1:], jnp.result_type(x)), xs)
    touched, _ = discover(f, init, one)

    def step(carry: Any, x: Any) -> Any:
        values, user = carry
        outcome = run(touched, touched.written, values, f, user, x)
        _check_slots(touched.written, outcome, "a loop")
        user, y = outcome.out
        return (outcome.values, user), y

    _enter(touched)
    carry = (gather(touched, touched.written), init)
    (values, user), ys = jax.lax.scan(step, carry, xs, length=length, reverse=reverse, unroll=unroll)
    keep(touched.written, [s._slot for s in touched.written], values)
    return user, ys


def while_loop(cond: Callable[[Any], Any], body: Callable[[Any], Any], init: Any) -> Any:
    """`while cond(x): x = body(x)`. The body may write States; the condition may read them.

    Raises:
        TraceContextError: the condition writes a State.
        StateValueError: the body makes a State another slot.
    """
    if discovering():
        return _in_line(cond, body, init)
    tested, _ = discover(cond, init)
    if tested.written:
        raise TraceContextError(f"while_loop: the condition writes {tested.written[0].label}. Only the body may write States.")
    moved, _ = discover(body, init)
    # A value that is read in the condition and written by the body is carried, and read at entry.
    read = tuple(dict.fromkeys((*tested.read, *moved.read, *moved.written)))
    touched = Touched(read, moved.written, {**tested.environ, **moved.environ})

    def test(carry: Any) -> Any:
        return run(touched, touched.written, carry[0], cond, carry[1]).out

    def step(carry: Any) -> Any:
        outcome = run(touched, touched.written, carry[0], body, carry[1])
        _check_slots(touched.written, outcome, "while_loop")
        return outcome.values, outcome.out

    _enter(touched)
    values, out = jax.lax.while_loop(test, step, (gather(touched, touched.written), init))
    keep(touched.written, [s._slot for s in touched.written], values)
    return out


def fori_loop(lower: Any, upper: Any, body: Callable[[Any, Any], Any], init: Any = None) -> Any:
    """`for i in range(lower, upper): x = body(i, x)`; States are carried.

    The bounds may be traced: one compilation serves any number of steps. Compiles to a while loop whose carry is i, x and the
    written States, whatever the bounds; for what shall be differentiated use :func:`for_loop`.

    Raises: as :func:`while_loop`.
    """
    dtype = jnp.result_type(lower, upper)
    if not jnp.issubdtype(dtype, jnp.integer) or jnp.ndim(lower) or jnp.ndim(upper):
        raise ParameterError(f"fori_loop({lower}, {upper}): the bounds must be two integers.")
    first, last = jnp.asarray(lower, dtype), jnp.asarray(upper, dtype)

    def step(carry: Any) -> Any:
        i, x = carry
        return i + 1, body(i, x)

    return while_loop(lambda carry: carry[0] < last, step, (first, init))[1]


def _in_line(cond: Callable[[Any], Any], body: Callable[[Any], Any], init: Any) -> Any:
    cond(init)
    return body(init)


def _enter(touched: Touched) -> None:
    gather(touched, touched.read)
    propagate_environ(touched)


def _check_slots(states: tuple[State, ...], outcome: Outcome, where: str) -> None:
    for state, slot in zip(states, outcome.slots, strict=True):
        if slot != state._slot:
            raise StateValueError(
                f"{where}: one step turns {state.label} from {state._slot} into {slot}. Reshape it before the loop."
            )


def _length(xs: Any, length: int | None) -> int:
    leaves = jax.tree.leaves(xs)
    if not all(jnp.ndim(leaf) for leaf in leaves):
        raise ParameterError("for_loop, scan: each x needs a first axis to run along; got a scalar.")
    lengths = {jnp.shape(leaf)[0] for leaf in leaves} | (set() if length is None else {int(length)})
    if len(lengths) != 1:
        what = f"first axes and length differ: {sorted(lengths)}" if lengths else "neither xs nor length given"
        raise ParameterError(f"for_loop, scan: {what}.")
    return lengths.pop()


def _any_slice(x: Any, length: int) -> Any:
    if length == 0:
        return jnp.zeros(jnp.shape(x)[1:], jnp.result_type(x))
    return jax.lax.index_in_dim(jnp.asarray(x), 0, keepdims=False)
