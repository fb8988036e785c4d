"""Which States a function touches, and whether it may touch them here.

A *frame* (:class:`StateTrace`) is open while one of our transforms runs a user's function under a JAX trace. Reads and writes
are noted in the innermost frame only; when the transform is done it reads and writes the same States itself, one frame
further out, so every touch reaches each enclosing transform exactly once.

Order is that of the first touch: it depends on the program alone, so all processes of a run see the same order.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import jax

# JAX offers no public way to ask which trace is current (jax.extend.core hands out an opaque object without its parents).
from jax._src import core as jax_core
from jax._src.interpreters.partial_eval import DynamicJaxprTrace
from jax.core import Tracer

from dist_sim.errors import TraceContextError

if TYPE_CHECKING:
    from dist_sim.core.state import State

EAGER = jax_core.eval_trace
"""The trace of ordinary execution: no transform at all."""


class _Frames(threading.local):
    def __init__(self) -> None:
        self.open: list[StateTrace] = []


_FRAMES = _Frames()


def current_trace() -> Any:
    """The JAX trace that an operation would run under now."""
    return jax_core.trace_ctx.trace


def current_frame() -> StateTrace | None:
    """The innermost transform of ours that is running a function on this thread."""
    frames = _FRAMES.open
    return frames[-1] if frames else None


class Birth(NamedTuple):
    """Where a State was created, when that was inside a trace."""

    frame: StateTrace | None
    trace: weakref.ref


class StateTrace:
    """One run of a function under a transform: what it read, what it wrote, and the values to go back to.

    Leaving the frame gives every touched State its old value back, after an error as after success: results leave a
    transform as return values, never as tracers left in a State.

    Args:
        discovering: the run only looks for touched States and shapes; transforms inside run their function in line.
    """

    def __init__(self, *, discovering: bool = False) -> None:
        self.discovering = discovering
        self.closed = False
        self.inner: Any = None
        self.reads: dict[State, None] = {}
        self.writes: dict[State, None] = {}
        self.environ: dict[str, Any] = {}
        self._before: dict[State, tuple[Any, Any]] = {}

    def __enter__(self) -> StateTrace:
        self.inner = current_trace()
        _FRAMES.open.append(self)
        return self

    def __exit__(self, *error: object) -> None:
        frame = _FRAMES.open.pop()
        assert frame is self
        for state, (value, slot) in self._before.items():
            state._value, state._slot = value, slot
        self.closed = True
        # States born in here keep this frame alive; it need not keep theirs, nor a JAX trace.
        self._before.clear()
        self.inner = None

    def bind(self, state: State, value: Any) -> None:
        """Lets the function see `value` in `state`; neither a read nor a write."""
        self._remember(state)
        state._value = value

    def note_read(self, state: State) -> None:
        self.reads.setdefault(state)

    def note_write(self, state: State) -> None:
        self._remember(state)
        self.writes.setdefault(state)

    def touched(self) -> dict[State, None]:
        """Everything read or written, in a deterministic order: reads first."""
        return {**self.reads, **self.writes}

    def _remember(self, state: State) -> None:
        if state not in self._before:
            self._before[state] = (state._value, state._slot)


def birth() -> Birth | None:
    """Where a State created now belongs; None outside of every trace."""
    frame, trace = current_frame(), current_trace()
    if frame is None and trace is EAGER:
        return None
    return Birth(frame, weakref.ref(trace))


def check_read(state: State) -> None:
    """Notes a read.

    Raises:
        TraceContextError: the value was left behind by a finished trace, or the read would become a constant of a program
            compiled by a raw JAX transform.
    """
    trace, frame, born = current_trace(), current_frame(), state._birth
    if trace is EAGER and frame is None and born is None:
        return
    if born is not None and _is_dead(state, trace):
        raise TraceContextError(
            f"{state.label} was created inside a transform that has finished, and holds a value that existed only there. "
            "Create it outside, or return the value and assign it outside."
        )
    if frame is not None:
        if born is None or born.frame is not frame:
            frame.note_read(state)
    elif born is None and _is_staged(trace):
        # jax.jit and jax.lax loops keep compiled programs by function identity: the value read now would be there for ever.
        raise TraceContextError(
            f"{state.label} is read inside a raw jax.jit or jax.lax loop, which would compile its present value in as a "
            "constant. Use dist_sim.transform (jit, for_loop, while_loop, cond), or pass the value as an argument."
        )


def check_write(state: State) -> None:
    """Notes a write, before it happens.

    Raises:
        TraceContextError: a raw JAX transform (jit, grad, vmap, lax.scan ...) lies between here and the place the State
            belongs to: it would run the write once, while tracing, and lose it.
    """
    trace, frame, born = current_trace(), current_frame(), state._birth
    if trace is EAGER and frame is None and born is None:
        return
    expected = EAGER if frame is None else frame.inner
    born_here = born is not None and born.frame is frame and born.trace() is trace
    if trace is not expected and not born_here:
        raise TraceContextError(
            f"{state.label} is written inside a raw JAX transform (jax.jit, jax.grad, jax.vmap, jax.lax.scan, ...), which would "
            "run the write once and lose it. Use dist_sim.transform instead. The state keeps its value."
        )
    if born is not None and _is_dead(state, trace):
        if trace is not EAGER or frame is not None:
            raise TraceContextError(
                f"{state.label} was created inside a transform that has finished; it cannot be written inside another one. "
                "Create it outside, or assign a concrete value first."
            )
        state._birth = None
    if frame is not None and (born is None or born.frame is not frame):
        frame.note_write(state)


def has_tracer(value: Any) -> bool:
    """Some array in this PyTree is only a name for one, inside a trace."""
    return any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(value))


def _is_dead(state: State, trace: Any) -> bool:
    born = state._birth
    assert born is not None
    home = born.trace()
    alive = (born.frame is None or not born.frame.closed) and any(t is home for t in _enclosing(trace))
    # A constant made inside a trace outlives it.
    return not alive and has_tracer(state._value)


def _is_staged(trace: Any) -> bool:
    return any(isinstance(t, DynamicJaxprTrace) for t in _enclosing(trace))


def _enclosing(trace: Any) -> Iterator[Any]:
    while trace is not None and trace is not EAGER:
        yield trace
        trace = getattr(trace, "parent_trace", None)
    yield EAGER
