"""remat: what a function computes inside is computed again for the gradient, instead of kept."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax

from dist_sim.core.transform.checks import running
from dist_sim.core.transform.staging import Staged, keep


def remat(
    fun: Callable[..., Any] | None = None,
    *,
    prevent_cse: bool = True,
    policy: Callable[..., bool] | None = None,
    static_argnums: int | Sequence[int] = (),
) -> Any:
    """A function that returns what `fun` does, and keeps less for its gradient: `jax.checkpoint` with States.

    The States that `fun` reads and writes are inputs and outputs of what is computed again, so that it starts from the values
    they had.

    Args:
        prevent_cse: keep the compiler from finding that the second computation equals the first; not needed in a loop.
        policy: what to keep nevertheless, one of `jax.checkpoint_policies`.
        static_argnums: arguments that are Python values for the function.
    """
    if fun is None:
        return functools.partial(remat, prevent_cse=prevent_cse, policy=policy, static_argnums=static_argnums)
    static = {static_argnums} if isinstance(static_argnums, int) else set(static_argnums)

    @functools.wraps(fun, updated=())
    def rematerialised(*args: Any, **kwargs: Any) -> Any:
        fixed = {n % len(args) for n in static if -len(args) <= n < len(args)}
        dynamic = [None if n in fixed else arg for n, arg in enumerate(args)]

        def call(dynamic: list[Any], kwargs: dict[str, Any]) -> Any:
            return fun(*[args[n] if n in fixed else arg for n, arg in enumerate(dynamic)], **kwargs)

        staged = Staged(call, dynamic, kwargs)
        again = jax.checkpoint(staged, prevent_cse=prevent_cse, policy=policy)
        with running(staged):
            out, values = again(staged.gather(), dynamic, kwargs)
        keep(staged.touched.written, staged.slots, values)
        return out

    return rematerialised


checkpoint = remat
