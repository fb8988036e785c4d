"""Quotients and roots as IEEE 754 rounds them, on GPUs too.

XLA's own of 32 bits are not rounded correctly there (`div.full.f32`, `sqrt.approx.f32`), those of 64 bits are. A result of 64
bits that is rounded again to 32 is the right one: it has more than twice as many digits and two (Figueroa 1995,
doi:10.1145/221332.221334). TPUs have neither.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import ShapedArray
from jax.extend.core import Primitive
from jax.extend.mlir import ir
from jax.extend.mlir.dialects import stablehlo
from jax.interpreters import ad, batching, mlir

_WIDENED = ("cuda", "rocm")


def quotient(above: Any, below: Any) -> Any:
    """above / below, of one dtype, that broadcast against each other."""
    if all(isinstance(x, np.generic) for x in (above, below)):
        return above / below
    below = jnp.where(above == above, below, above)  # XLA would multiply by the inverse of what it knows to be constant
    return _divide.bind(*jnp.broadcast_arrays(above, below))


def root(x: Any) -> Any:
    """The square root of x."""
    return np.sqrt(x) if isinstance(x, np.generic) else _sqrt.bind(x)


def _primitive(name: str, plain: Any, operation: Any) -> Primitive:
    """An elementwise primitive: `plain` where that is rounded correctly; elsewhere `operation`, with numbers of 64 bits."""
    found = Primitive(f"dist_sim_{name}")
    found.def_impl(jax.jit(found.bind))
    found.def_abstract_eval(lambda x, *_: ShapedArray(x.shape, x.dtype))
    batching.defbroadcasting(found)
    mlir.register_lowering(found, mlir.lower_fun(plain, multiple_results=False))

    def widened(context: Any, *operands: Any) -> list[Any]:
        given = operands[0].type
        wide = ir.RankedTensorType.get(given.shape, ir.F64Type.get())
        result = operation(*(stablehlo.convert(wide, x) for x in operands))
        # LLVM would make one operation of 32 bits of it, for it knows those of IEEE: a choice in between stops it.
        number = stablehlo.compare(result, result, stablehlo.ComparisonDirectionAttr.get("EQ"))
        result = stablehlo.select(number, result, stablehlo.negate(result))
        return [stablehlo.convert(given, result)]

    for platform in _WIDENED:
        mlir.register_lowering(found, widened, platform=platform)
    return found


_divide = _primitive("quotient", jax.lax.div, stablehlo.divide)
_sqrt = _primitive("root", jax.lax.sqrt, stablehlo.sqrt)
ad.defjvp2(_divide, lambda t, q, a, b: t / b, lambda t, q, a, b: -t * (q / b))
ad.defjvp2(_sqrt, lambda t, q, x: t / (2 * q))
