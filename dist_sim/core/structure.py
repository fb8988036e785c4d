"""What a compiled step of a Module depends on besides the values of its States, and the Module reduced to that.

A Module that says `structure`, the names of the attributes that its step reads, can share its compiled step with every other
Module of the same structure. The step is traced on a *skeleton*: the tree of Modules with their States, without values, and with
these attributes alone. What is in the key is what the trace can see, so a shared program cannot hold a number of the network for
which it was compiled: a step that reads another attribute fails.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Hashable, Iterable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh

from dist_sim.core import walk
from dist_sim.core.module import Module
from dist_sim.core.recent import Same
from dist_sim.core.state import State


class Skeleton(NamedTuple):
    """A Module reduced to its structure.

    Attributes:
        key: equal for Modules whose steps are the same program.
        module: with States that have no values; states: the State of the Module for each of these.
    """

    key: Hashable
    module: Any
    states: dict[State, State]


def skeleton(module: Module) -> Skeleton:
    """The skeleton of a Module, in which all Modules say their `structure`."""
    reduction = _Reduction()
    key, reduced = reduction.of(module)
    return Skeleton(key, reduced, reduction.states)


class _Reduction:
    def __init__(self) -> None:
        self.states: dict[State, State] = {}
        self._known: dict[int, tuple[int, Any]] = {}  # what is held in several places is one thing in the skeleton too

    def of(self, value: Any) -> tuple[Hashable, Any]:
        """The key of a value and what stands for it in the skeleton."""
        if isinstance(value, State | walk.Node):
            if id(value) in self._known:
                number, reduced = self._known[id(value)]
                return ("again", number), reduced
            reduced: Any = object.__new__(type(value))
            self._known[id(value)] = len(self._known), reduced
            return self._state(value, reduced) if isinstance(value, State) else self._reduced(value, _names(value), reduced)
        if value is None or isinstance(value, bool | int | str | bytes | type | np.dtype | Mesh):
            return (type(value), value), value
        if isinstance(value, float | complex | np.generic):
            return (type(value), np.asarray(value).tobytes()), value
        if isinstance(value, np.ndarray):
            copy = value.copy()
            copy.flags.writeable = False
            return (np.ndarray, value.dtype, value.shape, value.tobytes()), copy
        if isinstance(value, list | tuple):
            keys, items = self._all(value)
            return (type(value), keys), type(value)(*items) if hasattr(value, "_fields") else type(value)(items)
        if isinstance(value, Mapping):
            keys, items = self._all(value.values())
            return (dict, tuple(value), keys), dict(zip(value, items, strict=True))
        if isinstance(value, frozenset):
            return (frozenset, value), value
        assert not isinstance(value, jax.Array), "an array of a compiled step is the value of a State"
        if (names := getattr(type(value), "structure", None)) is not None:
            return self._reduced(value, names, object.__new__(type(value)))
        if dataclasses.is_dataclass(value) and getattr(type(value), "__dataclass_params__").frozen:  # noqa: B009 (no public name)
            return self._reduced(value, [field.name for field in dataclasses.fields(value)], object.__new__(type(value)))
        return Same(value), value

    def _all(self, values: Iterable[Any]) -> tuple[tuple[Hashable, ...], list[Any]]:
        found = [self.of(value) for value in values]
        return tuple(key for key, _ in found), [reduced for _, reduced in found]

    def _reduced(self, value: Any, names: Iterable[str], reduced: Any) -> tuple[Hashable, Any]:
        keys = []
        for name in names:
            key, part = self.of(getattr(value, name))
            keys.append((name, key))
            object.__setattr__(reduced, name, part)
        return (type(value), tuple(keys)), reduced

    def _state(self, state: State, reduced: State) -> tuple[Hashable, State]:
        reduced.name, reduced.tag, reduced.metadata, reduced._attribute = state.name, state.tag, {}, state._attribute
        reduced._hooks, reduced._birth, reduced._moved, reduced._open = None, None, 0, False
        reduced._slot, reduced._placement, reduced._value = state._slot, state._placement, None
        self.states[reduced] = state
        return (type(state), state._slot, state._placement), reduced


def _names(module: Any) -> list[str]:
    """The attributes of a Module that its step may read: those of its structure, States and Modules, and what is empty."""
    declared = type(module).structure
    empty = ([], (), {}, None)
    held = [n for n, v in vars(module).items() if any(v == e for e in empty if type(v) is type(e)) or next(walk.held(v), None)]
    return [*declared, *(name for name in held if name not in declared)]
