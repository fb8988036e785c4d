"""vmap that knows States: many lanes of one function at once, each with its own values of the States that are mapped."""

from __future__ import annotations

import functools
import warnings
import weakref
from collections.abc import Callable, Hashable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import Primitive
from jax.interpreters import batching

from dist_sim.core.filters import Filter, Predicate, to_predicate
from dist_sim.core.random import RandomState
from dist_sim.core.slot import Slot
from dist_sim.core.state import State
from dist_sim.core.trace import StateTrace, adopt, enter
from dist_sim.core.transform.checks import surfacing
from dist_sim.core.transform.declared import Declared, States
from dist_sim.core.transform.staging import Leaves, keep, refuse_states, value_of
from dist_sim.errors import BatchAxisError, ParameterError

LANE = Primitive("lane")
"""What one lane sees of an array with lanes along an axis: under vmap, the array is the lanes. No copy, no gather."""
batching.primitive_batchers[LANE] = lambda operands, _, *, axis: (operands[1], axis)

SAME = Primitive("same_in_all_lanes")
"""Says under vmap, by `answer`, which of its operands after the first are one value for all lanes."""
SAME.multiple_results = True


def _same_in_all_lanes(operands: Sequence[Any], axes: Sequence[Any], *, answer: list[bool]) -> tuple[list[Any], list[Any]]:
    answer.extend(axis is None for axis in axes[1:])
    return [], []


batching.primitive_batchers[SAME] = _same_in_all_lanes


def vmap(
    fn: Callable[..., Any] | None = None,
    *,
    in_axes: Any = 0,
    out_axes: Any = 0,
    axis_name: Hashable | None = None,
    axis_size: int | None = None,
    spmd_axis_name: Hashable | tuple[Hashable, ...] | None = None,
    in_states: States = None,
    out_states: States = None,
) -> Any:
    """Runs a function for many lanes at once, as `jax.vmap` does, with States.

    A State is shared by all lanes unless it is declared. What a lane writes to a shared State must be the same in all of
    them. A State in `in_states` has an axis of lanes; each lane sees its own value, without that axis, and what it writes goes
    back there. The function is called once per call. States that it creates are one per lane, and gone afterwards.

    Each lane draws its own random numbers from a `RandomState` (such as `random.DEFAULT`), which itself moves on once.

    Works as a decorator, with or without arguments. Keyword arguments of the function are mapped along their first axis.

    Args:
        in_axes, out_axes, axis_name, spmd_axis_name: as in `jax.vmap`.
        axis_size: number of lanes; may be left out where arguments or States given as objects say it.
        in_states: the mapped States: a State, a list or dict of them (as `module.states(HiddenState)` gives), or a filter such
            as `HiddenState`; along axis 0, or `{axis: States}`.
        out_states: where the lanes of written States go, if not where they came from. A State that is only here is one value for
            all lanes before, and gets the axis of lanes when it is written.

    Raises: when called; the States keep their values:
        BatchAxisError: lanes write different values to a State that is not declared; or arguments and States have different
            numbers of lanes, or none say it.
    """
    options = {"in_axes": in_axes, "out_axes": out_axes, "axis_name": axis_name, "axis_size": axis_size}
    options |= {"spmd_axis_name": spmd_axis_name, "in_states": in_states, "out_states": out_states}
    if fn is None:
        return functools.partial(vmap, **options)
    in_states, out_states = Declared(in_states, "in_states"), Declared(out_states, "out_states")
    options |= {"in_states": in_states, "out_states": out_states}

    @functools.wraps(fn, updated=())
    def mapped(*args: Any, **kwargs: Any) -> Any:
        return _Lanes(fn, args, kwargs, **options).run()

    return mapped


POLICIES = ("auto", "warn", "ignore", "raise")


