"""Calling `init_state` or `reset_state` of every Module in a tree, in order."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from dist_sim.core import walk
from dist_sim.core.filters import Filter, Path, to_predicate
from dist_sim.errors import ParameterError

if TYPE_CHECKING:
    from dist_sim.core.module import Module

F = TypeVar("F", bound=Callable[..., Any])

LEVELS = 10


def call_order(level: int = 0, check_order_boundary: bool = True) -> Callable[[F], F]:
    """Says when an `init_state` or `reset_state` is called, among those of a model.

    First those without it, then by ascending level; among equals in the order of definition.

    Args:
        level: from 0 to 9.
        check_order_boundary: False allows any number.

    Raises:
        ParameterError: another level.
    """
    if check_order_boundary and not 0 <= level < LEVELS:
        raise ParameterError(f"call_order({level}): allowed are 0 to {LEVELS - 1}.")

    def mark(method: F) -> F:
        method.call_order = level  # type: ignore[attr-defined]
        return method

    return mark


def does_nothing(method: F) -> F:
    """Marks what a Module has that defines no `init_state` or `reset_state` of its own."""
    method.does_nothing = True  # type: ignore[attr-defined]
    return method


def call_all(
    target: Any, name: str, args: tuple[Any, ...], kwargs: dict[str, Any], node_to_exclude: Filter, lanes: int | None = None
) -> None:
    excluded = to_predicate(node_to_exclude, "node_to_exclude")
    nodes = {path: node for path, node in walk.nodes(target).items() if not excluded(path, node)}
    calls = [call for path, node in nodes.items() if (call := _call(path, node, name, args, kwargs)) is not None]
    for call in sorted(calls, key=lambda call: call.order):
        getattr(call.node, call.method)(*call.bound.args, **call.bound.kwargs)
        call.node._batch_size, call.node._lanes = call.batch_size, lanes


class _Call(NamedTuple):
    node: Module
    method: str
    order: tuple[bool, float]
    bound: inspect.BoundArguments
    batch_size: int | None


def _call(path: Path, node: Module, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> _Call | None:
    """The call of `init_state` or `reset_state` of one Module; None where there is nothing to call."""
    again = name == "reset_state"
    if again and _does_nothing(node, "reset_state"):
        name = "init_state"
    method = getattr(node, name)
    if _does_nothing(node, name):
        return None
    where = f"{type(node).__name__} ({walk.dotted(path)})"
    if again and node._lanes is not None:
        raise ParameterError(
            f"{where} was allocated by vmap_init_all_states for {node._lanes} lanes, which a reset would drop. Call that again."
        )
    signature = inspect.signature(method)
    takes_batch = "batch_size" in signature.parameters or any(
        parameter.kind is parameter.VAR_KEYWORD for parameter in signature.parameters.values()
    )
    batch_size = kwargs.get("batch_size")
    given = {key: x for key, x in kwargs.items() if key != "batch_size"}
    if again and not args and "batch_size" not in kwargs and takes_batch:
        batch_size = node._batch_size
    if batch_size is not None:
        given["batch_size"] = batch_size
    try:
        bound = signature.bind(*args, **given)
    except TypeError as error:
        if (args or batch_size is not None) and not takes_batch:
            raise ParameterError(
                f"{where} does not support batches: its {name} takes no batch_size. "
                f"Define {name}(self, batch_size=None), or leave it out with node_to_exclude."
            ) from None
        raise ParameterError(f"{where}: {name}{signature} does not take what it was given: {error}.") from None
    size = bound.arguments.get("batch_size", batch_size) if takes_batch else node._batch_size
    level = getattr(method, "call_order", None)
    return _Call(node, name, (level is not None, level or 0), bound, size)


def _does_nothing(node: Module, name: str) -> bool:
    return getattr(getattr(type(node), name), "does_nothing", False)
