"""One compiled version of a function: for one set of States with their slots, one shape of arguments, one environment."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from sys import getrefcount
from typing import Any

import brainunit as u
import jax
import jax.export
import jax.numpy as jnp
from jax.core import eval_jaxpr
from jax.extend.core import Jaxpr

from dist_sim.core import environ
from dist_sim.core.hooks import hooks_version
from dist_sim.core.recent import Recent
from dist_sim.core.state import State
from dist_sim.core.trace import check_read, enter, is_eager
from dist_sim.core.transform.checks import running
from dist_sim.core.transform.staging import Leaves, Staged, keep, now
from dist_sim.core.transform.text import text_of

COMPILED: Recent[Any] = Recent()
"""Compiled functions by what they do: another function object, with other States, that does the same is compiled no more."""


class Program:
    """A staged function, compiled.

    Args:
        fixed: positions of the arguments that are Modules, and no inputs.
        donate: the program may reuse the memory of the States that it writes.
        name: what profiles and compiled programs show.
        gone: positions among the arguments it is called with whose memory it may reuse.
    """

    def __init__(
        self, staged: Staged, fixed: frozenset[int], donate: bool, name: str, gone: frozenset[int] = frozenset()
    ) -> None:
        self.staged = staged
        self.fixed = fixed
        self._gone = gone
        written = staged.touched.written
        self._states = tuple(dict.fromkeys((*written, *staged.touched.read)))
        self._slots = tuple(state._slot for state in self._states)
        self._versions = tuple((state._moved, hooks_version(state)) for state in self._states)
        self._inputs = {key: _signature(value) for key, value in staged.environ.items() if key in staged.sources}
        self._constants = tuple((key, value) for key, value in staged.environ.items() if key not in self._inputs)
        self._order = self._reused_first(dict(zip(written, staged.slots, strict=True)) if donate and not staged.checks else {})

        run, shardings, where = staged.pure()
        donated = ((0,) if self._reused else ()) + ((3,) if gone else ())
        options = {"donate_argnums": donated, "out_shardings": shardings, "compiler_options": staged.compiler_options}
        order, positions, consts = tuple(self._order), tuple(staged.positions), staged.consts
        if consts:
            # A function of its own: it holds arrays, which need not be inputs.
            self.donating = jax.jit(_pure(run, order, positions, consts, gone, name), **options)
        else:
            key = name, where, order, positions, gone, donated, text_of(staged.jaxpr)
            made = COMPILED.get(key) or jax.jit(_pure(run, order, positions, [], gone, name), **options)
            self.donating = COMPILED.keep(key, made)
        self._inline = jax.jit(_pure(partial(_evaluated, staged.jaxpr), order, positions, consts, gone, name))

    def fits(self) -> bool:
        """The States and the environment are still those this program was made for."""
        if not is_eager():
            for state in self._states:
                enter(state)
        for state, slot, (moved, hooks) in zip(self._states, self._slots, self._versions, strict=True):
            if (state._slot is not slot and state._slot != slot) or state._moved != moved or hooks_version(state) != hooks:
                return False
        return all(_same(environ.peek(key), value) for key, value in self._constants) and all(
            environ.peek(key) is not environ.MISSING and _signature(environ.get(key)) == signature
            for key, signature in self._inputs.items()
        )

    def on_states(self, states: Mapping[State, State]) -> Program:
        """The same compiled program on other States, which are the same slots."""
        other = copy.copy(self)
        other.staged = self.staged.on_states(states)
        other._states = tuple(states[state] for state in self._states)
        other._slots = tuple(state._slot for state in other._states)
        other._versions = tuple((state._moved, hooks_version(state)) for state in other._states)
        other._reused = [states[state] for state in self._reused]
        other._others = [states[source] if isinstance(source, State) else source for source in self._others]
        return other

    def inputs(self, leaves: list[Any]) -> tuple[list[Leaves], list[Leaves], list[Any], list[Any]]:
        """What :attr:`donating` takes, as of now."""
        for state in self.staged.touched.read:
            if state._birth is not None:
                check_read(state)
        return [_own_leaves(state) for state in self._reused], [now(source) for source in self._others], *self._parted(leaves)

    def exported(self, platforms: Sequence[str], leaves: list[Any], kernels: Sequence[str] = ()) -> jax.export.Exported:
        """The program for other platforms than the one at hand; it is lowered, and neither compiled nor run.

        Args:
            kernels: targets of compiled kernels that it may call; JAX refuses others.
        """
        allowed = list(map(jax.export.DisabledSafetyCheck.custom_call, kernels))
        return jax.export.export(self.donating, platforms=list(platforms), disabled_checks=allowed)(*self.inputs(leaves))

    def __call__(self, leaves: list[Any]) -> Any:
        with running(self.staged):
            if is_eager():
                flat = self.donating(*self.inputs(leaves))
            else:
                for key, _ in self._constants:
                    environ.get(key, None)  # a function around this one depends on it too
                # The values belong to the function around this one: nothing is given away.
                inputs = self.staged.gather()
                ordered = [inputs[n] for n in self._order]
                flat = self._inline(ordered[: len(self._reused)], ordered[len(self._reused) :], *self._parted(leaves))
            out, new = self.staged.results(flat)
        keep(self.staged.touched.written, self.staged.slots, new)
        return out

    def _parted(self, leaves: list[Any]) -> tuple[list[Any], list[Any]]:
        """The arguments that stay, and those whose memory is given away."""
        return [x for n, x in enumerate(leaves) if n not in self._gone], [leaves[n] for n in sorted(self._gone)]

    def _reused_first(self, after: dict[State, Any]) -> list[int]:
        """The order of the inputs in which States that end as they began, and can give their memory, come first."""
        sources = self.staged.sources
        reused = [n for n, source in enumerate(sources) if isinstance(source, State) and after.get(source) == source._slot]
        self._reused = [source for n in reused if isinstance(source := sources[n], State)]
        rest = [n for n in range(len(sources)) if n not in set(reused)]
        self._others = [sources[n] for n in rest]
        return reused + rest


def _pure(
    run: Callable[..., list[Any]], order: tuple[int, ...], positions: tuple[tuple[int, int], ...], consts: list[Any],
    gone: frozenset[int], name: str,
) -> Callable[..., list[Any]]:  # fmt: skip
    """A program as a function of the sources, of which those come first whose memory it may reuse, and of the arguments that
    stay and that are given away. It knows no State.
    """

    def pure(reused: list[Leaves], others: list[Leaves], leaves: list[Any], given: list[Any]) -> list[Any]:
        inputs = dict(zip(order, (*reused, *others), strict=True))
        stay, go = iter(leaves), iter(given)
        merged = [next(go) if n in gone else next(stay) for n in range(len(leaves) + len(given))]
        return run(consts, [inputs[source][leaf] for source, leaf in positions], merged)

    pure.__name__ = name
    return pure


def _evaluated(jaxpr: Jaxpr, consts: list[Any], taken: list[Any], leaves: list[Any]) -> list[Any]:
    return eval_jaxpr(jaxpr, consts, *taken, *leaves)


def _own_leaves(state: State) -> Leaves:
    """The leaves of a State's value, free to be given away: copied where somebody else holds them too.

    Counts references, so that a value which somebody took from the State stays valid after its memory was reused.
    """
    value = state._value
    leaves = state._slot.leaves(value)
    # Held by the State, by `value` and as the argument of getrefcount; a bare array also by `leaves`.
    if getrefcount(value) > (4 if leaves and leaves[0] is value else 3) or not _holds_alone(value):
        return [jnp.copy(leaf) for leaf in leaves]
    return leaves


def _holds_alone(value: Any) -> bool:
    """No one else holds what is inside this value."""
    if isinstance(value, jax.Array):
        return True
    if type(value) is u.Quantity:
        inside = [value.mantissa]
    elif type(value) in (list, tuple):
        inside = list(value)
    elif type(value) is dict:
        inside = list(value.values())
    else:
        return False
    for n in range(len(inside)):
        # Held by its container, by `inside` and as the argument; a leaf also by the list of leaves.
        if getrefcount(inside[n]) > (4 if isinstance(inside[n], jax.Array) else 3):
            return False
    return all(map(_holds_alone, inside))


def _signature(value: Any) -> Any:
    """What a program is specialised to in an environment entry that is its input."""
    leaves, treedef = jax.tree.flatten(value)
    return treedef, [jax.typeof(leaf) for leaf in leaves]


def _same(now: Any, then: Any) -> bool:
    if now is then:
        return True
    try:
        return type(now) is type(then) and bool(now == then)
    except (TypeError, ValueError):
        return False
