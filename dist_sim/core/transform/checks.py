"""Checks of values that are known only while a compiled program runs.

An exception cannot leave such a program: raised in a host callback it stops one device, and the others wait for that one in the
next collective until the runtime kills the process. So the callback notes the failure, the program runs to its end, and
:func:`surfaced`, around the call, raises it. Nothing is lost by that: the results of a failed program are dropped, and a program
with checks does not give away the memory of its States.
"""

from __future__ import annotations

import functools
import re
import string
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import brainunit as u
import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import checkify as jax_checkify

from dist_sim.core.trace import EAGER, current_frame, current_trace, is_eager
from dist_sim.core.transform.staging import Staged, keep
from dist_sim.errors import CompiledError, ParameterError

Describe = Callable[..., str]
"""The message, from the values by name."""

# A callback does not know which call of a program it serves: one at a time, so that it can only be the one.
_ONE_RUN = threading.RLock()
_runs: list[list[CompiledError]] = []


def jit_error_if(pred: Any, message: str, **values: Any) -> None:
    """Raises an error if a condition holds, also inside compiled functions, loops and branches.

    Where it holds several times, the first is reported. Inside `vmap` a branch that is not taken is computed all the same, and so
    is a lane that has left its loop: make such conditions part of `pred`.

    A compiled program runs to its end before the error is raised, and the States keep the values that they had before it. With
    several processes, the one that holds the first device raises.

    Args:
        pred: a bool, or an array of which any element counts.
        message: with `{name}` for each of the values, as for `str.format`.
        values: numbers, arrays and quantities, shown as they are when the condition holds.

    Raises:
        CompiledError: the condition holds.
        ParameterError: a field of the message that is not among the values.
    """
    message, bare = _bare(message, values, "jit_error_if")
    _raise_if(pred, message.format, bare)


def nan_check(tree: Any, name: str) -> None:
    """Raises an error if a number is NaN or infinite; see :func:`jit_error_if`.

    Args:
        tree: arrays and quantities in any PyTree. Integers always pass.
        name: what it is, for the error message, which adds the path of the leaf.

    Raises:
        CompiledError: one is not finite.
    """
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree, is_leaf=lambda x: isinstance(x, u.Quantity)):
        x = jnp.asarray(leaf.mantissa if isinstance(leaf, u.Quantity) else leaf)
        if jnp.issubdtype(x.dtype, jnp.inexact):
            _raise_if(~jnp.isfinite(x), functools.partial(_not_finite, name + jax.tree_util.keystr(path)), {"x": x})


def check(pred: Any, message: str, **values: Any) -> None:
    """Within :func:`checkify`: lets it return an error if a condition does not hold.

    Args:
        pred: what must hold; of an array, all elements.
        message, values: see :func:`jit_error_if`.

    Raises:
        CompiledError: called outside of any transform, and it does not hold.
        ParameterError: a field of the message that is not among the values.
    """
    message, bare = _bare(message, values, "check")
    if current_trace() is EAGER:
        if not jnp.all(jnp.asarray(pred)):
            raise _error(message.format, bare)
        return
    jax_checkify.check(jnp.all(jnp.asarray(pred)), message, debug=False, **bare)


def checkify(fun: Callable[..., Any], errors: Any = jax_checkify.user_checks) -> Callable[..., tuple[Any, Any]]:
    """A function that returns `(error, fun(...))`: errors as values, which need no host callback and can be compiled.

    The States are written also where there is an error.

    Args:
        fun: may read and write States and call :func:`check`.
        errors: what to look for, a set of `jax.experimental.checkify`: `user_checks`, `nan_checks`, `index_checks`, ...

    Returns:
        A function of the same arguments. Its `error` has `get()`, the message or None, and `throw()`.
    """

    @functools.wraps(fun)
    def checked(*args: Any, **kwargs: Any) -> tuple[Any, Any]:
        staged = Staged(lambda args, kwargs: fun(*args, **kwargs), args, kwargs)
        error, (out, written) = jax_checkify.checkify(staged, errors)(staged.gather(), args, kwargs)
        keep(staged.touched.written, staged.slots, written)
        return error, out

    return checked


