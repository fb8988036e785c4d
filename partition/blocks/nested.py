"""How programs within programs, such as loops and branches, act on arrays that are split along one axis.

What is split stays so inside, and what such a program needs whole is gathered there. A sum that a loop puts aside in each step is
added up over the devices after it, for all steps together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import jax
from jax.extend.core import ClosedJaxpr

from dist_sim.partition.blocks.program import AnyKind, Blocks, Kind, Value, bind, fresh, kind_of, rule, wrapped


@rule("jit", "pjit", "closed_call", "core_call", "custom_jvp_call", "custom_vjp_call", "custom_vjp_call_jaxpr", always=True,
      by_place=True, with_parts=True)  # fmt: skip
def call(blocks: Blocks, eqn: Any, values: list[Value]) -> list[Value]:
    params = eqn.params
    program: ClosedJaxpr = params.get("jaxpr") or params.get("call_jaxpr") or params["fun_jaxpr"]
    return blocks.run(program.jaxpr, program.consts, values)


@rule("optimization_barrier", with_parts=True)
def optimization_barrier(blocks: Blocks, eqn: Any, values: list[Value]) -> list[Value]:
    kinds = list(map(kind_of, values))
    return wrapped(bind(eqn, blocks.arrays(values, kinds)), kinds)


@rule("checkpoint", "remat2", "remat", always=True, with_parts=True)
def remat(blocks: Blocks, eqn: Any, values: list[Value]) -> list[Value]:
    if eqn.params["prevent_cse"] and eqn.params["differentiated"]:
        # What is computed again shall not be found to be computed already.
        kinds = list(map(kind_of, values))
        values = wrapped(jax.lax.optimization_barrier(blocks.arrays(values, kinds)), kinds)
    return blocks.run(eqn.params["jaxpr"], (), values)


@rule("scan", always=True)
def scan(blocks: Blocks, eqn: Any, values: list[Value]) -> list[Value]:
    p = eqn.params
    body = p["jaxpr"]
    consts, init, sliced = _of_scan(p, values)
    num_carry = len(init)
    stacked = [None if kind is None or kind.axis == 0 else kind for kind in _split(map(kind_of, sliced))]
    xs = blocks.arrays(sliced, stacked)
    x_kinds = [None if kind is None else Kind(kind.axis - 1, kind.size) for kind in stacked]
    one = wrapped([jax.ShapeDtypeStruct(x.shape[1:], x.dtype) for x in xs], x_kinds)

    def result_kinds(carry_kinds: list[Kind | None]) -> list[AnyKind]:
        carry = wrapped(blocks.arrays(init, carry_kinds), carry_kinds)
        return blocks.kinds(body, [*consts, *carry, *one])

    carry_kinds = _carried(_split(map(kind_of, init)), lambda kinds: _split(result_kinds(kinds)[:num_carry]))
    y_kinds = result_kinds(carry_kinds)[num_carry:]

    def step(carry: tuple[Any, list[jax.Array]], x: list[jax.Array]) -> tuple[tuple[Any, list[jax.Array]], list[jax.Array]]:
        turn, arrays = carry
        with blocks.within(turn):
            found = blocks.run(body.jaxpr, body.consts, [*fresh(consts), *wrapped(arrays, carry_kinds), *wrapped(x, x_kinds)])
            new, ys = blocks.arrays(found[:num_carry], carry_kinds), blocks.arrays(found[num_carry:], y_kinds)
            return (blocks.turn, new), ys

    first = blocks.arrays(init, carry_kinds)
    (blocks.turn, last), ys = jax.lax.scan(
        step, (blocks.turn, first), xs, length=p["length"], reverse=p["reverse"], unroll=p["unroll"]
    )
    return [
        *wrapped(last, carry_kinds),
        *wrapped(ys, [Kind(kind.axis + 1, kind.size) if isinstance(kind, Kind) else kind for kind in y_kinds]),
    ]


def _of_scan(params: Any, values: list[Value]) -> tuple[list[Value], list[Value], list[Value]]:
    """What is the same in all steps of a scan, what it carries, and what it takes a slice of in each."""
    if "ft_in" in params:  # since JAX 0.12
        consts, init, sliced = map(list, params["ft_in"].update(values).unpack())
        return consts, init, sliced
    n, m = params["num_consts"], params["num_consts"] + params["num_carry"]
    return values[:n], values[n:m], values[m:]


@rule("while", always=True)
def while_(blocks: Blocks, eqn: Any, values: list[Value]) -> list[Value]:
    p = eqn.params
    test, body, n, m = p["cond_jaxpr"], p["body_jaxpr"], p["cond_nconsts"], p["body_nconsts"]
    test_consts, consts, init = values[:n], values[n : n + m], values[n + m :]
    kinds = _carried(
        _split(map(kind_of, init)),
        lambda kinds: _split(blocks.kinds(body, [*consts, *wrapped(blocks.arrays(init, kinds), kinds)])),
    )

    def goes_on(arrays: list[jax.Array]) -> jax.Array:
        (found,) = blocks.run(test.jaxpr, test.consts, [*fresh(test_consts), *wrapped(arrays, kinds)])
        return blocks.whole(found)

    def step(arrays: list[jax.Array]) -> list[jax.Array]:
        return blocks.arrays(blocks.run(body.jaxpr, body.consts, [*fresh(consts), *wrapped(arrays, kinds)]), kinds)

    first = blocks.arrays(init, kinds)
    if blocks.turn is None:
        return wrapped(jax.lax.while_loop(goes_on, step, first), kinds)

    # A test may gather, and cannot return its turn: it is made at the end of the step before.
    def step_and_test(carry: tuple[Any, Any, list[jax.Array]]) -> tuple[Any, Any, list[jax.Array]]:
        _, turn, arrays = carry
        with blocks.within(turn):
            new = step(arrays)
            again = goes_on(new)
            return again, blocks.turn, new

    again = goes_on(first)
    _, blocks.turn, last = jax.lax.while_loop(lambda carry: carry[0], step_and_test, (again, blocks.turn, first))
    return wrapped(last, kinds)


@rule("cond", always=True)
def cond(blocks: Blocks, eqn: Any, values: list[Value]) -> list[Value]:
    index, *operands = values
    branches = eqn.params["branches"]
    found = [_split(blocks.kinds(branch, operands)) for branch in branches]
    kinds = [next((kind for kind in of_result if kind is not None), None) for of_result in zip(*found, strict=True)]

    chosen = blocks.whole(index)

    def branch(program: ClosedJaxpr) -> Any:
        def taken() -> tuple[list[jax.Array], Any]:
            with blocks.within(blocks.turn):
                arrays = blocks.arrays(blocks.run(program.jaxpr, program.consts, fresh(operands)), kinds)
                return arrays, blocks.turn

        return taken

    arrays, blocks.turn = jax.lax.switch(chosen, list(map(branch, branches)))
    return wrapped(arrays, kinds)


def _split(kinds: Iterable[AnyKind]) -> list[Kind | None]:
    """As a loop carries values, or branches agree on them: sums are added up."""
    return [kind if isinstance(kind, Kind) else None for kind in kinds]


def _carried(kinds: list[Kind | None], after: Callable[[list[Kind | None]], list[Kind | None]]) -> list[Kind | None]:
    """How the carry of a loop is split: what is split before a step or after it, is split in all of them."""
    while True:
        joined = [before or now for before, now in zip(kinds, after(kinds), strict=True)]
        if joined == kinds:
            return kinds
        kinds = joined
