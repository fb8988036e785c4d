"""A call of a function with States as a pure function of what it is differentiated by: what all of autodiff shares.

The function itself runs once, under whatever JAX transform is applied, and in eager mode with values that Python can look at.
It sees the States it is differentiated by at these values; what it writes comes out beside the result.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import brainunit as u
import jax
import jax.numpy as jnp
from jax.sharding import NamedSharding, PartitionSpec

from dist_sim.core.slot import Slot, describe, placed
from dist_sim.core.state import State
from dist_sim.core.trace import StateTrace
from dist_sim.core.transform.staging import keep, refuse_states, value_of
from dist_sim.errors import ParameterError, UnitError

States = Any
"""A State, or States in any PyTree (list, dict, ...)."""

Argnums = int | Sequence[int] | None


class PureCall:
    """One call of a function, as a function of flat arrays.

    Args:
        fun, args, kwargs: the call.
        states: the States to differentiate by, in any PyTree; None for none.
        argnums: the positional arguments to differentiate by.
        has_aux: it returns (result, anything else).
        unit_aware: derivatives have the unit of the result over that of the parameter, else that of the parameter.
        check_states: raise for a State that the function does not touch.
        allow_int: integers may be differentiated by.
        where: the transform, for error messages.

    Attributes:
        leaves: the arrays to differentiate by, without units.

    Raises:
        ParameterError: an argument that is not there, or integers to differentiate by.
        TypeError: something else than States among `states`.
    """

    def __init__(
        self,
        fun: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        *,
        states: States,
        argnums: Argnums,
        has_aux: bool = False,
        unit_aware: bool = False,
        check_states: bool = True,
        allow_int: bool = False,
        where: str,
    ) -> None:
        self._fun, self._args, self._kwargs = fun, args, kwargs
        self._argnums, self._has_aux, self._unit_aware = argnums, has_aux, unit_aware
        self._check_states, self._where = check_states, where
        self._has_states = states is not None
        self._listed, self._tree = jax.tree.flatten(states)
        for state in self._listed:
            if not isinstance(state, State):
                raise TypeError(f"{where}: grad_states holds a {type(state).__name__}; only States can be in it.")
        self._states = tuple(dict.fromkeys(self._listed))
        self._nums = _positions(argnums, len(args), where)

        # Reading first: it is what lets a State be what it is in here.
        leaves = [value_of(state) for state in self._states]
        values = [state._slot.value(found) for state, found in zip(self._states, leaves, strict=True)]
        point = values, [args[n] for n in self._nums]
        self.leaves, self._point_tree = jax.tree.flatten(point)
        # A quantity holds one array, so that the two flattenings match one to one.
        wholes, self._whole_tree = jax.tree.flatten(point, is_leaf=_is_quantity)
        self._point_units = [whole.unit if _is_quantity(whole) else None for whole in wholes]
        shardings = [sharding for state in self._states for sharding in state._slot.shardings]
        self._shardings = shardings + [None] * (len(wholes) - len(shardings))
        if not allow_int:
            self._refuse_integers(values)

    def __call__(self, leaves: list[Any]) -> tuple[list[Any], Any]:
        """The arrays of the result, and all that comes with it: for :meth:`finish`."""
        values, diff = self._point_tree.unflatten(leaves)
        args = list(self._args)
        for n, value in zip(self._nums, diff, strict=True):
            args[n] = value
        frame = StateTrace()
        with frame:
            for state, value in zip(self._states, values, strict=True):
                frame.bind(state, value)
            out, aux = self._split(refuse_states(self._fun(*args, **self._kwargs)))
            self._refuse_untouched(frame)
            self._written = tuple(frame.writes)
            self._slots: list[Slot] = [state._slot for state in self._written]
            written = [state._slot.leaves(state._value) for state in self._written]
        wholes, self.out_tree = jax.tree.flatten(out, is_leaf=_is_quantity)
        wholes = [u.maybe_decimal(whole) if _is_quantity(whole) else whole for whole in wholes]
        self.out_units = [whole.unit if _is_quantity(whole) else None for whole in wholes]
        bare = [whole.mantissa if _is_quantity(whole) else whole for whole in wholes]
        return bare, (bare, aux, written)

    def scalar(self, leaves: list[Any]) -> tuple[Any, Any]:
        """As a call, for a function that must return one number.

        Raises:
            ParameterError: it does not.
        """
        out, carried = self(leaves)
        if len(out) != 1 or jnp.ndim(out[0]):
            shape = describe(self.out_tree.unflatten(out))
            raise ParameterError(
                f"{self._where}: {_name(self._fun)} returns {shape}, and must return one number (a scalar). Reduce it, as by "
                "sum() or mean(), or use vector_grad or jacrev."
            )
        return out[0], carried

    def finish(self, carried: Any) -> tuple[Any, Any]:
        """Writes the States back that the function wrote; returns its result and aux."""
        out, aux, written = carried
        keep(self._written, self._slots, written)
        return self.result(out), aux

    def result(self, arrays: Sequence[Any]) -> Any:
        """Arrays as the function returns them, with its units."""
        return self.out_tree.unflatten(list(map(_with_unit, arrays, self.out_units)))

    def bare_result(self, value: Any, like: Sequence[Any]) -> list[Any]:
        """The arrays of something shaped as the result: bare, or with its units."""
        return _bare(self.out_tree.flatten_up_to(value), self.out_units, like, self._where)

    def bare_arguments(self, values: Sequence[Any]) -> list[Any]:
        """The arrays of something shaped as the arguments that are differentiated by: bare, or with their units."""
        return _bare(self._whole_tree.flatten_up_to(([], list(values))), self._point_units, self.leaves, self._where)

    def refuse_units(self) -> None:
        """Raises UnitError if the function returned something with a unit."""
        with_unit = [str(unit) for unit in self.out_units if unit is not None]
        if with_unit:
            raise UnitError(
                f"{self._where}: {_name(self._fun)} returns something in {', '.join(with_unit)}. A derivative of it needs "
                "unit_aware=True, which gives it the unit result / parameter; or divide the result by its unit."
            )

    def row(self, found: Sequence[Any], *above: int, out: int = 0) -> Any:
        """The derivatives by each array of one result (by the inputs `above` already), as :meth:`mirror` and :meth:`block`."""
        return self.mirror([self.block(x, *above, n, out=out) for n, x in enumerate(found)])

    def mirror(self, blocks: list[Any]) -> Any:
        """One entry per array that is differentiated by, in the structure the user gave the States and argnums in."""
        values, args = self._whole_tree.unflatten(blocks)
        by_state = dict(zip(self._states, values, strict=True))
        of_states = self._tree.unflatten([by_state[state] for state in self._listed])
        of_args = args[0] if isinstance(self._argnums, int) else tuple(args)
        if not self._has_states:
            return of_args
        return of_states if self._argnums is None else (of_states, of_args)

    def block(self, x: Any, *inputs: int, out: int = 0) -> Any:
        """A derivative by the arrays `inputs` of the result `out`, with its unit, lying as the last of the inputs does.

        Without units the derivative has the unit of what it is by, so that a step along it can be added to it.
        """
        last = inputs[-1]
        x = _placed(x, self._shardings[last], jnp.ndim(self.leaves[last]))
        units = [unit for unit in (self._point_units[n] for n in inputs) if unit is not None]
        if not self._unit_aware:
            return _with_unit(x, math.prod(units[1:], start=units[0]) if units else None)
        above = self.out_units[out] or u.UNITLESS
        return u.maybe_decimal(_with_unit(x, above / math.prod(units, start=u.UNITLESS)))

    def _split(self, result: Any) -> tuple[Any, Any]:
        if not self._has_aux:
            return result, None
        if not isinstance(result, (tuple, list)) or len(result) != 2:
            raise ParameterError(
                f"{self._where}: with has_aux=True {_name(self._fun)} must return a pair (result, aux); "
                f"it returns a {type(result).__name__}."
            )
        return result[0], result[1]

    def _refuse_untouched(self, frame: StateTrace) -> None:
        untouched = [state.label for state in self._states if state not in frame.reads and state not in frame.writes]
        if untouched and self._check_states:
            raise ParameterError(
                f"{self._where}: {_name(self._fun)} does not touch {', '.join(untouched)}, which it is to be differentiated by. "
                "Leave it out of grad_states, or pass check_states=False for a derivative of zeros."
            )

    def _refuse_integers(self, values: list[Any]) -> None:
        named = [(state.label, value) for state, value in zip(self._states, values, strict=True)]
        named += [(f"argument {n}", self._args[n]) for n in self._nums]
        for name, value in named:
            for leaf in jax.tree.leaves(value):
                dtype = leaf.dtype if hasattr(leaf, "dtype") else jnp.result_type(leaf)
                if not jnp.issubdtype(dtype, jnp.inexact):
                    raise ParameterError(
                        f"{self._where}: {name} is {describe(value)}; a derivative is by real or complex numbers. Make it a "
                        "float, or leave it out."
                    )


def decorator(transform: Callable[..., Any], fun: Callable[..., Any] | None, **options: Any) -> Any:
    """`transform(fun, **options)`, or what makes it from `fun` where a decorator was written with arguments only."""
    return functools.partial(transform, **options) if fun is None else transform(fun, **options)


def default_argnums(states: States, argnums: Argnums) -> Argnums:
    """Without States it is the first argument that a function is differentiated by."""
    return 0 if states is None and argnums is None else argnums


def _positions(argnums: Argnums, size: int, where: str) -> list[int]:
    given = [] if argnums is None else [argnums] if isinstance(argnums, int) else list(argnums)
    for n in given:
        if not -size <= n < size:
            raise ParameterError(f"{where}: argnums={argnums}, but the function is called with {size} positional arguments.")
    nums = [n % size for n in given]
    if len(set(nums)) != len(nums):
        raise ParameterError(f"{where}: argnums={argnums} names an argument twice.")
    return nums


def _placed(x: Any, sharding: NamedSharding | None, rank: int) -> Any:
    """`x` whose last `rank` axes lie as `sharding` says; those in front are not split."""
    if sharding is None or x.dtype == jax.dtypes.float0:
        return x
    if x.ndim > rank:
        spec = PartitionSpec(*(None,) * (x.ndim - rank), *sharding.spec)
        sharding = NamedSharding(sharding.mesh, spec, memory_kind=sharding.memory_kind)
    return placed(x, sharding)


def _is_quantity(x: Any) -> bool:
    return isinstance(x, u.Quantity)


def _with_unit(x: Any, unit: Any) -> Any:
    return x if unit is None else u.Quantity(x, unit=unit)


def _bare(wholes: list[Any], units: list[Any], like: Sequence[Any], where: str) -> list[Any]:
    bare = []
    for whole, unit, x in zip(wholes, units, like, strict=True):
        if _is_quantity(whole):
            try:
                whole = whole.to_decimal(u.UNITLESS if unit is None else unit)
            except u.UnitMismatchError:
                raise UnitError(f"{where}: got {describe(whole)} for something in {unit or 'bare numbers'}.") from None
        is_number = jnp.issubdtype(jnp.result_type(x), jnp.inexact)
        bare.append(jnp.asarray(whole, jnp.result_type(x)) if is_number else whole)
    return bare


def _name(fun: Callable[..., Any]) -> str:
    return getattr(fun, "__name__", type(fun).__name__)
