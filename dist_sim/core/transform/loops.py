"""Loops over time that carry States: for_loop, scan, while_loop and fori_loop.

In all of them the written States are part of the loop's carry and nothing else of the model is: States that are only read
enter as constants of the loop. Called outside of `jit`, a loop is traced at every call, and compiled where no call before was
the same program.

Of a step, a gradient keeps its results and what matrices and synapses have multiplied, as far as it needs them; the rest is
cheaper to compute again than to keep.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import NamedSharding, PartitionSpec

from dist_sim.core.state import State
from dist_sim.core.trace import is_eager, runs_as_python
from dist_sim.core.transform.checks import running
from dist_sim.core.transform.eager import run_compiled
from dist_sim.core.transform.progress import Pbar, followed
from dist_sim.core.transform.staging import Leaves, Staged, keep, value_of
from dist_sim.errors import ParameterError, TraceContextError

KEPT = "kept for the gradient"
"""The name of values that are costly to compute again, for `jax.ad_checkpoint.checkpoint_name`."""
_policies = jax.checkpoint_policies
_KEEPS = _policies.save_from_both_policies(_policies.dots_saveable, _policies.save_only_these_names(KEPT))


def for_loop(
    f: Callable[..., Any],
    *xs: Any,
    length: int | None = None,
    reverse: bool = False,
    unroll: int = 1,
    pbar: Pbar = None,
) -> Any:
    """Runs `f(*x)` for each x along the first axis of `xs` and stacks what it returns; States are carried.

    Args:
        xs: PyTrees of arrays with one common first axis. Without any, `f()` is called `length` times.
        length: number of steps; may be left out where `xs` says it.
        reverse: run from the last x to the first. Outputs lie where their x lay.
        unroll: steps per iteration of the compiled loop; without a bar.
        pbar: how to show the progress: a :class:`ProgressBar`, a number of steps between updates, or True.

    Raises:
        ParameterError: neither xs nor length, or first axes that differ.
        StateValueError: a step that makes a State another slot.
    """
    _, ys = scan(lambda carry, x: (carry, f(*x)), (), xs, length=length, reverse=reverse, unroll=unroll, pbar=pbar)
    return ys


def scan(
    f: Callable[[Any, Any], tuple[Any, Any]],
    init: Any,
    xs: Any = None,
    length: int | None = None,
    *,
    reverse: bool = False,
    unroll: int = 1,
    pbar: Pbar = None,
) -> tuple[Any, Any]:
    """`carry, y = f(carry, x)` for each x along the first axis of `xs`; returns the last carry and the stacked ys.

    Arguments and errors: see :func:`for_loop`.
    """
    length = loop_length(xs, length)
    if runs_as_python(init, xs) and length:
        return _python_scan(f, init, xs, length, reverse)
    if is_eager():
        return run_compiled(lambda init, xs: scan(f, init, xs, length, reverse=reverse, unroll=unroll, pbar=pbar), init, xs)
    step, states, init = stage_step(f, init, slice_of(xs))
    # The steps of one iteration have no order among each other in what they tell the host.
    unroll = 1 if pbar else unroll
    loop = functools.partial(jax.lax.scan, xs=xs, length=length, reverse=reverse, unroll=unroll)
    with states.running():
        (values, user), ys = followed(pbar, length, step, (states.values, init), loop, watch=states.watched)
    states.keep(values)
    return user, ys


def map(f: Callable[..., Any], *xs: Any, batch_size: int | None = None) -> Any:
    """`f(*x)` for each x along the first axis of `xs`, stacked; one after the other, or `batch_size` of them at a time.

    Raises:
        ParameterError: as :func:`for_loop`; a batch size below 1, or a function that writes States given one.
    """
    if batch_size is None:
        return for_loop(f, *xs)
    if isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1:
        raise ParameterError(f"map(batch_size={batch_size!r}): a whole number of 1 or more is needed.")
    loop_length(xs, None)
    if is_eager():
        return run_compiled(lambda *xs: map(f, *xs, batch_size=batch_size), *xs)
    staged = Staged(f, *slice_of(xs))
    if staged.touched.written:
        raise ParameterError(
            f"map(batch_size={batch_size}): the function writes {staged.touched.written[0].label}, and those run together have "
            "no order. Leave out batch_size."
        )
    inputs = staged.gather()
    with running(staged):
        return jax.lax.map(lambda x: staged(inputs, *x)[0], xs, batch_size=batch_size)


def while_loop(cond_fun: Callable[[Any], Any], body_fun: Callable[[Any], Any], init_val: Any) -> Any:
    """`while cond_fun(x): x = body_fun(x)`, from `init_val`. The body may write States; the condition may read them.

    Raises:
        TraceContextError: the condition writes a State.
        StateValueError: the body makes a State another slot.
    """
    if runs_as_python(init_val):
        while cond_fun(init_val):
            init_val = body_fun(init_val)
        return init_val
    if is_eager():
        return run_compiled(lambda init: while_loop(cond_fun, body_fun, init), init_val)
    test, step, states, init = stage_while(cond_fun, body_fun, init_val)
    with states.running():
        values, out = jax.lax.while_loop(test, step, (states.values, init))
    states.keep(values)
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


def _python_scan(f: Callable[[Any, Any], tuple[Any, Any]], carry: Any, xs: Any, length: int, reverse: bool) -> tuple[Any, Any]:
    ys: list[Any] = [None] * length
    for n in reversed(range(length)) if reverse else range(length):
        carry, ys[n] = f(carry, jax.tree.map(lambda x, n=n: x[n], xs))
    return carry, jax.tree.map(lambda *y: jnp.stack(y), *ys)


class Carried:
    """The States that one step of a loop writes, and the step as a function of their values.

    Args:
        where: what the step is, for error messages.
        others: what else the loop runs.

    Attributes:
        written: the States.
        values: their values at entry.
    """

    def __init__(self, staged: Staged, where: str, *others: Staged) -> None:
        staged.refuse_reshaping(where)
        self._staged = staged
        self._programs = (staged, *others)
        self.written: tuple[State, ...] = staged.touched.written
        self.values: list[Leaves] = [value_of(state) for state in self.written]
        self._inputs = staged.gather()

    def step(self, values: list[Leaves], *args: Any) -> tuple[Any, list[Leaves]]:
        """One step; returns what the function returns and the new values."""
        return self._staged(self._staged.replaced(self._inputs, self.written, values), *args)

    def watched(self, look: Callable[[dict[str, Any]], Any]) -> Callable[[list[Leaves], Any, Any, Any], Any]:
        """A function of `{"i": ..., "carry": ..., "y": ...}` that may read States, as one of (values of the States, i, carry, y).

        Raises:
            TraceContextError: it writes a State.
        """
        seen = Staged(
            lambda i, carry, y: look({"i": i, "carry": carry, "y": y}), jax.ShapeDtypeStruct((), jnp.int32), *self._staged.out
        )
        if seen.touched.written:
            raise TraceContextError(f"ProgressBar(desc=...): the function writes {seen.touched.written[0].label}. It may read.")
        constants = seen.gather()
        return lambda values, i, carry, y: seen(seen.replaced(constants, self.written, values), i, carry, y)[0]

    def running(self) -> AbstractContextManager[None]:
        """What the loop is run in: raises where a check in it fails."""
        return running(*self._programs)

    def keep(self, values: list[Leaves]) -> None:
        keep(self.written, self._staged.slots, values)


def stage_step(f: Callable[[Any, Any], tuple[Any, Any]], init: Any, x: Any) -> tuple[Callable[[Any, Any], Any], Carried, Any]:
    """A step `carry, y = f(carry, x)` for `jax.lax.scan`, over a carry of (values of the States, user's carry).

    Args:
        x: the shapes of one x.

    Returns:
        The step; its States; init, with Python numbers as what the step makes of them.
    """
    staged, init = _stage_carrying(f, init, x)
    states = Carried(staged, "one step of a loop")

    def step(carry: Any, x: Any) -> Any:
        (user, y), values = states.step(*carry, x)
        return (values, user), y

    if not staged.calls_host:  # it would be called again for the gradient
        staged.name_results(KEPT)
        step = jax.checkpoint(step, prevent_cse=False, policy=_KEEPS)
    return step, states, init


def stage_while(
    cond: Callable[[Any], Any], body: Callable[[Any], Any], init: Any
) -> tuple[Callable[[Any], Any], Callable[[Any], Any], Carried, Any]:
    """Condition and body of a while loop, over a carry of (values of the States, x).

    Returns:
        The condition; the body; the States; init, with Python numbers as what the body makes of them.
    """
    moved, init = _stage_carrying(lambda x: (body(x), None), init)
    tested = Staged(cond, init)
    if tested.touched.written:
        raise TraceContextError(
            f"while_loop: the condition writes {tested.touched.written[0].label}. Only the body may write States."
        )
    states = Carried(moved, "one step of while_loop", tested)
    constants = tested.gather()

    def test(carry: Any) -> Any:
        return tested(tested.replaced(constants, states.written, carry[0]), carry[1])[0]

    def step(carry: Any) -> Any:
        (x, _), values = states.step(carry[0], carry[1])
        return values, x

    return test, step, states, init


def loop_length(xs: Any, length: int | None) -> int:
    """The number of steps of a loop over `xs`.

    Raises:
        ParameterError: neither xs nor length, or first axes that differ.
    """
    leaves = jax.tree.leaves(xs)
    if not all(jnp.ndim(leaf) for leaf in leaves):
        raise ParameterError("for_loop, scan: each x needs a first axis to run along; got a scalar.")
    lengths = {jnp.shape(leaf)[0] for leaf in leaves} | (set() if length is None else {int(length)})
    if len(lengths) != 1:
        what = f"first axes and length differ: {sorted(lengths)}" if lengths else "neither xs nor length given"
        raise ParameterError(f"for_loop, scan: {what}.")
    return lengths.pop()


def slice_of(xs: Any) -> Any:
    """The shapes of one x along the first axis."""

    def first(x: Any) -> jax.ShapeDtypeStruct:
        shape, dtype, aval = jnp.shape(x)[1:], jnp.result_type(x), jax.typeof(x)
        if not aval.manual_axis_type.varying:
            return jax.ShapeDtypeStruct(shape, dtype)
        # Inside shard_map the type also says along which mesh axes the devices hold different values.
        whole = NamedSharding(aval.sharding.mesh, PartitionSpec())
        return jax.ShapeDtypeStruct(shape, dtype, sharding=whole, manual_axis_type=aval.manual_axis_type)

    return jax.tree.map(first, xs)


def _stage_carrying(f: Callable[..., tuple[Any, Any]], init: Any, *args: Any) -> tuple[Staged, Any]:
    """`carry, y = f(carry, *args)` staged, and the first carry with the dtypes of the later ones.

    A Python number as first carry takes the dtype that the function gives it, as in JAX's own loops.
    """
    staged = Staged(f, init, *args)
    leaves, treedef = jax.tree.flatten(init)
    carried, out_treedef = jax.tree.flatten(staged.out[0])
    if treedef != out_treedef:
        return staged, init  # JAX says best what differs
    fitted = [
        jnp.asarray(leaf, out.dtype) if _is_weak(leaf) and (out.dtype != jnp.result_type(leaf) or not out.weak_type) else leaf
        for leaf, out in zip(leaves, carried, strict=True)
    ]
    if all(new is old for new, old in zip(fitted, leaves, strict=True)):
        return staged, init
    init = treedef.unflatten(fitted)
    return Staged(f, init, *args), init


def _is_weak(leaf: Any) -> bool:
    return isinstance(leaf, (int, float, complex)) or getattr(leaf, "weak_type", False)
