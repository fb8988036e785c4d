"""Allocating and resetting the States of a whole model, in place.

`init_state` may create States at every call. While it runs, a new State that is assigned to an attribute which holds one
already gives its value to the old one: object, sharding and every compiled function that knows it go on.
"""

from __future__ import annotations

import contextvars
import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from dist_sim.core.state import State

if TYPE_CHECKING:
    from dist_sim.core.module import Module

M = TypeVar("M", bound="Module")

_KEEP: Any = object()
_IN_PLACE: contextvars.ContextVar[bool] = contextvars.ContextVar("dist_sim_in_place", default=False)


def init_all_states(module: M, batch_size: int | None = None, **kwargs: Any) -> M:
    """Allocates the States of a model: calls `init_state` of every Module in the tree, in the order of definition.

    May be called again at any time: States keep their identity and sharding.

    Args:
        batch_size: number of independent copies, the first axis of every State allocated; None for no such axis.
        kwargs: handed to every `init_state`.

    Returns:
        The module.
    """
    for node in module.nodes().values():
        if batch_size is not None:
            kwargs["batch_size"] = batch_size
        node.init_state(**kwargs)
        object.__setattr__(node, "_batch_size", batch_size)
    return module


def reset_all_states(module: M, batch_size: int | None = _KEEP, **kwargs: Any) -> M:
    """Sets the States of a model back to their start: calls `reset_state` of every Module in the tree.

    Args:
        batch_size: as for :func:`init_all_states`; left out, it stays what it was there.
    """
    for node in module.nodes().values():
        size = getattr(node, "_batch_size", None) if batch_size is _KEEP else batch_size
        node.reset_state(**kwargs, **({} if size is None else {"batch_size": size}))
        object.__setattr__(node, "_batch_size", size)
    return module


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
