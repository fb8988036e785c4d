"""What a function is as a program, without running it: make_jaxpr and eval_shape."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax

from dist_sim.core.state import State
from dist_sim.core.transform.jit import numbered
from dist_sim.core.transform.staging import Staged


def make_jaxpr(
    fun: Callable[..., Any],
    static_argnums: int | Sequence[int] = (),
    static_argnames: str | Sequence[str] = (),
    *,
    return_shape: bool = False,
    return_only_write: bool = False,
) -> Callable[..., tuple[Any, ...]]:
    """A function of the arguments of `fun` that returns its program and its States.

    Args:
        static_argnums, static_argnames: arguments that are Python values for the function, and not part of the program.
        return_shape: see below.
        return_only_write: `states` are those that it writes.

    Returns:
        A function that returns `(jaxpr, states)`, or `(jaxpr, states, shapes of what fun returns)`. The program takes the values
        of the States (and of environment entries) that `fun` reads, in that order, and the arguments; it returns what `fun`
        does, and the values of the States that it writes. `states` are those it reads, then the others that it writes.
    """
    look = looking(fun, static_argnums, static_argnames)

    @functools.wraps(fun, updated=())
    def made(*args: Any, **kwargs: Any) -> tuple[Any, ...]:
        found = look(*args, **kwargs)
        states = found.staged.touched.written if return_only_write else found.states
        return (found.jaxpr, states, found.staged.out) if return_shape else (found.jaxpr, states)

    return made


class Looked(NamedTuple):
    """A function for arguments as given.

    Args:
        staged: its program; arguments: what that takes.
    """

    staged: Staged
    arguments: tuple[Any, ...]

    @property
    def states(self) -> tuple[State, ...]:
        """Those it reads, then the others that it writes."""
        return tuple(dict.fromkeys((*self.staged.touched.read, *self.staged.touched.written)))

    @property
    def jaxpr(self) -> Any:
        return jax.make_jaxpr(self.staged)(self.staged.gather(), *self.arguments)


def looking(
    fun: Callable[..., Any], static_argnums: int | Sequence[int] = (), static_argnames: str | Sequence[str] = ()
) -> Callable[..., Looked]:
    """A function of the arguments of `fun` that says what it is as a program; see :func:`make_jaxpr`."""
    nums, names = numbered(fun, static_argnums, static_argnames)

    def look(*args: Any, **kwargs: Any) -> Looked:
        fixed = {n: arg for n, arg in enumerate(args) if n in nums}
        named = {name: kwargs.pop(name) for name in names if name in kwargs}
        size, rest = len(args), tuple(arg for n, arg in enumerate(args) if n not in nums)

        def dynamic(*rest: Any, **kwargs: Any) -> Any:
            left = iter(rest)
            return fun(*(fixed[n] if n in fixed else next(left) for n in range(size)), **kwargs, **named)

        return Looked(_staged(dynamic, rest, kwargs), (rest, kwargs))

    return look


def eval_shape(f: Callable[..., Any], *args: Any, return_state_shapes: bool = False, **kwargs: Any) -> Any:
    """What `f` would return, as `jax.ShapeDtypeStruct` in its structure. Nothing is computed, and no State changes.

    Args:
        args, kwargs: PyTrees of arrays or `jax.ShapeDtypeStruct`.
        return_state_shapes: return a pair of the shapes of the States that it touches (as a dict, as it leaves them), and this.
    """
    staged = _staged(f, args, kwargs)
    if not return_state_shapes:
        return staged.out
    slots = {state: state._slot for state in staged.touched.read}
    slots |= dict(zip(staged.touched.written, staged.slots, strict=True))
    shapes = {state: slot.value([jax.ShapeDtypeStruct(*aval) for aval in slot.avals]) for state, slot in slots.items()}
    return shapes, staged.out


def _staged(fun: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Staged:
    return Staged(lambda args, kwargs: fun(*args, **kwargs), args, kwargs)
