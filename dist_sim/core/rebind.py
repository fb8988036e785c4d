"""In-place initialisation: what makes `self.v = HiddenState(...)` give the State that is there a new value.

`init_state` and `reset_state` may create States at every call. While they run, a new State that is assigned to an attribute
which holds one already gives its value to the old one: object, sharding and every compiled function that knows it go on.
"""

from __future__ import annotations

import contextvars
import functools
from collections.abc import Callable
from typing import Any

from dist_sim.core.state import State

_IN_PLACE: contextvars.ContextVar[bool] = contextvars.ContextVar("dist_sim_in_place", default=False)


def in_place(method: Callable[..., Any]) -> Callable[..., Any]:
    """`init_state` or `reset_state`, with States re-bound rather than replaced while it runs."""

    @functools.wraps(method)
    def rebinding(*args: Any, **kwargs: Any) -> Any:
        token = _IN_PLACE.set(True)
        try:
            return method(*args, **kwargs)
        finally:
            _IN_PLACE.reset(token)

    return rebinding


def rebind(old: Any, new: Any) -> Any:
    """What an attribute that holds `old` shall hold when `new` is assigned to it."""
    if not _IN_PLACE.get() or new is old:
        return new
    if isinstance(new, State):
        # A State that some Module holds already is shared on purpose: it replaces the old one.
        if type(old) is not type(new) or new._attribute is not None:
            return new
        old.become(new)
        return old
    if isinstance(new, dict) and isinstance(old, dict):
        return {key: rebind(old.get(key), item) for key, item in new.items()}
    if type(new) in (list, tuple) and type(old) is type(new):
        return type(new)(rebind(old[n] if n < len(old) else None, item) for n, item in enumerate(new))
    return new