def vmap2(
    fn: Callable[..., Any] | None = None,
    *,
    in_axes: Any = 0,
    out_axes: Any = 0,
    axis_name: Hashable | None = None,
    axis_size: int | None = None,
    spmd_axis_name: Hashable | tuple[Hashable, ...] | None = None,
    state_in_axes: States = None,
    state_out_axes: States = None,
    unexpected_out_state_mapping: str = "auto",
) -> Any:
    """As :func:`vmap`; a State that is declared nowhere and that lanes write different values to gets an axis of lanes in front.

    It has that axis from then on, and at the next call each lane goes on from its own value.

    Args:
        in_axes, out_axes, axis_name, axis_size, spmd_axis_name: as for :func:`vmap`.
        state_in_axes, state_out_axes: `in_states` and `out_states` of :func:`vmap`.
        unexpected_out_state_mapping: "auto" or "ignore" to let it be so, "warn" to be told of it, "raise" for what :func:`vmap`
            does.

    Raises: as :func:`vmap`; ParameterError: another policy.
    """
    if unexpected_out_state_mapping not in POLICIES:
        allowed = ", ".join(map(repr, POLICIES))
        raise ParameterError(f"vmap2(unexpected_out_state_mapping={unexpected_out_state_mapping!r}): allowed are {allowed}.")
    options = {"in_axes": in_axes, "out_axes": out_axes, "axis_name": axis_name, "axis_size": axis_size}
    options |= {"spmd_axis_name": spmd_axis_name}
    if fn is None:
        options |= {"state_in_axes": state_in_axes, "state_out_axes": state_out_axes}
        return functools.partial(vmap2, unexpected_out_state_mapping=unexpected_out_state_mapping, **options)
    in_states, out_states = Declared(state_in_axes, "state_in_axes"), Declared(state_out_axes, "state_out_axes")
    options |= {"in_states": in_states, "out_states": out_states, "unexpected": unexpected_out_state_mapping}

    split: weakref.WeakKeyDictionary[State, int] = weakref.WeakKeyDictionary()  # States that got lanes here, and how many

    @functools.wraps(fn, updated=())
    def mapped(*args: Any, **kwargs: Any) -> Any:
        own = [state for state, size in split.items() if all(shape[:1] == (size,) for shape, _ in state._slot.avals)]
        lanes = _Lanes(fn, args, kwargs, **{**options, "in_states": in_states.joined(own)})
        out = lanes.run()
        split.update(dict.fromkeys(lanes.got_lanes, lanes.size))
        return out

    return mapped


def vmap_new_states(
    fun: Callable[..., Any] | None = None,
    *,
    in_axes: Any = 0,
    out_axes: Any = 0,
    axis_name: Hashable | None = None,
    axis_size: int | None = None,
    spmd_axis_name: Hashable | tuple[Hashable, ...] | None = None,
    state_tag: str | None = None,
    state_to_exclude: Filter = None,
) -> Any:
    """Runs a function that makes States once per lane: afterwards those it created or wrote have an axis of lanes in front.

    With random initial values each lane has its own. The function is called once per call.
    Arguments and errors: see :func:`vmap`.

    Args:
        state_tag: becomes the tag of the States created.
        state_to_exclude: States that stay one for all lanes; a filter of :mod:`dist_sim.core.filters` (the path is empty).
    """
    options = {"in_axes": in_axes, "out_axes": out_axes, "axis_name": axis_name, "axis_size": axis_size}
    options |= {"spmd_axis_name": spmd_axis_name}
    if fun is None:
        return functools.partial(vmap_new_states, state_tag=state_tag, state_to_exclude=state_to_exclude, **options)
    excluded = to_predicate(state_to_exclude, "state_to_exclude")
    options |= {"in_states": Declared(None, "in_states"), "out_states": Declared(None, "out_states")}

    @functools.wraps(fun, updated=())
    def mapped(*args: Any, **kwargs: Any) -> Any:
        lanes = _Lanes(fun, args, kwargs, **options, shared=excluded)
        out = lanes.run()
        if state_tag is not None:
            for state in lanes.born:
                state.tag = state_tag
        return out

    return mapped


