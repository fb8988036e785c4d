"""Compiled programs that are kept for later calls: those used last, and how what they depend on is compared."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from threading import Lock
from typing import Any, Generic, TypeVar, final

T = TypeVar("T")


@final
class Recent(Generic[T]):
    """Values by key, of which the ones used last are kept. Several threads may use it.

    Attributes:
        most: how many are kept.
    """

    def __init__(self, most: int = 64) -> None:
        self.most = most
        self._values: OrderedDict[Hashable, T] = OrderedDict()
        self._lock = Lock()

    def get(self, key: Hashable) -> T | None:
        """The value of a key; None where it is not kept."""
        with self._lock:
            return self._values.get(key)

    def keep(self, key: Hashable, value: T) -> T:
        """Keeps a value as the one used last, and returns it."""
        with self._lock:
            self._values[key] = value
            self._values.move_to_end(key)
            while len(self._values) > self.most:
                self._values.popitem(last=False)
        return value

    def clear(self) -> None:
        """Keeps nothing."""
        with self._lock:
            self._values.clear()

    def values(self) -> list[T]:
        """All that is kept, the one used last at the end."""
        with self._lock:
            return list(self._values.values())


@final
class Same:
    """An object in a key, equal to itself only. Held, so that no other one comes to lie where it lay."""

    def __init__(self, value: Any) -> None:
        self._value = value

    def __hash__(self) -> int:
        return id(self._value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Same) and other._value is self._value
