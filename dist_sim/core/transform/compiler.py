"""How XLA compiles a program for a CPU: whether it splits operations among threads, and how wide its vectors are."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import ClosedJaxpr, Jaxpr
from jax.sharding import Mesh

# Elements of one operation. On 2 cores (EPYC) the COBA network of 40,000 neurons takes 1.8 times as long with operations that are
# split among both, that of 400,000 six tenths.
FEW = 2**17
_SUMS = ("reduce_sum", "reduce_prod", "cumsum", "cumprod", "reduce_window_sum")
_IN_ORDER = (
    "dot_general", "conv_general_dilated", "cumlogsumexp", "reduce", "reduce_window", "select_and_scatter_add",
)  # fmt: skip
_LOOPS = {"scan": ("jaxpr",), "while": ("body_jaxpr",)}


def compiler_options(jaxpr: Jaxpr, mesh: Mesh | None) -> dict[str, str | int]:
    """What XLA is told of a program over a mesh, or on the default device; nothing that changes a bit, and nothing of other
    platforms than CPUs.

    Where loops repeat small operations, none of them is split: that costs some microseconds in every step, whatever its size, and
    more where other programs run. Products of matrices have threads of their own. Where nothing is summed up in floating point,
    vectors are as wide as the processor has them: XLA takes half of AVX-512, and with all of it a step of COBA takes three
    quarters of the time. Sums would be others with wider vectors, and those of two processors would differ.
    """
    if (jax.default_backend() if mesh is None else mesh.devices.flat[0].platform) != "cpu":
        return {}
    options: dict[str, str | int] = {}
    if _has_wide_vectors() and not any(_has_order(eqn, within) for within in _all(jaxpr) for eqn in within.eqns):
        options["xla_cpu_prefer_vector_width"] = 512
    sizes = [size for body in _bodies(jaxpr) for size in _sizes(body)]
    if sizes and max(sizes) <= FEW * (1 if mesh is None else mesh.size):
        options["xla_disable_hlo_passes"] = "cpu-parallel-task-assigner"
    return options


@functools.cache
def _has_wide_vectors() -> bool:
    with suppress(OSError):
        return "avx512f" in Path("/proc/cpuinfo").read_text()
    return False


def _has_order(eqn: Any, within: Jaxpr) -> bool:
    """Whether the result depends on the order in which numbers are summed up or multiplied. That of whole numbers does not."""
    name = eqn.primitive.name
    if name in _SUMS:
        return jnp.issubdtype(jnp.result_type(eqn.invars[0].aval), jnp.inexact) and not _is_whole(eqn.invars[0], within)
    return name in _IN_ORDER


def _is_whole(var: Any, within: Jaxpr) -> bool:
    """Whether floats are known to be small whole numbers: spikes."""
    made = next((eqn for eqn in within.eqns if any(out is var for out in eqn.outvars)), None)
    if made is None:
        return False
    if made.primitive.name == "convert_element_type":
        return jnp.result_type(made.invars[0].aval) == jnp.bool_
    if made.primitive.name in ("reshape", "slice", "squeeze", "name", "copy", "stop_gradient"):
        return _is_whole(made.invars[0], within)
    # Of a branch: whichever is taken.
    place, inside = next(n for n, out in enumerate(made.outvars) if out is var), list(_inside(made))
    return bool(inside) and all(len(b.outvars) == len(made.outvars) and _is_whole(b.outvars[place], b) for b in inside)


def _all(jaxpr: Jaxpr) -> Iterator[Jaxpr]:
    yield jaxpr
    for eqn in jaxpr.eqns:
        for inner in _inside(eqn):
            yield from _all(inner)


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
