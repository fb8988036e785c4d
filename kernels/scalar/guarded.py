"""The reference: texts carried out on arrays by JAX, with every rounding that is written and no other.

XLA may contract a product and a sum, turn a quotient by a constant into a product, and put constants together. A choice that
depends on the value stops each of these, and costs little: `where(x != x, nan, x)` is x.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, final

import jax
import jax.numpy as jnp
import numpy as np

from dist_sim.kernels.scalar.rounded import quotient, root
from dist_sim.kernels.scalar.text import FLOAT, INT, Arithmetic, Text, read


def run(text: Text, values: Sequence[Any]) -> list[Any]:
    """The results of a text for arrays that broadcast against each other."""
    return read(text, values, Guarded(text.dtype))


@final
class Guarded(Arithmetic):
    def __init__(self, dtype: np.dtype):
        self.dtype = dtype
        self.integer = np.dtype(np.int64 if dtype == np.float64 else np.int32)

    def literal(self, value: Any, kind: str) -> Any:
        # Of numpy's own types: weakly typed numbers could become wider, or whole.
        if kind == INT:
            return (np.int32 if -(2**31) <= value < 2**31 else np.int64)(value)
        return self.dtype.type(value) if kind == FLOAT else np.bool_(value)

    def operation(self, name: str, values: Sequence[Any], kinds: Sequence[str], kind: str) -> Any:
        if INT in kinds:
            values = self._alike(values, kinds)
        match name:
            case "mul" if kind == FLOAT:
                return uncontracted(values[0] * values[1])
            case "div" if kind == FLOAT:
                return uncontracted(quotient(*values))
            case "add" | "sub":
                result = values[0] + values[1] if name == "add" else values[0] - values[1]
                return uncontracted(result) if kind == FLOAT and any(isinstance(v, np.generic) for v in values) else result
            case "sqrt":
                return uncontracted(root(values[0]))
            case "select":
                return jnp.where(*values)
            case "to_float":
                return jnp.asarray(values[0]).astype(self.dtype)
            case "to_int":
                return jnp.asarray(values[0]).astype(np.int32)
            case "bits":
                return jax.lax.bitcast_convert_type(values[0], self.integer)
            case "number":
                return jax.lax.bitcast_convert_type(values[0], self.dtype)
            case "shift_right_logical" | "shift_right_arithmetic" | "shift_left":
                value = jnp.asarray(values[0])
                return getattr(jax.lax, name)(value, jnp.broadcast_to(jnp.asarray(values[1], value.dtype), value.shape))
        return _PLAIN[name](*values)

    def _alike(self, values: Sequence[Any], kinds: Sequence[str]) -> list[Any]:
        """Whole numbers of one width."""
        widths = [np.dtype(v.dtype) for v, k in zip(values, kinds, strict=True) if k == INT]
        widest = max(widths, key=lambda d: d.itemsize)
        return [v.astype(widest) if k == INT and v.dtype != widest else v for v, k in zip(values, kinds, strict=True)]

    def function(self, name: str, text: Text, values: Sequence[Any]) -> Sequence[Any]:
        return read(text, values, self)

    def choose(self, condition: Any, text: Text, other: Text, values: Sequence[Any]) -> Sequence[Any]:
        return [jnp.where(condition, a, b) for a, b in zip(read(text, values, self), read(other, values, self), strict=True)]


def uncontracted(x: Any) -> Any:
    """x, which XLA does not contract with what follows: a product and a sum are rounded one after the other."""
    return x if isinstance(x, np.generic) else jnp.where(x != x, jnp.asarray(jnp.nan, x.dtype), x)


_PLAIN = {
    "neg": lambda x: -x, "abs": jnp.abs, "floor": jnp.floor, "mul": lambda a, b: a * b, "div": lambda a, b: a // b,
    "lt": lambda a, b: a < b, "le": lambda a, b: a <= b, "gt": lambda a, b: a > b, "ge": lambda a, b: a >= b,
    "eq": lambda a, b: a == b, "ne": lambda a, b: a != b, "and": lambda a, b: a & b, "or": lambda a, b: a | b,
    "xor": lambda a, b: a ^ b, "not": lambda x: ~x if x.dtype != bool else jnp.logical_not(x),
}  # fmt: skip
