"""Branches that may write States: cond and switch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from dist_sim.core.trace import is_eager, runs_as_python
from dist_sim.core.transform.checks import jit_error_if, running
from dist_sim.core.transform.eager import run_compiled
from dist_sim.core.transform.staging import Leaves, Staged, keep, value_of
from dist_sim.errors import ParameterError


def cond(pred: Any, true_fun: Callable[..., Any], false_fun: Callable[..., Any], *operands: Any) -> Any:
    """`true_fun(*operands)` where `pred` holds, else `false_fun(*operands)`.

    A State that one branch writes keeps its value in the other.

    Raises:
        StateValueError: a branch that makes a State another slot.
    """
    if runs_as_python(pred, operands):
        return (true_fun if pred else false_fun)(*operands)
    if is_eager():
        return run_compiled(lambda pred, *operands: cond(pred, true_fun, false_fun, *operands), pred, *operands)
    return _choose(lambda *branches: jax.lax.cond(pred, *branches), (true_fun, false_fun), operands, "cond")


def switch(index: Any, branches: Sequence[Callable[..., Any]], *operands: Any) -> Any:
    """`branches[index](*operands)`, the index clamped to the branches there are. See :func:`cond`.

    Raises:
        ParameterError: no branches.
    """
    if not branches:
        raise ParameterError("switch: needs at least one branch.")
    if runs_as_python(index, operands):
        return branches[max(0, min(int(index), len(branches) - 1))](*operands)
    if is_eager():
        return run_compiled(lambda index, *operands: switch(index, branches, *operands), index, *operands)
    return _choose(lambda *chosen: jax.lax.switch(index, chosen[:-2], *chosen[-2:]), tuple(branches), operands, "switch")


def ifelse(conditions: Sequence[Any], branches: Sequence[Callable[..., Any]], *operands: Any, check_cond: bool = True) -> Any:
    """The branch whose condition holds, of `(*operands)`: if, elif and else in one. See :func:`cond`.

    Args:
        conditions: one bool for each branch; the last one can be left out, for what else there is.
        check_cond: exactly one condition must hold. Otherwise it is the first that holds which counts, or else the last branch.

    Raises:
        ParameterError: another number of conditions.
        CompiledError: not exactly one holds.
    """
    if not branches or len(branches) - len(conditions) not in (0, 1):
        raise ParameterError(f"ifelse: {len(conditions)} conditions for {len(branches)} branches; each branch needs one.")
    holds = jnp.array([*conditions, *[True] * (len(branches) - len(conditions))], bool)
    if check_cond and len(conditions) == len(branches):
        jit_error_if(holds.sum() != 1, "ifelse: exactly one condition must hold; these do: {holds}.", holds=holds)
    return switch(jnp.where(holds.any(), holds.argmax(), len(branches) - 1), branches, *operands)


def _choose(
    lax_choice: Callable[..., Any], branches: tuple[Callable[..., Any], ...], operands: tuple[Any, ...], where: str
) -> Any:
    programs = [Staged(branch, *operands) for branch in branches]
    written = tuple(dict.fromkeys(state for program in programs for state in program.touched.written))
    before = [value_of(state) for state in written]

    def pure(program: Staged) -> Callable[..., Any]:
        program.refuse_reshaping(f"a branch of {where}")
        inputs = program.gather()

        def chosen(values: list[Leaves], operands: tuple[Any, ...]) -> Any:
            out, new = program(program.replaced(inputs, written, values), *operands)
            after = dict(zip(program.touched.written, new, strict=True))
            return [after.get(state, value) for state, value in zip(written, values, strict=True)], out

        return chosen

    with running(*programs):
        values, out = lax_choice(*map(pure, programs), before, operands)
    keep(written, [state._slot for state in written], values)
    return out
