"""jit that knows States: their values are inputs of the compiled program, those written are outputs."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from types import MethodType
from typing import Any

import jax
import jax.export
import numpy as np

from dist_sim.core import environ, hooks
from dist_sim.core.module import Module
from dist_sim.core.state import State
from dist_sim.core.trace import is_eager
from dist_sim.core.transform.program import Program
from dist_sim.core.transform.staging import Staged, Touched
from dist_sim.errors import ParameterError


def jit(
    fun: Callable[..., Any] | None = None,
    in_shardings: Any = None,
    out_shardings: Any = None,
    static_argnums: int | Sequence[int] | None = None,
    donate_argnums: int | Sequence[int] | None = None,
    static_argnames: str | Sequence[str] | None = None,
    donate_argnames: str | Sequence[str] | None = None,
    *,
    name: str | None = None,
    donate: bool = True,
) -> Any:
    """Compiles a function that reads and writes States.

    Works as a decorator, with or without arguments, on functions, methods and Modules. A Module given as an argument is static.

    The program is compiled again when it would differ: other static arguments, other shapes, dtypes or structure of arguments
    or States, another dt or precision. States may be re-bound and moved in between. Other environment entries set outside
    (t, i, arrays, floats) are inputs of the program. A function that does the same on other States, and closes over no array, is
    traced and finds the program compiled. Under `jax.disable_jit()` the function runs as it is.

    Args:
        in_shardings, out_shardings: where arguments and results are put: a sharding for all, or PyTrees of them as in `jax.jit`,
            one for each positional argument; None leaves them where they are. States lie as they say themselves.
        static_argnums, static_argnames: arguments that are Python values for the function; hashable.
        donate_argnums, donate_argnames: arguments whose memory the program may reuse: they are gone after the call.
        name: what profiles and compiled programs show.
        donate: the program may reuse the memory of the States that it writes. A value that somebody else holds, having read it
            before, is copied first and stays valid.

    Returns:
        A callable with `.lower(*args)`, `.states(*args)`, `.compilations` and `.clear_cache()`: compiled programs keep the
        States, Modules and static arguments they were made for until then.
    """
    options = {"in_shardings": in_shardings, "out_shardings": out_shardings, "static_argnums": static_argnums}
    options |= {"donate_argnums": donate_argnums, "static_argnames": static_argnames, "donate_argnames": donate_argnames}
    options |= {"name": name, "donate": donate}
    return functools.partial(Jit, **options) if fun is None else Jit(fun, **options)


class Jit:
    """A function compiled with its States: see :func:`jit`."""

    def __init__(
        self,
        fun: Callable[..., Any],
        *,
        in_shardings: Any = None,
        out_shardings: Any = None,
        static_argnums: int | Sequence[int] | None = None,
        donate_argnums: int | Sequence[int] | None = None,
        static_argnames: str | Sequence[str] | None = None,
        donate_argnames: str | Sequence[str] | None = None,
        name: str | None = None,
        donate: bool = True,
    ) -> None:
        functools.update_wrapper(self, fun, updated=())
        self.fun = fun
        self.donate = donate
        self.name = name or getattr(fun, "__name__", type(fun).__name__)
        self.compilations = 0
        self._in_shardings, self._out_shardings = in_shardings, out_shardings
        self._static_nums, self._static_names = numbered(fun, static_argnums, static_argnames)
        self._given_nums, self._given_names = numbered(fun, donate_argnums, donate_argnames)
        self._programs: dict[Any, list[Program]] = {}

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if jax.config.jax_disable_jit:  # pyright: ignore[reportAttributeAccessIssue]
            return self.fun(*args, **kwargs)
        if self._in_shardings is not None:
            args = put(args, self._in_shardings)
        program, leaves = self._program(args, kwargs)
        out = program(leaves)
        return out if self._out_shardings is None else put(out, self._out_shardings)

    def __get__(self, instance: Any, owner: type) -> Any:
        return self if instance is None else MethodType(self, instance)

    def lower(self, *args: Any, **kwargs: Any) -> jax.stages.Lowered:
        """The program for these arguments and the present States, as JAX's Lowered; nothing is run."""
        program, leaves = self._program(args, kwargs)
        return program.donating.lower(*program.inputs(leaves))

    def exported(self, platforms: Sequence[str], *args: Any, **kwargs: Any) -> jax.export.Exported:
        """The program for other platforms, see `Program.exported`."""
        program, leaves = self._program(args, kwargs)
        return program.exported(platforms, leaves)

    def states(self, *args: Any, **kwargs: Any) -> Touched:
        """The States that a call with these arguments reads and writes."""
        return self._program(args, kwargs)[0].staged.touched

    def clear_cache(self) -> None:
        """Forgets every compiled program."""
        self._programs.clear()

    def _program(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Program, list[Any]]:
        key, leaves = self._key(args, kwargs)
        for program in self._programs.get(key, ()):
            if program.fits():
                return program, [leaf for n, leaf in enumerate(leaves) if n not in program.fixed] if program.fixed else leaves
        program, leaves = self._stage(args, kwargs)
        self.compilations += 1
        if program.staged.is_closed:
            self._programs.setdefault(key, []).append(program)
        return program, leaves

    def _key(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, list[Any]]:
        leaves, treedef = jax.tree.flatten(self._dynamic(args, kwargs))
        static = ()
        if self._static_nums or self._static_names:
            # With the type: 1, 1.0 and True are equal, and compile to different programs.
            static = tuple((n, type(args[n]), args[n]) for n in self._static_nums if n < len(args))
            static += tuple((name, type(kwargs[name]), kwargs[name]) for name in self._static_names if name in kwargs)
        return (treedef, tuple(map(_leaf_key, leaves)), static, environ.fingerprint(), hooks.GLOBAL.version), leaves

    def _dynamic(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Any]:
        if not self._static_nums and not self._static_names:
            return args, kwargs
        return (
            tuple(None if n in self._static_nums else arg for n, arg in enumerate(args)),
            {name: arg for name, arg in kwargs.items() if name not in self._static_names},
        )

    def _stage(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Program, list[Any]]:
        leaves, treedef = jax.tree.flatten(self._dynamic(args, kwargs))
        fixed = {n: leaf for n, leaf in enumerate(leaves) if isinstance(leaf, Module)}
        static_args = {n: args[n] for n in self._static_nums if n < len(args)}
        static_kwargs = {name: kwargs[name] for name in self._static_names if name in kwargs}
        size = len(leaves)

        def call(dynamic: list[Any]) -> Any:
            rest = iter(dynamic)
            args, kwargs = treedef.unflatten([fixed[n] if n in fixed else next(rest) for n in range(size)])
            args = [static_args.get(n, arg) for n, arg in enumerate(args)]
            return self.fun(*args, **kwargs, **static_kwargs)

        leaves = [leaf for n, leaf in enumerate(leaves) if n not in fixed]
        gone = jax.tree.leaves(self._given(args, kwargs))
        gone = frozenset(n for n, is_gone in enumerate(x for m, x in enumerate(gone) if m not in fixed) if is_gone)
        return Program(Staged(call, leaves), frozenset(fixed), self.donate, self.name, gone), leaves

    def _given(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """For each leaf of the dynamic arguments, whether its memory may be reused."""
        args, kwargs = self._dynamic(args, kwargs)
        return (
            tuple(jax.tree.map(lambda _, n=n: n in self._given_nums, arg) for n, arg in enumerate(args)),
            {key: jax.tree.map(lambda _, key=key: key in self._given_names, arg) for key, arg in kwargs.items()},
        )


def numbered(
    fun: Callable[..., Any], argnums: int | Sequence[int] | None, argnames: str | Sequence[str] | None
) -> tuple[frozenset[int], frozenset[str]]:
    """Arguments by number and by name: one is meant by whichever way it is passed."""
    nums = {argnums} if isinstance(argnums, int) else set(argnums or ())
    names = {argnames} if isinstance(argnames, str) else set(argnames or ())
    if not nums and not names:
        return frozenset(), frozenset()
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    positional = [p.name for p in inspect.signature(fun).parameters.values() if p.kind in kinds]
    nums = {n % len(positional) if n < 0 else n for n in nums} | {n for n, name in enumerate(positional) if name in names}
    return frozenset(nums), frozenset(names | {positional[n] for n in nums if n < len(positional)})


def put(values: Any, shardings: Any) -> Any:
    """Values where the shardings, a tree above them, say; inside a trace, constrained to be there.

    Raises:
        ParameterError: the tree of shardings is not one above the values.
    """
    if isinstance(values, tuple) and isinstance(shardings, list):
        shardings = tuple(shardings)
    try:
        wanted = jax.tree.broadcast(shardings, values, is_leaf=lambda x: x is None)
    except ValueError as error:
        raise ParameterError(f"jit(in_shardings=..., out_shardings=...): {shardings} does not fit the values: {error}") from None
    leaves, treedef = jax.tree.flatten(values)
    places = jax.tree.leaves(wanted, is_leaf=lambda x: x is None)
    moved = [x if place is None or isinstance(x, Module) else _put(x, place) for x, place in zip(leaves, places, strict=True)]
    return treedef.unflatten(moved)


def _put(x: Any, sharding: Any) -> Any:
    return jax.device_put(x, sharding) if is_eager() else jax.lax.with_sharding_constraint(x, sharding)


def _leaf_key(leaf: Any) -> Any:
    if isinstance(leaf, jax.Array):
        return leaf.aval
    if isinstance(leaf, (np.ndarray, np.generic)):
        return leaf.shape, leaf.dtype
    if isinstance(leaf, (bool, int, float, complex)):
        return type(leaf)
    if isinstance(leaf, Module):
        return leaf
    if isinstance(leaf, State):
        raise TypeError(
            f"{leaf.label} is an argument of a compiled function. Pass its .value, or let the function read the State."
        )
    raise TypeError(f"an argument of a compiled function is a {type(leaf).__name__}: {leaf!r:.60}. Name it in static_argnames.")
