"""StatefulFunction: a function as a program, to be looked at and called with values of its States."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, final

import jax

from dist_sim.core.state import State
from dist_sim.core.transform.inspect import looking
from dist_sim.core.transform.staging import keep
from dist_sim.errors import ParameterError


@final
class StatefulFunction:
    """What a function of arrays, which reads and writes States, does: as a program, for arguments as given.

    Every method takes arguments as the function does, arrays or `jax.ShapeDtypeStruct`; nothing is computed but by `jaxpr_call`
    and `jaxpr_call_auto`.

    Args:
        fun: the function.
        static_argnums, static_argnames: arguments that are Python values for it.
        name: of the program.
    """

    def __init__(
        self,
        fun: Callable[..., Any],
        static_argnums: int | Sequence[int] = (),
        static_argnames: str | Sequence[str] = (),
        name: str | None = None,
    ) -> None:
        self.fun, self.name = fun, name or getattr(fun, "__name__", type(fun).__name__)
        self._look = looking(fun, static_argnums, static_argnames)

    def make_jaxpr(self, *args: Any, **kwargs: Any) -> StatefulFunction:
        """Looks at the function for these arguments: raises what it would raise. Returns this."""
        self._look(*args, **kwargs)
        return self

    def get_jaxpr(self, *args: Any, **kwargs: Any) -> Any:
        """The program: of the values of the States that it reads, and the arguments; see :func:`make_jaxpr`."""
        return self._look(*args, **kwargs).jaxpr

    def get_states(self, *args: Any, **kwargs: Any) -> tuple[State, ...]:
        """The States that it reads, then the others that it writes."""
        return self._look(*args, **kwargs).states

    def get_read_states(self, *args: Any, **kwargs: Any) -> tuple[State, ...]:
        """Those that it reads only."""
        return self._look(*args, **kwargs).staged.touched.read_only

    def get_write_states(self, *args: Any, **kwargs: Any) -> tuple[State, ...]:
        """Those that it writes."""
        return self._look(*args, **kwargs).staged.touched.written

    def get_out_shapes(self, *args: Any, **kwargs: Any) -> Any:
        """What it returns, as `jax.ShapeDtypeStruct` in its structure."""
        return self._look(*args, **kwargs).staged.out

    def get_out_treedef(self, *args: Any, **kwargs: Any) -> Any:
        """The structure of what it returns."""
        return jax.tree.structure(self.get_out_shapes(*args, **kwargs))

    def jaxpr_call(self, state_vals: Sequence[Any], *args: Any, **kwargs: Any) -> tuple[tuple[Any, ...], Any]:
        """Runs it with values for its States instead of those that they have.

        Args:
            state_vals: in the order of :meth:`get_states`.

        Returns:
            The values of these States after it, and what it returns. The States keep theirs.

        Raises:
            ParameterError: another number of values.
        """
        found = self._look(*args, **kwargs)
        if len(state_vals) != len(found.states):
            raise ParameterError(f"{self.name}: {len(state_vals)} values for {len(found.states)} States: {found.states}.")
        values = dict(zip(found.states, state_vals, strict=True))
        leaves = [state._slot.leaves(state._slot.fit(values[state], state)) for state in found.states]
        inputs = found.staged.replaced(found.staged.gather(), found.states, leaves)
        out, new = found.staged(inputs, *found.arguments)
        written = zip(found.staged.touched.written, found.staged.slots, new, strict=True)
        values |= {state: slot.value(leaves) for state, slot, leaves in written}
        return tuple(values[state] for state in found.states), out

    def jaxpr_call_auto(self, *args: Any, **kwargs: Any) -> Any:
        """Runs it on the present values of its States, which it writes. Returns what it returns."""
        found = self._look(*args, **kwargs)
        out, new = found.staged(found.staged.gather(), *found.arguments)
        keep(found.staged.touched.written, found.staged.slots, new)
        return out
