"""Loops whose gradient remembers few of their carries: checkpointed_for_loop, checkpointed_scan and bounded_while_loop.

The gradient of a loop needs the carry of every step. Here the steps are cut into up to `base` chunks, these into up to `base`
smaller ones and so on; of each chunk only the first carry is kept, and the chunk is run again when the gradient comes to it. For
n steps that are base * log_base(n) carries instead of n, and each step runs log_base(n) times at most. (Griewank & Walther 2000,
doi:10.1145/347837.347846, give the best possible cutting; this is the regular one.)
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from dist_sim.core.trace import is_eager
from dist_sim.core.transform.eager import run_compiled
from dist_sim.core.transform.loops import loop_length, slice_of, stage_step, stage_while
from dist_sim.core.transform.progress import Chunks, Pbar, followed
from dist_sim.errors import ParameterError

Step = Callable[[Any, Any], tuple[Any, Any]]


def checkpointed_for_loop(f: Callable[..., Any], *xs: Any, length: int | None = None, base: int = 16, pbar: Pbar = None) -> Any:
    """As :func:`for_loop`, in values and gradients; the gradient keeps about base * log_base(n) carries for n steps.

    Args:
        base: 2 or more. A larger one keeps more and runs less again.

    Raises: as :func:`for_loop`.
    """
    return checkpointed_scan(lambda carry, x: (carry, f(*x)), (), xs, length, base, pbar)[1]


def checkpointed_scan(
    f: Callable[[Any, Any], tuple[Any, Any]],
    init: Any,
    xs: Any = None,
    length: int | None = None,
    base: int = 16,
    pbar: Pbar = None,
) -> tuple[Any, Any]:
    """As :func:`scan`; see :func:`checkpointed_for_loop`."""
    length = loop_length(xs, length)
    cuts = _cuts(length, _checked(base))
    if is_eager():
        return run_compiled(lambda init, xs: checkpointed_scan(f, init, xs, length, base, pbar), init, xs)
    step, states, init = stage_step(f, init, slice_of(xs))

    def loop(step: Step, carry: Any, begin: Callable[[Any], None] | None) -> tuple[Any, Any]:
        return _in_pieces(step, carry, xs, cuts, begin)

    chunks = Chunks(told=length - 1 if cuts[-1] == [1] and length > 1 else length, again=len(cuts[0]) > 1)
    with states.running():
        (values, user), ys = followed(pbar, length, step, (states.values, init), loop, chunks, watch=states.watched)
    states.keep(values)
    return user, ys


def bounded_while_loop(
    cond_fun: Callable[[Any], Any], body_fun: Callable[[Any], Any], init_val: Any, *, max_steps: int, base: int = 16
) -> Any:
    """As :func:`while_loop`, but of `max_steps` steps at most, and with a gradient.

    Chunks of steps after the last one are passed over, so that it runs about as long as it has steps to do.

    Args:
        base: see :func:`checkpointed_for_loop`.

    Raises:
        ParameterError: max_steps that is no whole number of 0 or more.
        TraceContextError, StateValueError: as :func:`while_loop`.
    """
    if isinstance(max_steps, bool) or not isinstance(max_steps, int) or max_steps < 0:
        raise ParameterError(f"bounded_while_loop(max_steps={max_steps!r}): a whole number of 0 or more is needed.")
    cuts = _cuts(max_steps, _checked(base))
    if is_eager():
        return run_compiled(lambda init: bounded_while_loop(cond_fun, body_fun, init, max_steps=max_steps, base=base), init_val)
    test, body, states, init = stage_while(cond_fun, body_fun, init_val)

    def while_true(step: Step) -> Step:
        """The step, or nothing where the condition does not hold any more."""
        return lambda carry, x: (jax.lax.cond(test(carry), lambda carry: step(carry, x)[0], lambda carry: carry, carry), None)

    with states.running():
        carry, _ = _in_pieces(lambda carry, _: (body(carry), None), (states.values, init), None, cuts, each=while_true)
    states.keep(carry[0])
    return carry[1]


def _in_pieces(
    step: Step,
    carry: Any,
    xs: Any,
    cuts: list[list[int]],
    begin: Callable[[Any], None] | None = None,
    each: Callable[[Step], Step] = lambda step: step,
) -> tuple[Any, Any]:
    """`jax.lax.scan(step, carry, xs)`, cut.

    Args:
        cuts: one piece after the other, each a scan of scans of so many steps, outermost first.
        begin: is given the carry in each of the outermost steps.
        each: is put around every step and every chunk.
    """
    ys, start = [], 0
    for factors in cuts:
        size = math.prod(factors)
        piece = jax.tree.map(lambda x, start=start, size=size: x[start : start + size], xs)
        carry, y = _nested(step, factors, begin, each)(carry, piece)
        ys.append(y)
        start += size
    if len(ys) == 1:
        return carry, ys[0]
    return carry, jax.tree.map(lambda *y: jnp.concatenate(y), *ys)


def _nested(step: Step, factors: list[int], begin: Callable[[Any], None] | None, each: Callable[[Step], Step]) -> Step:
    """The product of the factors as one step: over carry and stacked xs, to carry and stacked ys."""
    outer, *inner = factors
    size = math.prod(inner)
    chunk = each(jax.checkpoint(_nested(step, inner, None, each), prevent_cse=False) if inner else step)

    def begun(carry: Any, x: Any) -> tuple[Any, Any]:
        if begin is not None:
            begin(carry)
        return chunk(carry, x)

    def run(carry: Any, xs: Any) -> tuple[Any, Any]:
        if not inner:
            return jax.lax.scan(begun, carry, xs, length=outer)
        parts = jax.tree.map(lambda x: x.reshape(outer, size, *x.shape[1:]), xs)
        carry, ys = jax.lax.scan(begun, carry, parts, length=outer)
        return carry, jax.tree.map(lambda y: y.reshape(outer * size, *y.shape[2:]), ys)

    return run


def _cuts(length: int, base: int) -> list[list[int]]:
    """`length` as a sum of products of factors up to `base`: first the largest product that fits, then of what is left."""
    cuts = []
    while length > base:
        levels = next(k for k in range(2, length + 2) if base**k >= length)
        factors = _largest_product(length, base, levels)
        cuts.append(sorted(factors, reverse=True))
        length -= math.prod(factors)
    return [*cuts, [length]] if length or not cuts else cuts


@functools.lru_cache(maxsize=4096)
def _largest_product(limit: int, base: int, levels: int) -> tuple[int, ...]:
    """At most `levels` factors from 2 to `base` whose product comes closest to `limit` from below."""
    best = (min(limit, base),)
    if levels > 1:
        for factor in range(base, 1, -1):
            if math.prod(best) == limit:
                break
            found = (factor, *_largest_product(limit // factor, base, levels - 1)) if limit // factor > 1 else (factor,)
            if math.prod(best) < math.prod(found) <= limit:
                best = found
    return best


def _checked(base: int) -> int:
    if isinstance(base, bool) or not isinstance(base, int) or base < 2:
        raise ParameterError(f"base={base!r}: a whole number of 2 or more is needed.")
    return base