class _Lanes:
    """One call of a mapped function.

    Args:
        shared: States that stay one for all lanes, where the others that are written or created get an axis; None: those
            that are created are gone afterwards, and the others are as declared.
        unexpected: what becomes of a State that is not declared and that lanes write different values to; one of `POLICIES`.

    Attributes:
        born: the States created, if they are kept.
        got_lanes: those that were declared nowhere, and got an axis of lanes.
        size: how many lanes there are.
    """

    def __init__(
        self,
        fun: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        *,
        in_axes: Any,
        out_axes: Any,
        axis_name: Hashable | None,
        axis_size: int | None,
        spmd_axis_name: Any,
        in_states: Declared,
        out_states: Declared,
        shared: Predicate | None = None,
        unexpected: str = "raise",
    ) -> None:
        self._fun, self._args, self._kwargs = fun, args, kwargs
        self._in_states, self._out_states, self._shared = in_states, out_states, shared
        self._unexpected = unexpected
        in_axes = tuple(in_axes) if isinstance(in_axes, list) else in_axes
        self.size = _count_lanes(args, in_axes, kwargs, in_states, axis_size)
        self._axes = in_states.axes | out_states.axes | {0}
        self._vmap = functools.partial(
            jax.vmap,
            in_axes=(0, in_axes, 0),
            out_axes=(out_axes, {axis: axis for axis in self._axes}, None),
            axis_name=axis_name,
            axis_size=self.size,
            spmd_axis_name=spmd_axis_name,
        )
        self.born: list[State] = []
        self.got_lanes: list[State] = []
        self._entered: dict[State, tuple[Slot, int]] = {}  # mapped States in use: their slots outside, the axes
        self._drawn: dict[State, None] = {}  # sources of random numbers in use
        self._split: dict[int, list[State]] = {axis: [] for axis in self._axes}
        self._same: list[State] = []
        self._slots: dict[State, Slot] = {}  # of what was written, at the end of one lane

    def run(self) -> Any:
        """Calls the function, writes the States, returns its result."""
        with surfacing():
            out, split, same = self._vmap(self._lane)(jnp.arange(self.size), self._args, self._kwargs)
        written = [(state, self._whole(state, axis)) for axis, states in self._split.items() for state in states]
        written += [(state, self._slots[state]) for state in self._same]
        values = [leaves for axis in self._split for leaves in split[axis]] + same
        for state in self._drawn:
            written.append((state, state._slot))
            values.append([RandomState.after_lanes(*value_of(state))])
        adopt(self.born)
        keep([state for state, _ in written], [slot for _, slot in written], values)
        return out

    def _lane(self, index: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        frame = StateTrace(enter=lambda state: self._enter(frame, state, index))
        with frame:
            out = refuse_states(self._fun(*args, **kwargs))
            self.born = [] if self._shared is None else list(frame.born)
            values: dict[State, Leaves] = {}
            for state in dict.fromkeys((*self.born, *frame.writes)):
                if state in self._drawn:
                    continue
                self._slots[state] = state._slot
                values[state] = state._slot.leaves(state._value)
                axis = self._out_axis(state)
                (self._same if axis is None else self._split[axis]).append(state)
            self._refuse_different(index, values)
        return (
            out,
            {axis: [values[state] for state in states] for axis, states in self._split.items()},
            [values[state] for state in self._same],
        )

    def _enter(self, frame: StateTrace, state: State, index: Any) -> tuple[Any, Slot] | None:
        """What a State is in one lane; None where it is what it is outside."""
        axis = self._in_states.axis(state)
        if axis is not None:
            slot = state._slot
            _count(state.label, slot, axis, self.size)
            leaves = slot.leaves(frame.read_outside(state))
            lane = slot.without_axis(axis)
            self._entered[state] = slot, axis
            own = [LANE.bind(index, leaf, axis=axis % leaf.ndim) for leaf in leaves]
            return lane.value(own), lane
        if isinstance(state, RandomState):
            self._drawn[state] = None
            return RandomState.lane_key(frame.read_outside(state), index), state._slot
        return None

    def _out_axis(self, state: State) -> int | None:
        axis = self._out_states.axis(state)
        if axis is None and state in self._entered:
            axis = self._entered[state][1]
        if axis is None and self._shared is not None and not self._shared((), state):
            axis = 0
        return axis

    def _refuse_different(self, index: Any, values: dict[State, Leaves]) -> None:
        for state in list(self._same):
            answer: list[bool] = []
            SAME.bind(index, *values[state], answer=answer)
            if all(answer):
                continue
            if self._unexpected != "raise":
                self._same.remove(state)
                self._split[0].append(state)
                self.got_lanes.append(state)
                if self._unexpected == "warn":
                    warnings.warn(f"vmap2: {state.label} gets an axis of {self.size} lanes in front.", stacklevel=2)
            else:
                raise BatchAxisError(
                    f"vmap: the {self.size} lanes write different values to {state.label}, which they share. Declare it: in "
                    "in_states if each lane has its own value already, in out_states if it gets the axis of lanes by this; or "
                    "write the same in all lanes, as a mean over them. The States keep their values."
                )

    def _whole(self, state: State, axis: int) -> Slot:
        """What a written State is after the call."""
        lane = self._slots[state]
        if state in self._entered:
            before, in_axis = self._entered[state]
            slot = lane.with_axis(axis, self.size, before.split_of(in_axis))
            return before if slot == before else slot
        slot = lane.with_axis(axis, self.size)
        return slot.placed(state._placement, state) if axis == 0 else slot


def _count_lanes(args: tuple[Any, ...], in_axes: Any, kwargs: dict[str, Any], in_states: Declared, axis_size: int | None) -> int:
    """The number of lanes, on which all must agree."""
    shared = object()  # jax.tree takes None for an empty tree
    try:
        prefix = jax.tree.map(lambda axis: shared if axis is None else axis, in_axes, is_leaf=lambda axis: axis is None)
        axes = jax.tree.leaves(jax.tree.broadcast(prefix, args)) + [0] * len(jax.tree.leaves(kwargs))
    except ValueError:
        raise BatchAxisError(f"vmap(in_axes={in_axes}) does not fit a call with {len(args)} positional arguments.") from None
    sizes: dict[str, int] = {} if axis_size is None else {"axis_size": axis_size}
    for (path, leaf), axis in zip(jax.tree_util.tree_leaves_with_path((args, kwargs)), axes, strict=True):
        if axis is not shared:
            name = f"argument {jax.tree_util.keystr(path[1:])}"
            sizes[name] = _size_of(name, jnp.shape(leaf), axis)
    for state, axis in in_states.states.items():
        enter(state)
        for shape, _ in state._slot.avals:
            sizes[state.label] = _size_of(state.label, shape, axis)
    if not sizes:
        raise BatchAxisError("vmap: nothing says how many lanes there are. Map an argument or a State, or give axis_size.")
    if len(set(sizes.values())) > 1:
        found = ", ".join(f"{name}: {size}" for name, size in sizes.items())
        raise BatchAxisError(f"vmap: what is mapped has different numbers of lanes ({found}).")
    return next(iter(sizes.values()))


def _count(name: str, slot: Slot, axis: int, size: int) -> None:
    """Refuses a slot that has another number of lanes."""
    for shape, _ in slot.avals:
        if _size_of(name, shape, axis) != size:
            raise BatchAxisError(f"vmap: {name} holds {slot}, mapped along axis {axis}, but there are {size} lanes.")


def _size_of(name: str, shape: tuple[int, ...], axis: int) -> int:
    if not -len(shape) <= axis < len(shape):
        raise BatchAxisError(f"vmap: {name} has the shape {shape}, and no axis {axis} to map. Leave it out, or map another axis.")
    return shape[axis]
