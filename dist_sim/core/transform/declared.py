"""Which States a transform maps, and along which axis: what users write as `in_states` and `out_states`."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator
from typing import Any

from dist_sim.core.filters import Filter, Predicate, to_predicate
from dist_sim.core.random import RandomState
from dist_sim.core.state import State
from dist_sim.errors import ParameterError

States = Any
"""A State; States in lists, sets or dicts; a filter such as a kind of State; or a dict of these keyed by axis (an int)."""


class Declared:
    """States with the axis each is mapped along, by object or by filter.

    Args:
        given: see :data:`States`; without an axis it is 0.
        where: what the user called it, for error messages.

    Attributes:
        states: the States given as objects, and their axes.
        axes: every axis that occurs.

    Raises:
        ParameterError: something that is no State and no filter, or a State with two axes.
    """

    def __init__(self, given: States, where: str) -> None:
        self._where = where
        self.states: dict[State, int] = {}
        self._filters: list[tuple[Predicate, int]] = []
        by_axis = isinstance(given, dict) and all(isinstance(axis, int) for axis in given)
        for axis, group in (given if by_axis else {0: given}).items():
            for item in _items(group):
                self._add(item, axis)
        self.axes = set(self.states.values()) | {axis for _, axis in self._filters}

    def axis(self, state: State) -> int | None:
        """The axis that a State is mapped along, None if it is not. A source of random numbers is mapped only as an object."""
        if state in self.states:
            return self.states[state]
        if isinstance(state, RandomState):
            return None
        return next((axis for fits, axis in self._filters if fits((), state)), None)

    def joined(self, states: Iterable[State]) -> Declared:
        """These, and other States along axis 0 where they are declared nowhere."""
        other = copy.copy(self)
        other.states = {**{state: 0 for state in states if self.axis(state) is None}, **self.states}
        other.axes = self.axes | set(other.states.values())
        return other

    def _add(self, item: State | Filter, axis: int) -> None:
        if not isinstance(item, State):
            self._filters.append((to_predicate(item, self._where), axis))
        elif self.states.setdefault(item, axis) != axis:
            raise ParameterError(f"{self._where}: {item.label} is given with the axes {self.states[item]} and {axis}.")


def _items(group: Any) -> Iterator[Any]:
    """The States and filters in a group."""
    if isinstance(group, dict):
        group = group.values()
    if isinstance(group, Iterable) and not isinstance(group, str):
        for item in group:
            yield from _items(item)
    elif group is not None:
        yield group
