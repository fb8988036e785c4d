"""Hooks: callbacks at the moments of a State's life, for one State or for all.

| hook | fires | may |
| --- | --- | --- |
| `init` | a State was created | look; only registered for all States |
| `read` | `.value` was read | look |
| `write_before` | a value that fits is about to be assigned | set `ctx.transformed_value`, or `ctx.cancel = True` |
| `write_after` | a value was assigned | look |
| `restore` | :meth:`State.restore_value` put a saved value back | look |

Each fires once per operation: first those of all States, then the State's own, each by priority (highest first), then by age.
An exception in a hook rejects the operation: the State keeps its value and the exception goes to the caller. (After a compiled
function the values stand: the memory of the old ones was reused.)

Hooks belong to eager execution, with one rule for compiled code: `write_before` is part of the program, traced in once for
every assignment written there; registering or removing one compiles anew. The others see no traced values: a compiled
function, as a whole, fires `write_after` once for each State that it wrote.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from dist_sim.errors import ParameterError, UnknownNameError

if TYPE_CHECKING:
    from dist_sim.core.state import State

TYPES = ("init", "read", "write_before", "write_after", "restore")


@dataclass(frozen=True, eq=False)
class HookContext:
    """What a hook is told.

    Args:
        operation: one of `init, read, write_before, write_after, restore`.
        state: the State.
        value: its value, or the one that is being written.
        old_value: before a write or restore; None otherwise.
        timestamp: seconds since the epoch.
        metadata: the State's.
    """

    operation: str
    state: State
    value: Any
    old_value: Any = None
    timestamp: float = field(default_factory=time.time)

    @property
    def state_name(self) -> str | None:
        return self.state.name

    @property
    def metadata(self) -> dict[str, Any]:
        return self.state.metadata


class WriteBeforeContext(HookContext):
    """What a `write_before` hook is told, and how it answers.

    `value` and `transformed_value` are what would be written as of now: what was assigned, as changed by the hooks before.

    Attributes:
        transformed_value: assign it to write something else.
        cancel: assign True to leave the State as it is; no later hook fires, nothing is raised.
        cancel_reason: for whoever looks.
    """

    cancel: bool
    cancel_reason: str | None

    def __init__(self, state: State, value: Any, old_value: Any) -> None:
        super().__init__("write_before", state, value, old_value)
        object.__setattr__(self, "cancel", False)
        object.__setattr__(self, "cancel_reason", None)

    @property
    def transformed_value(self) -> Any:
        return self.value

    def __setattr__(self, name: str, value: Any) -> None:
        if name in ("cancel", "cancel_reason"):
            object.__setattr__(self, name, value)
        elif name in ("value", "transformed_value"):
            object.__setattr__(self, "value", value)
        else:
            super().__setattr__(name, value)


@dataclass(eq=False)
class HookHandle:
    """One registered hook; `disable`, `enable` or `remove` it."""

    hook_type: str
    callback: Callable[[Any], Any]
    priority: int
    name: str
    _home: Hooks
    _enabled: bool = True

    def enable(self) -> None:
        self._switch(True)

    def disable(self) -> None:
        self._switch(False)

    def remove(self) -> bool:
        """Unregisters the hook; False if it was removed before."""
        return self._home.remove(self)

    def is_enabled(self) -> bool:
        return self._enabled and not self.is_removed()

    def is_removed(self) -> bool:
        return self not in self._home.of(self.hook_type)

    def _switch(self, on: bool) -> None:
        if self.is_removed():
            raise ParameterError(f"hook {self.name!r} was removed. Register it again.")
        self._enabled = on
        self._home.changed(self.hook_type)


class Hooks:
    """The hooks of one State, or of all."""

    def __init__(self) -> None:
        self.used = False
        self.version = 0
        """Grows when the `write_before` hooks change: compiled functions hold them."""
        # Tuples are replaced, never changed: a hook may register or remove hooks while it runs, in any thread.
        self._by_type: dict[str, tuple[HookHandle, ...]] = dict.fromkeys(TYPES, ())

    def add(self, hook_type: str, callback: Callable[[Any], Any], priority: int, name: str | None, enabled: bool) -> HookHandle:
        if hook_type not in TYPES:
            raise UnknownNameError("hook type", hook_type, TYPES, "register_hook")
        if not callable(callback):
            raise ParameterError(f"register_hook({hook_type!r}, {callback!r}): a hook is a function of the context.")
        handle = HookHandle(hook_type, callback, priority, name or getattr(callback, "__name__", "hook"), self, enabled)
        # A stable sort keeps the order of registration among equals.
        self._by_type[hook_type] = tuple(sorted((*self._by_type[hook_type], handle), key=lambda hook: -hook.priority))
        self.changed(hook_type)
        return handle

    def remove(self, handle: HookHandle) -> bool:
        before = self._by_type[handle.hook_type]
        self._by_type[handle.hook_type] = tuple(hook for hook in before if hook is not handle)
        self.changed(handle.hook_type)
        return len(before) != len(self._by_type[handle.hook_type])

    def clear(self, hook_type: str | None) -> None:
        for each in TYPES if hook_type is None else (hook_type,):
            self._by_type[each] = ()
            self.changed(each)

    def of(self, hook_type: str | None) -> tuple[HookHandle, ...]:
        if hook_type is None:
            return tuple(hook for hooks in self._by_type.values() for hook in hooks)
        if hook_type not in TYPES:
            raise UnknownNameError("hook type", hook_type, TYPES, "hooks")
        return self._by_type[hook_type]

    def active(self, hook_type: str) -> tuple[HookHandle, ...]:
        return tuple(hook for hook in self._by_type[hook_type] if hook._enabled)

    def changed(self, hook_type: str) -> None:
        self.used = any(self._by_type.values())
        self.version += hook_type == "write_before"


class Hookable:
    """The hooks of a State, as its methods."""

    __slots__ = ("_hooks",)

    _hooks: Hooks | None

    def register_hook(
        self,
        hook_type: str,
        callback: Callable[[Any], Any],
        priority: int = 0,
        name: str | None = None,
        enabled: bool = True,
    ) -> HookHandle:
        """Calls `callback(ctx)` at every operation of that type on this State; see :mod:`dist_sim.core.hooks`.

        The hook belongs to this object: it outlives re-initialising, resetting and restoring; copies and clones have none.

        Raises:
            UnknownNameError: no such type of hook.
            ParameterError: something that cannot be called, or `init`: this State exists already.
        """
        if hook_type == "init":
            raise ParameterError("register_hook('init', ...): this State exists already. Use register_state_hook('init', ...).")
        if self._hooks is None:
            self._hooks = Hooks()
        return self._hooks.add(hook_type, callback, priority, name, enabled)

    def unregister_hook(self, handle: HookHandle) -> bool:
        """Removes a hook; False if it was removed before."""
        return handle.remove()

    def clear_hooks(self, hook_type: str | None = None) -> None:
        """Removes the hooks of a type, or all of them."""
        if self._hooks is not None:
            self._hooks.clear(hook_type)

    def list_hooks(self, hook_type: str | None = None) -> list[HookHandle]:
        """The hooks of a type, or all of them, in the order in which they fire."""
        return [] if self._hooks is None else list(self._hooks.of(hook_type))

    def has_hooks(self, hook_type: str | None = None) -> bool:
        return bool(self.list_hooks(hook_type))

    @contextmanager
    def temporary_hook(self, hook_type: str, callback: Callable[[Any], Any], priority: int = 0) -> Iterator[HookHandle]:
        """A hook that is there within the context."""
        handle = self.register_hook(hook_type, callback, priority)
        try:
            yield handle
        finally:
            handle.remove()


GLOBAL = Hooks()
"""The hooks of all States."""


def register_state_hook(
    hook_type: str, callback: Callable[[Any], Any], priority: int = 0, name: str | None = None, enabled: bool = True
) -> HookHandle:
    """Calls `callback(ctx)` at every operation of that type on any State, in the whole process; see :mod:`dist_sim.core.hooks`.

    Raises:
        UnknownNameError: no such type of hook.
        ParameterError: something that cannot be called.
    """
    return GLOBAL.add(hook_type, callback, priority, name, enabled)


def unregister_state_hook(handle: HookHandle) -> bool:
    """Removes a hook of all States; False if it was removed before."""
    return handle.remove()


def clear_state_hooks(hook_type: str | None = None) -> None:
    """Removes the hooks of all States of one type, or all of them."""
    GLOBAL.clear(hook_type)


def list_state_hooks(hook_type: str | None = None) -> list[HookHandle]:
    """The hooks of all States, of one type or all of them, in the order in which they fire."""
    return list(GLOBAL.of(hook_type))


def has_state_hooks(hook_type: str | None = None) -> bool:
    return bool(GLOBAL.of(hook_type))


def any_hooks(state: Hookable) -> bool:
    """Whether some hook may have to fire for this State. Quick: asked at every read and write."""
    return state._hooks is not None or GLOBAL.used


def observe(operation: str, state: State, value: Any, old_value: Any = None) -> None:
    """Fires the hooks that only look."""
    hooks = _active(operation, state)
    if hooks:
        context = HookContext(operation, state, value, old_value)
        for hook in hooks:
            _call(hook, context)


def hooks_version(state: Hookable) -> int:
    """Changes when the hooks that are part of a program that writes this State do."""
    return 0 if state._hooks is None else state._hooks.version


CANCELLED: Any = object()


def before_write(state: State, value: Any, fit: Callable[[Any], Any], read: Callable[[], None]) -> Any:
    """The value that the `write_before` hooks make of the one assigned, or CANCELLED.

    Args:
        fit: what a hook puts in place must fit the slot too.
        read: called before a hook may look at the old value: in compiled code that makes it an input.
    """
    hooks = _active("write_before", state)
    if not hooks:
        return value
    read()
    context = WriteBeforeContext(state, value, state._value)
    for hook in hooks:
        before = context.value
        _call(hook, context)
        if context.cancel:
            return CANCELLED
        if context.value is not before:
            object.__setattr__(context, "value", fit(context.value))
    return context.value


def _active(operation: str, state: State) -> tuple[HookHandle, ...]:
    own = () if state._hooks is None else state._hooks.active(operation)
    return GLOBAL.active(operation) + own


def _call(hook: HookHandle, context: HookContext) -> None:
    try:
        hook.callback(context)
    except Exception as error:
        error.add_note(
            f"Raised by the {context.operation} hook {hook.name!r} of {context.state.label}, which rejects the operation."
        )
        raise
