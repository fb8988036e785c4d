"""Branches that may write States: cond and switch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax

from dist_sim.core.transform.discovery import Touched, discover, discovering, gather, keep, propagate_environ, run
from dist_sim.errors import ParameterError, StateValueError


def cond(pred: Any, true_fun: Callable[..., Any], false_fun: Callable[..., Any], *operands: Any) -> Any:
    """`true_fun(*operands)` where `pred` holds, else `false_fun(*operands)`.

    A State that one branch writes keeps its value in the other.

    Raises:
        StateValueError: a branch that makes a State another slot.
    """
    return _choose(lambda *branches: jax.lax.cond(pred, *branches), (true_fun, false_fun), operands, "cond")


def switch(index: Any, branches: Sequence[Callable[..., Any]], *operands: Any) -> Any:
    """`branches[index](*operands)`, the index clamped to the branches there are. See :func:`cond`.

    Raises:
        ParameterError: no branches.
    """
    if not branches:
        raise ParameterError("switch: needs at least one branch.")
    return _choose(lambda *chosen: jax.lax.switch(index, chosen[:-2], *chosen[-2:]), tuple(branches), operands, "switch")


def _choose(
    lax_choice: Callable[..., Any], branches: tuple[Callable[..., Any], ...], operands: tuple[Any, ...], where: str
) -> Any:
    if discovering():
        return [branch(*operands) for branch in branches][0]
    found = [discover(branch, *operands)[0] for branch in branches]
    written = tuple(dict.fromkeys(state for each in found for state in each.written))
    # A State that some branch does not write comes out as it went in, which reads it.
    kept = tuple(s for s in written if any(s not in each.written for each in found))
    read = tuple(dict.fromkeys([state for each in found for state in each.read] + list(kept)))
    touched = Touched(read, written, {key: value for each in found for key, value in each.environ.items()})

    def pure(branch: Callable[..., Any]) -> Callable[..., Any]:
        def chosen(values: list[Any], operands: tuple[Any, ...]) -> Any:
            outcome = run(touched, written, values, branch, *operands)
            for state, slot in zip(written, outcome.slots, strict=True):
                if slot != state._slot:
                    raise StateValueError(f"{where}: a branch turns {state.label} from {state._slot} into {slot}.")
            return outcome.values, outcome.out

        return chosen

    gather(touched, read)
    propagate_environ(touched)
    values, out = lax_choice(*map(pure, branches), gather(touched, written), operands)
    keep(written, [s._slot for s in written], values)
    return out
