"""Static: any Python value as part of a key, also one that holds arrays."""

from __future__ import annotations

from typing import Any, final

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer


@final
class Static:
    """A value that compiled programs contain: hashable and comparable whatever it is.

    Equal are values of the same type and structure that are the same object or compare equal; arrays (also inside quantities)
    of the same dtype and unit, by their bytes. An array is hashed by shape, dtype and unit alone, and what cannot be hashed by
    its type.

    Args:
        value: best left alone from here on.
    """

    __slots__ = ("_hash", "value")

    def __init__(self, value: Any) -> None:
        self.value = value
        self._hash: int | None = None

    def __hash__(self) -> int:
        if self._hash is None:
            leaves, treedef = jax.tree.flatten(self.value)
            self._hash = hash((_hash(treedef), *map(_hash, leaves)))
        return self._hash

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Static):
            return NotImplemented
        if self.value is other.value:
            return True
        (mine, my_tree), (theirs, their_tree) = jax.tree.flatten(self.value), jax.tree.flatten(other.value)
        return my_tree == their_tree and all(map(_same, mine, theirs))

    def __repr__(self) -> str:
        return f"Static({self.value!r})"


def _hash(x: Any) -> int:
    if isinstance(x, (jax.Array, np.ndarray)):
        return hash((x.shape, str(x.dtype)))
    try:
        return hash((type(x), x))
    except TypeError:
        return hash(type(x))


def _same(a: Any, b: Any) -> bool:
    if a is b:
        return True
    if type(a) is not type(b) or isinstance(a, Tracer):
        return False
    if isinstance(a, (jax.Array, np.ndarray)):
        return a.shape == b.shape and a.dtype == b.dtype and _bytes(a) is not None and _bytes(a) == _bytes(b)
    try:
        return bool(a == b)
    except (TypeError, ValueError):
        return False


def _bytes(x: Any) -> bytes | None:
    """The content of an array; None if it is not all in this process, or no more there."""
    if isinstance(x, jax.Array):
        if x.is_deleted() or not x.is_fully_addressable:
            return None
        if jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
            x = jax.random.key_data(x)
    return None if x.dtype == object else np.asarray(x).tobytes()
