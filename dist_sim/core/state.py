"""State: the mutable cell, and its kinds.

A State is a slot of fixed structure, shape, dtype and unit that one overwrites. The kind (its class) is a label to select by;
all kinds work alike and none contains another.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import jax
from jax.sharding import NamedSharding

from dist_sim.core.slot import Slot, slot_for
from dist_sim.core.trace import Birth, birth, check_read, check_write, current_frame
from dist_sim.errors import StateValueError

S = TypeVar("S", bound="State")


class State:
    """A typed, mutable cell.

    Args:
        value: arrays and brainunit quantities in any PyTree. Python numbers and numpy arrays become JAX arrays.
        name: shown in error messages.
        sharding: where the value lies, kept at every write. With a tree, each leaf is split that way. When the State is
            re-bound to a value with more axes (a batch in front), the new axes are not split.

    Raises:
        StateValueError: a value that holds something else than arrays.
        TraceContextError: read or written from a JAX transform that is not ours.
    """

    __slots__ = ("_attribute", "_birth", "_moved", "_open", "_ranks", "_sharding", "_slot", "_value", "name", "__weakref__")

    _value: Any
    _slot: Slot
    _birth: Birth | None

    def __init__(self, value: Any, name: str | None = None, *, sharding: NamedSharding | None = None) -> None:
        self.name = name
        self._attribute: str | None = None
        self._moved = 0  # how often a Module let go of it
        self._open = False
        self._birth = birth()
        self._sharding = sharding
        if isinstance(value, State):
            value = value.value
        self._slot, value = slot_for(value, sharding, None, self.label)
        self._ranks = tuple(len(shape) for shape, _ in self._slot.avals) if sharding is not None else None
        self._value = self._slot.place(value) if sharding is not None else value

    @property
    def value(self) -> Any:
        """The value. Assigning replaces it; the new one must fit the slot.

        Raises:
            StateValueError: on assigning another structure, shape, dtype or unit.
            TraceContextError: see :mod:`dist_sim.core.trace`.
        """
        check_read(self)
        return self._value

    @value.setter
    def value(self, value: Any) -> None:
        if isinstance(value, State):
            raise StateValueError(f"{self.label}: a State was assigned; assign its .value.")
        if self._open:
            self.reset_value(value)
            return
        value = self._slot.fit(value, self.label)
        check_write(self)
        self._value = self._slot.place(value)

    def restore_value(self, value: Any) -> None:
        """Replaces the value by a saved one, under the same checks as an assignment.

        Raises:
            StateValueError: another structure, shape, dtype or unit.
        """
        if isinstance(value, State):
            raise StateValueError(f"{self.label}: a State was given; give its .value.")
        value = self._slot.fit(value, self.label)
        check_write(self)
        self._value = self._slot.place(value)

    def reset_value(self, value: Any) -> None:
        """Makes this State, the same object, another slot: the value may have any structure, shape, dtype and unit.

        Compiled functions notice and compile again. The sharding is kept.
        """
        slot, value = slot_for(value, self._sharding, self._ranks, self.label)
        check_write(self)
        value = slot.place(value)
        # An equal slot stays the same object: compiled functions compare by identity first.
        self._slot, self._value = self._slot if slot == self._slot else slot, value

    @contextmanager
    def reshape_allowed(self: S) -> Iterator[S]:
        """Within this context an assignment may change structure, shape, dtype and unit."""
        before, self._open = self._open, True
        try:
            yield self
        finally:
            self._open = before

    @property
    def sharding(self) -> NamedSharding | None:
        """Where the value lies, as it was given; None leaves it to JAX. Assigning moves the value."""
        return self._sharding

    @sharding.setter
    def sharding(self, sharding: NamedSharding | None) -> None:
        if current_frame() is not None:
            raise StateValueError(f"{self.label}: the sharding cannot change inside a transform. Set it before.")
        slot, value = slot_for(self._value, sharding, None, self.label)
        check_write(self)
        self._value = slot.place(value)
        self._slot, self._sharding = slot, sharding
        self._ranks = tuple(len(shape) for shape, _ in slot.avals) if sharding is not None else None

    @property
    def label(self) -> str:
        """How error messages call this State: its kind and name, or the attribute that first held it."""
        known = self.name or self._attribute
        return f"{type(self).__name__} {known!r}" if known else type(self).__name__

    def copy(self: S) -> S:
        """A new State of the same kind with the same value and sharding."""
        new = type(self)(self.value, self.name)
        new._slot, new._sharding, new._ranks = self._slot, self._sharding, self._ranks
        return new

    def numel(self) -> int:
        """Number of elements, over all leaves."""
        return sum(leaf.size for leaf in jax.tree.leaves(self._value))

    def __repr__(self) -> str:
        return f"{self.label}({self._slot})"


class ParamState(State):
    """A trainable parameter: what an optimizer updates and grad differentiates by."""


class HiddenState(State):
    """A dynamical variable: membrane voltages, hidden activations, anything that evolves."""


class ShortTermState(State):
    """A value that lives for a single step, such as a synaptic current."""


class LongTermState(State):
    """A buffer that accumulates over steps, such as running statistics."""


class BatchState(State):
    """A value whose leading axis is a batch."""


def commit(state: State, slot: Slot, value: Any) -> None:
    """Takes over a State's value at the end of a transform; `slot` is what it was at the end of the traced function."""
    check_write(state)
    state._value = slot.place(value)
    state._slot = slot