@contextmanager
def surfaced() -> Iterator[None]:
    """Raises at its end what a check found in the compiled programs that were called inside; they are finished then.

    One thread at a time is inside; it must not be entered from a host callback of a program with checks.

    Raises:
        CompiledError: the first check that failed.
    """
    with _ONE_RUN:
        found: list[CompiledError] = []
        _runs.append(found)
        try:
            yield
            jax.effects_barrier()
        finally:
            _runs.pop()
    if found:
        raise found[0]


def running(*programs: Staged) -> AbstractContextManager[None]:
    """What programs are run in: :func:`surfaced` if one of them contains checks and nothing around this does it."""
    if not any(program.checks for program in programs):
        return nullcontext()
    note_check()
    return surfacing()


def surfacing() -> AbstractContextManager[None]:
    """What a function that may contain checks is run in: :func:`surfaced`, if nothing around this does it."""
    return surfaced() if is_eager() else nullcontext()


def note_check() -> None:
    """Tells the transform that is open here that its program contains checks."""
    frame = current_frame()
    if frame is not None:
        frame.checks = True


def _raise_if(pred: Any, describe: Describe, values: dict[str, jax.Array]) -> None:
    pred = jnp.any(jnp.asarray(pred))
    if current_trace() is EAGER:
        if pred:
            raise _error(describe, values)
        return
    note_check()
    # The host is called when the condition holds in some lane, once for each lane, and tests which ones they are.
    report = functools.partial(jax.debug.callback, functools.partial(_report, describe), pred, values)
    jax.lax.cond(_any_lane(pred), report, lambda: None)


def _report(describe: Describe, pred: np.ndarray, values: dict[str, np.ndarray]) -> None:
    if not np.any(pred):
        return
    error = _error(describe, values)
    if not _runs:
        raise error  # in a raw jax.jit, say: better told by JAX than not at all
    _runs[-1].append(error)


def _error(describe: Describe, values: dict[str, Any]) -> CompiledError:
    return CompiledError(describe(**{name: np.asarray(value) for name, value in values.items()}))


def _not_finite(name: str, x: np.ndarray) -> str:
    (positions,) = np.nonzero(~np.isfinite(x).ravel())
    first = np.unravel_index(positions[0], x.shape)
    where = f"; the first is {x[first]}, at {[int(n) for n in first]}" if x.ndim else f": {x}"
    return f"{name}: {len(positions)} of {x.size} numbers are not finite{where}."


@jax.custom_batching.custom_vmap
def _any_lane(pred: jax.Array) -> jax.Array:
    """`pred`, or inside vmap whether it holds in any lane: one value for all, by which a cond can still branch."""
    return pred


@_any_lane.def_vmap
def _any_lane_batched(size: int, batched: list[bool], pred: jax.Array) -> tuple[jax.Array, bool]:
    return _any_lane(jnp.any(pred)), False


def _bare(message: str, values: dict[str, Any], where: str) -> tuple[str, dict[str, jax.Array]]:
    """The values without units, and the message with them."""
    fields = {re.split(r"[.\[]", field)[0] for _, field, _, _ in string.Formatter().parse(message) if field is not None}
    if not fields <= values.keys():
        unknown = ", ".join(f"{{{field}}}" for field in sorted(fields - values.keys()))
        raise ParameterError(f"{where}: the message has {unknown}, which is not given. Given: {', '.join(values) or 'nothing'}.")
    bare = {}
    for name, value in values.items():
        if isinstance(value, u.Quantity):
            message = re.sub(rf"\{{{name}(?!\w)[^}}]*\}}", rf"\g<0> {value.unit}", message)
            value = value.mantissa
        bare[name] = jnp.asarray(value)
    return message, bare
