"""Catching the States that are created in a block of code."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, final

from dist_sim.core.filters import Filter, to_predicate

if TYPE_CHECKING:
    from dist_sim.core.state import State


@final
class NewStates:
    """The States that were created, in that order. One that gave its value to a State that was there is not among them: that is.

    Attributes:
        state_tag: the tag that they got.
    """

    def __init__(self, state_tag: str | None, excluded: Callable[[Any, Any], bool]) -> None:
        self.state_tag = state_tag
        self._excluded = excluded
        self._found: dict[State, None] = {}

    def get_states(self) -> list[State]:
        return list(self._found)

    def get_state_values(self) -> list[Any]:
        return [state.value for state in self._found]

    def __len__(self) -> int:
        return len(self._found)

    def __iter__(self) -> Iterator[State]:
        return iter(list(self._found))

    def __contains__(self, state: object) -> bool:
        return state in self._found

    def clear(self) -> None:
        """Forgets those caught so far."""
        self._found.clear()

    def _add(self, state: State) -> None:
        if not self._excluded((), state):
            self._found[state] = None
            if self.state_tag is not None:
                state.tag = self.state_tag

    def _replace(self, new: State, old: State) -> None:
        if new in self._found:
            del self._found[new]
            self._add(old)


class _Open(threading.local):
    def __init__(self) -> None:
        self.catchers: list[NewStates] = []


_OPEN = _Open()


@contextmanager
def catch_new_states(state_tag: str | None = None, state_to_exclude: Filter = None) -> Iterator[NewStates]:
    """Catches the States that are created within this context, in this thread: `with catch_new_states("new") as caught: ...`.

    Args:
        state_tag: becomes their tag.
        state_to_exclude: States to leave out; a filter of :mod:`dist_sim.core.filters` (the path is empty).
    """
    caught = NewStates(state_tag, to_predicate(state_to_exclude, "state_to_exclude"))
    _OPEN.catchers.append(caught)
    try:
        yield caught
    finally:
        _OPEN.catchers.remove(caught)


def created(state: State) -> None:
    """A State was created, with its labels and value."""
    for catcher in _OPEN.catchers:
        catcher._add(state)


def taken_over(new: State, old: State) -> None:
    """A State that was there became what a new one is."""
    for catcher in _OPEN.catchers:
        catcher._replace(new, old)
