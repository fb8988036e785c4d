"""How XLA compiles a program for a CPU: whether it splits operations among threads, and how wide its vectors are."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from jax.extend.core import ClosedJaxpr, Jaxpr

# Elements of one operation. On 2 cores (EPYC) the COBA network of 40,000 neurons takes 1.8 times as long with operations that are
# split among both, that of 400,000 six tenths.
FEW = 2**17
_LOOPS = {"scan": ("jaxpr",), "while": ("body_jaxpr",)}


def compiler_options(jaxpr: Jaxpr, devices: int = 1) -> dict[str, str | int]:
    """What XLA is told of a program on so many devices; nothing that changes a bit, and nothing to other platforms.

    Where loops repeat small operations, none of them is split: that costs some microseconds in every step, whatever its size, and
    more where other programs run. Products of matrices have threads of their own. Vectors are as wide as the processor has them:
    XLA takes half of AVX-512, and with all of it a step of COBA takes three quarters of the time.
    """
    options: dict[str, str | int] = {"xla_cpu_prefer_vector_width": 512} if _has_wide_vectors() else {}
    sizes = [size for body in _bodies(jaxpr) for size in _sizes(body)]
    if sizes and max(sizes) <= FEW * devices:
        options["xla_disable_hlo_passes"] = "cpu-parallel-task-assigner"
    return options


@functools.cache
def _has_wide_vectors() -> bool:
    with suppress(OSError):
        return "avx512f" in Path("/proc/cpuinfo").read_text()
    return False


def _inside(eqn: Any) -> Iterator[Jaxpr]:
    for value in eqn.params.values():
        for one in value if isinstance(value, tuple | list) else (value,):
            if isinstance(one, ClosedJaxpr | Jaxpr):
                yield one.jaxpr if isinstance(one, ClosedJaxpr) else one


def _bodies(jaxpr: Jaxpr) -> Iterator[Jaxpr]:
    """What loops repeat."""
    for eqn in jaxpr.eqns:
        for name in _LOOPS.get(eqn.primitive.name, ()):
            yield eqn.params[name].jaxpr
        for inner in _inside(eqn):
            yield from _bodies(inner)


def _sizes(jaxpr: Jaxpr) -> Iterator[int]:
    """How many elements operations give that XLA could split."""
    for eqn in jaxpr.eqns:
        inner = list(_inside(eqn))
        for one in inner:
            yield from _sizes(one)
        if not inner and not eqn.primitive.name.startswith(("sparse_", "plastic_", "ffi_call", "dynamic_update_slice")):
            yield from (getattr(var.aval, "size", 0) for var in eqn.outvars)
