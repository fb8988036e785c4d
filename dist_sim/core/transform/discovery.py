"""Finding the States a function touches, and running it on other values of them: what all transforms share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax

from dist_sim.core import environ
from dist_sim.core.slot import Slot
from dist_sim.core.state import State, commit
from dist_sim.core.trace import StateTrace, check_read, current_frame
from dist_sim.errors import TraceContextError


class Touched(NamedTuple):
    """The States of a function, in the order in which it first touches them."""

    read: tuple[State, ...]
    written: tuple[State, ...]
    environ: dict[str, Any]  # entries read that were set outside of the function; MISSING where only a default was found

    @property
    def read_only(self) -> tuple[State, ...]:
        written = set(self.written)
        return tuple(state for state in self.read if state not in written)


class Outcome(NamedTuple):
    """What one run of a function gave: its result, and the written States' new values and slots."""

    out: Any
    values: list[Any]
    slots: list[Slot]


def discovering() -> bool:
    """Only shapes and touched States are wanted: a transform runs its function in line, once, in the frame that is open.

    That keeps the number of Python passes proportional to the depth of nesting, not exponential in it.
    """
    frame = current_frame()
    return frame is not None and frame.discovering


def discover(fun: Callable[..., Any], *args: Any) -> tuple[Touched, Any]:
    """The States that `fun(*args)` touches, and the shapes it returns, by abstract evaluation. Nothing is computed or kept.

    Args:
        args: PyTrees of arrays or `jax.ShapeDtypeStruct`.
    """
    frames = []

    def probe(*args: Any) -> Any:
        with StateTrace(discovering=True) as frame:
            out = refuse_states(fun(*args))
        frames.append(frame)
        return out

    out = jax.eval_shape(probe, *args)
    frame = frames[-1]
    return Touched(tuple(frame.reads), tuple(frame.writes), frame.environ), out


def run(touched: Touched, bound: tuple[State, ...], values: Any, fun: Callable[..., Any], *args: Any) -> Outcome:
    """Runs `fun(*args)` with `values` in the `bound` States, under the JAX trace that is current.

    Raises:
        TraceContextError: the function touched other States than when it was discovered.
    """
    with StateTrace() as frame:
        for state, value in zip(bound, values, strict=True):
            frame.bind(state, value)
        out = refuse_states(fun(*args))
        known = {*touched.read, *touched.written}
        surprise = [s for s in frame.reads if s not in known] + [s for s in frame.writes if s not in touched.written]
        if surprise:
            raise TraceContextError(
                f"{surprise[0].label} was touched in the second pass of a traced function and not in the first. "
                "Which States a function reads and writes must not depend on what earlier calls left in Python objects."
            )
        return Outcome(out, [state._value for state in touched.written], [state._slot for state in touched.written])


def gather(touched: Touched, states: tuple[State, ...]) -> list[Any]:
    """The values of States as inputs of a transform, noted as read where the function reads them."""
    read = set(touched.read)
    for state in states:
        if state in read:
            check_read(state)
    return [state._value for state in states]


def propagate_environ(touched: Touched) -> None:
    """Notes the environment entries of an inner function as read one frame further out."""
    for key in touched.environ:
        environ.get(key, None)


def keep(states: tuple[State, ...], slots: list[Slot], values: list[Any]) -> None:
    """Writes back what a transform computed."""
    for state, slot, value in zip(states, slots, values, strict=True):
        commit(state, slot, value)


def refuse_states(out: Any) -> Any:
    for leaf in jax.tree.leaves(out):
        if isinstance(leaf, State):
            raise TypeError(
                f"{leaf.label} is returned from a traced function. Return its .value; the State itself is updated anyway."
            )
    return out
