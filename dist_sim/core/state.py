"""State: the mutable cell, and its kinds.

A State is a slot of fixed structure, shape, dtype and unit that one overwrites. The kind (its class) is a label to select by;
all kinds work alike and none contains another.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar, NamedTuple, TypeVar

import jax
from jax.sharding import Mesh, NamedSharding

from dist_sim.core.caught import created, taken_over
from dist_sim.core.hooks import CANCELLED, Hookable, any_hooks, before_write, observe
from dist_sim.core.placement import ByName, Given, Placement
from dist_sim.core.slot import Slot, slot_for, unbound
from dist_sim.core.trace import Birth, birth, check_read, check_write, enter, is_eager, is_left_behind, note_write
from dist_sim.errors import StateValueError
from dist_sim.partition.mesh import Axes, automatic, current_mesh

S = TypeVar("S", bound="State")


class StateInfo(NamedTuple):
    """All of a State but its value: enough to make it again. Hashable if the metadata are."""

    kind: type[State]
    name: str | None
    tag: str | None
    metadata: tuple[tuple[str, Any], ...]
    placement: Placement | None


class State(Hookable):
    """A typed, mutable cell.

    Args:
        value: arrays and brainunit quantities in any PyTree. Python numbers and numpy arrays become JAX arrays.
        name: shown in error messages.
        sharding: where the value lies, kept at every write. With a tree, each leaf is split that way. When the State is
            re-bound to a value with more axes (a batch in front), the new axes are not split.
        axes: instead, names for the axes, such as `("neuron",)` for the last one, `("batch", ..., "neuron")` for the first and
            the last; inside :func:`dist_sim.use_mesh` they say how the value is split. Each kind of State has a default.
        tag: a label to select by, as `module.states("tag")`.
        metadata: anything else; read as attributes of the State.

    Raises:
        StateValueError: a value that holds something else than arrays, or that the sharding cannot split.
        TraceContextError: read or written from a JAX transform that is not ours.
    """

    __slots__ = (
        "__weakref__",
        "_attribute",
        "_birth",
        "_moved",
        "_open",
        "_placement",
        "_slot",
        "_value",
        "metadata",
        "name",
        "tag",
    )

    axes: ClassVar[Axes] = ()
    """The names of the axes of this kind of State, where none are given."""

    roams: ClassVar[bool] = False
    """Its value goes to whatever devices it is used on next, rather than staying where a program computed it."""

    _value: Any
    _slot: Slot
    _birth: Birth | None

    def __init__(
        self,
        value: Any,
        name: str | None = None,
        *,
        sharding: NamedSharding | None = None,
        axes: Axes | None = None,
        tag: str | None = None,
        **metadata: Any,
    ) -> None:
        self.name, self.tag, self.metadata = name, tag, metadata
        self._attribute: str | None = None
        if isinstance(value, State):
            value = value.value
        mesh = current_mesh()
        placement = ByName(mesh, type(self).axes if axes is None else axes) if mesh is not None and sharding is None else None
        if sharding is not None:
            placement = _given(sharding, value, self)
        self._create(value, placement)

    def _create(self, value: Any, placement: Placement | None) -> None:
        self._hooks = None
        self._moved = 0  # how often a Module let go of it
        self._open = False
        self._birth = birth(self)
        self._placement = placement
        self._slot, value = slot_for(value, placement, self)
        self._value = self._slot.place(value) if self._slot.is_sharded else value
        created(self)
        if any_hooks(self):
            observe("init", self, self._value)

    @property
    def value(self) -> Any:
        """The value. Assigning replaces it; the new one must fit the slot.

        Raises:
            StateValueError: on assigning another structure, shape, dtype or unit.
            TraceContextError: see :mod:`dist_sim.core.trace`.
        """
        eager = is_eager()
        if not eager or self._birth is not None:
            check_read(self)
        if eager and any_hooks(self):
            observe("read", self, self._value)
        return self._value

    @value.setter
    def value(self, value: Any) -> None:
        if self._open:
            self.reset_value(value)
            return
        if self._birth is None and is_eager() and not any_hooks(self):
            # The short way of what _write does: eager code writes often.
            value = self._slot.fit(_bare(value, self), self)
            self._value = self._slot.place(value) if self._slot.is_sharded else value
        else:
            enter(self)
            self._write(self._slot, self._slot.fit(_bare(value, self), self))

    def restore_value(self, value: Any) -> None:
        """Replaces the value by a saved one, under the same checks as an assignment. Fires `restore` hooks only.

        Raises:
            StateValueError: another structure, shape, dtype or unit.
        """
        enter(self)
        value = self._slot.fit(_bare(value, self), self)
        check_write(self)
        note_write(self)
        self._replace(self._slot, value, "restore")

    def reset_value(self, value: Any) -> None:
        """Makes this State, the same object, another slot: the value may have any structure, shape, dtype and unit.

        Compiled functions notice and compile again. The State stays placed as it was: by its sharding, or by its named axes.
        """
        if is_left_behind(self):
            # No program knows it, and nothing of it is left: it begins anew, here. So a function that allocates its model's
            # States may be compiled again, for a batch of another size.
            self._slot, value = slot_for(_bare(value, self), self._placement, self)
            self._birth, self._value = birth(self), self._slot.place(value)
            return
        enter(self)
        slot, value = slot_for(_bare(value, self), self._placement, self)
        # An equal slot stays the same object: compiled functions compare by identity first.
        self._write(self._slot if slot == self._slot else slot, value)

    def become(self: S, new: S) -> None:
        """Makes this State, the same object, what another one is: its value, and its sharding if it was given one.

        A sharding that was given to this State is not replaced by one that comes from a mesh in use.
        """
        placement = self._placement if new._placement is None else new._placement
        if isinstance(self._placement, Given) and isinstance(placement, ByName):
            placement = self._placement
        if placement != self._placement and not is_eager():
            raise StateValueError(f"{self.label}: the sharding cannot change inside a transform. Set it before.")
        self._placement = placement
        self.reset_value(new.value)
        taken_over(new, self)

    def value_call(self, func: Callable[[Any], Any]) -> Any:
        """`func` of every leaf of the value (of arrays, without units), as a PyTree like the value. Changes nothing."""
        return jax.tree.map(func, self.value)

    def _write(self, slot: Slot, value: Any) -> None:
        check_write(self)
        if any_hooks(self):
            value = before_write(self, value, lambda new: slot.fit(_bare(new, self), self), lambda: check_read(self))
            if value is CANCELLED:
                return
        note_write(self)
        self._replace(slot, value, "write_after")

    def _replace(self, slot: Slot, value: Any, operation: str) -> None:
        before = self._slot, self._value
        self._slot, self._value = slot, slot.place(value) if slot.is_sharded else value
        if any_hooks(self) and is_eager():
            try:
                observe(operation, self, self._value, before[1])
            except BaseException:
                self._slot, self._value = before
                raise

    @contextmanager
    def reshape_allowed(self: S) -> Iterator[S]:
        """Within this context an assignment may change structure, shape, dtype and unit."""
        before, self._open = self._open, True
        try:
            yield self
        finally:
            self._open = before

    @property
    def sharding(self) -> NamedSharding | tuple[NamedSharding, ...] | None:
        """Where the value lies; a tuple, one per leaf, where the leaves lie differently; None leaves it to JAX.

        Assigning moves the value, and is for outside of transforms.
        """
        enter(self)
        found = dict.fromkeys(self._slot.shardings)
        return next(iter(found), None) if len(found) <= 1 else self._slot.shardings  # type: ignore[return-value]

    @sharding.setter
    def sharding(self, sharding: NamedSharding | None) -> None:
        if not is_eager():
            raise StateValueError(f"{self.label}: the sharding cannot change inside a transform. Set it before.")
        self._place(None if sharding is None else _given(sharding, self._value, self))

    def _place(self, placement: Placement | None) -> None:
        slot, value = slot_for(self._value, placement, self)
        check_write(self)
        self._value = slot.place(value)
        self._slot, self._placement = slot, placement

    @property
    def label(self) -> str:
        """How error messages call this State: its kind and name, or the attribute that first held it."""
        known = self.name or self._attribute
        return f"{type(self).__name__} {known!r}" if known else type(self).__name__

    @property
    def info(self) -> StateInfo:
        """All but the value; see :meth:`from_info`."""
        return StateInfo(type(self), self.name, self.tag, tuple(self.metadata.items()), self._placement)

    @staticmethod
    def from_info(info: StateInfo, value: Any) -> State:
        """A State as `info` says, with this value. It belongs to the trace in which it is made, and has no hooks."""
        state = info.kind.__new__(info.kind)
        state.name, state.tag, state.metadata, state._attribute = info.name, info.tag, dict(info.metadata), None
        state._create(value, info.placement)
        return state

    def copy(self: S) -> S:
        """A new State of the same kind with the same value, labels and sharding; without the hooks."""
        return State.from_info(self.info, self.value)  # type: ignore[return-value]

    def numel(self) -> int:
        """Number of elements, over all leaves."""
        enter(self)
        return sum(leaf.size for leaf in jax.tree.leaves(self._value))

    def __getattr__(self, name: str) -> Any:
        # Only for what is not found otherwise.
        if not name.startswith("_") and name != "metadata" and name in self.metadata:
            return self.metadata[name]
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __repr__(self) -> str:
        return f"{self.label}({self._slot})"


class ParamState(State):
    """A trainable parameter: what an optimizer updates and grad differentiates by."""


class HiddenState(State):
    """A dynamical variable: membrane voltages, hidden activations, anything that evolves."""

    axes = ("batch", ..., "neuron")


class ShortTermState(State):
    """A value that lives for a single step, such as a synaptic current."""

    axes = ("batch", ..., "neuron")


class DelayState(ShortTermState):
    """The last values of something, kept for delays; its first axis is the past."""


class LongTermState(State):
    """A buffer that accumulates over steps, such as running statistics."""


class BatchState(State):
    """A value whose leading axis is a batch."""

    axes = ("batch", ...)


def commit(states: Sequence[State], slots: Sequence[Slot], values: Sequence[Any]) -> None:
    """Takes over the values of States at the end of a transform; `slots` is what they were at the end of the traced function."""
    if is_eager() and all(state._birth is None for state in states):
        before = [state._value for state in states] if any(map(any_hooks, states)) else None
        for state, slot, value in zip(states, slots, values, strict=True):
            if state.roams:
                value = jax.tree.map(unbound, value)
            state._slot, state._value = slot, slot.place(value) if slot.is_sharded else value
        if before is not None:
            for state, old in zip(states, before, strict=True):
                observe("write_after", state, state._value, old)
        return
    for state, slot, value in zip(states, slots, values, strict=True):
        check_write(state)
        note_write(state)
        state._slot, state._value = slot, slot.place(value)


def _bare(value: Any, state: State) -> Any:
    if isinstance(value, State):
        raise StateValueError(f"{state.label}: a State was assigned; assign its .value.")
    return value


def _given(sharding: NamedSharding, value: Any, state: State) -> Given:
    slot, _ = slot_for(value, None, state)
    if isinstance(sharding.mesh, Mesh):
        sharding = NamedSharding(automatic(sharding.mesh), sharding.spec, memory_kind=sharding.memory_kind)
    return Given(sharding, tuple(len(shape) for shape, _ in slot.avals))
