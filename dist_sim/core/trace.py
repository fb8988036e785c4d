"""Which States a function touches, and whether it may touch them here.

A *frame* (:class:`StateTrace`) is open while one of our transforms runs a user's function under a JAX trace. There are two
kinds. In a *staged* frame (jit, loops, branches) the function becomes a program: what it reads from States and from the
environment become inputs of the program, made on first use. In the others (grad, vmap) the function runs as it is, on what
the frame further out sees.

Order is that of the first touch: it depends on the program alone, so all processes of a run see the same order.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import jax

# JAX offers no public way to ask which trace is current (jax.extend.core hands out an opaque object without its parents).
from jax._src import core as jax_core
from jax._src.array import ArrayImpl
from jax._src.interpreters.partial_eval import DynamicJaxprTrace
from jax.core import Tracer
from jax.extend.core import Primitive

from dist_sim.errors import TraceContextError

if TYPE_CHECKING:
    from dist_sim.core.state import State

EAGER = jax_core.eval_trace
"""The trace of ordinary execution: no transform at all."""

CONCRETE = ArrayImpl
"""The type of arrays that hold numbers, as tracers do not."""

INPUT = Primitive("input")
"""Stands in a staged function for values that it read: `trace` turns its results into inputs of the program."""
INPUT.multiple_results = True
INPUT.def_abstract_eval(lambda *, avals, position: list(avals))


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


def is_eager() -> bool:
    """Ordinary execution: no transform of ours or of JAX is running a function."""
    return not _FRAMES.open and current_trace() is EAGER


def runs_as_python(*args: Any) -> bool:
    """`jax.disable_jit()` holds, and the values are there: the user's Python runs step by step, on numbers."""
    return bool(jax.config.jax_disable_jit) and is_eager() and not has_tracer(args)  # pyright: ignore[reportAttributeAccessIssue]


class Birth(NamedTuple):
    """Where a State was created, when that was inside a trace."""

    frame: StateTrace | None
    trace: weakref.ref


class StateTrace:
    """One run of a function under a transform: what it read, what it wrote, and the values to go back to.

    Leaving the frame gives every touched State its old value back, after an error as after success: results leave a
    transform as return values, never as tracers left in a State.

    Args:
        staged: the function becomes a program, with what it reads as inputs.
        enter: what a State is in here, as (value, slot), where that is not what it is outside; else None. Is asked once per
            State, before its slot is looked at, under the JAX trace of the function.

    Attributes:
        born: the States created in it.
        reads, writes: the States touched, in order.
        environ: environment entries read that were set outside: key to (value outside, value in here).
        sources: what became an input so far: a State, or the key of an environment entry.
        checks: the function contains checks, see :mod:`dist_sim.core.transform.checks`.
    """

    def __init__(self, *, staged: bool = False, enter: Callable[[State], tuple[Any, Any] | None] | None = None) -> None:
        self.staged = staged
        self.born: list[State] = []
        self._inside = enter
        self.closed = False
        self.inner: Any = None
        self.reads: dict[State, None] = {}
        self.writes: dict[State, None] = {}
        self.environ: dict[str, tuple[Any, Any]] = {}
        self.sources: list[State | str] = []
        self.checks = False
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
        self.born.clear()
        self._inside = None
        self.inner = None
        if self.checks and _FRAMES.open:
            _FRAMES.open[-1].checks = True

    def bind(self, state: State, value: Any, slot: Any = None) -> None:
        """Lets the function see `value` in `state` (in another `slot`); neither a read nor a write."""
        self._remember(state)
        state._value = value
        if slot is not None:
            state._slot = slot

    def read(self, state: State) -> None:
        """Samples a read, here and, if the value comes from further out, there."""
        if state in self._before:
            # Bound or written in here; for a frame that is not staged what was bound is a read like any other.
            if state not in self.writes:
                self.reads.setdefault(state)
            return
        if self._is_born_here(state):
            return
        self.enter(state)
        if state not in self._before:
            if self.staged:
                self.bind(state, state._slot.value(self.make_inputs(state, state._slot.shapes())))
            else:
                self.read_outside(state)
                self._remember(state)
        self.reads.setdefault(state)

    def enter(self, state: State) -> None:
        """Lets a State be what it is in here (see `enter` of the class), and before that in the frames further out."""
        if state in self._before or self._is_born_here(state):
            return
        outer = self._outer()
        if outer is not None:
            outer.enter(state)
        if self._inside is not None:
            with jax_core.set_current_trace(self.inner):
                inside = self._inside(state)
            if inside is not None:
                self.bind(state, *inside)

    def read_outside(self, state: State) -> Any:
        """What a State that is not bound in here is outside; noted as read there."""
        outer = self._outer()
        if outer is not None:
            outer.read(state)
        elif state._birth is None and _is_staged(self.inner):
            raise TraceContextError(_compiled_in(state))
        return state._value

    def write(self, state: State) -> None:
        """Samples a write that is about to happen."""
        if self._is_born_here(state):
            return
        self._remember(state)
        self.writes.setdefault(state)

    def see(self, key: str, value: Any, split: Callable[[Any], tuple[list[Any], Any] | None]) -> Any:
        """What an environment entry set further out is in here.

        Args:
            value: what it is in the frame around this one.
            split: its arrays and how to put it together again, or None if it is a constant of the program.
        """
        if key not in self.environ:
            inner = value
            if self.staged and (parts := split(value)) is not None:
                arrays, join = parts
                inner = join(self.make_inputs(key, tuple(jax.typeof(x) for x in arrays)))
            self.environ[key] = value, inner
        return self.environ[key][1]

    def make_inputs(self, source: State | str, avals: tuple[Any, ...]) -> list[Any]:
        """Values that stand for the arrays of a source in a staged function."""
        self.sources.append(source)
        # Where a raw JAX transform inside the function reads it, it is an input of the whole function all the same.
        with jax_core.set_current_trace(self.inner):
            return INPUT.bind(avals=avals, position=len(self.sources) - 1)

    def _is_born_here(self, state: State) -> bool:
        return state._birth is not None and state._birth.frame is self

    def _remember(self, state: State) -> None:
        if state not in self._before:
            self._before[state] = (state._value, state._slot)

    def _outer(self) -> StateTrace | None:
        depth = _FRAMES.open.index(self)
        return _FRAMES.open[depth - 1] if depth else None


def frames_within(frame: StateTrace | None) -> list[StateTrace]:
    """The open frames further in than this one, outermost first; all of them for None."""
    frames = _FRAMES.open
    return frames[frames.index(frame) + 1 :] if frame in frames else frames[:]


def birth(state: State) -> Birth | None:
    """Where a State created now belongs; None outside of every trace."""
    frame, trace = current_frame(), current_trace()
    if frame is None and trace is EAGER:
        return None
    if frame is not None:
        frame.born.append(state)
    return Birth(frame, weakref.ref(trace))


def adopt(states: Iterable[State]) -> None:
    """Lets States that were created inside a transform belong here, where they get their values next."""
    for state in states:
        state._birth = birth(state)


def enter(state: State) -> None:
    """Lets a State be what it is under the transforms that are open here, before its slot is looked at."""
    frame = current_frame()
    if frame is not None:
        frame.enter(state)


def check_read(state: State) -> None:
    """Samples a read.

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
        frame.read(state)
    elif born is None and _is_staged(trace):
        # jax.jit and jax.lax loops keep compiled programs by function identity: the value read now would be there for ever.
        raise TraceContextError(_compiled_in(state))


def is_left_behind(state: State) -> bool:
    """It was created inside a transform that has finished, and holds a value that existed only there."""
    return state._birth is not None and _is_dead(state, current_trace())


def check_write(state: State) -> None:
    """Whether this State may be written here.

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


def note_write(state: State) -> None:
    """Samples a write, before it happens."""
    frame = current_frame()
    if frame is not None:
        frame.write(state)


def is_open(trace: weakref.ref[Any]) -> bool:
    """Code runs under this trace, or under one inside of it."""
    home = trace()
    return home is not None and any(t is home for t in _enclosing(current_trace()))


def has_tracer(value: Any) -> bool:
    """Some array in this PyTree is only a name for one, inside a trace."""
    return any(type(leaf) is not CONCRETE and isinstance(leaf, Tracer) for leaf in jax.tree.leaves(value))


def _is_dead(state: State, trace: Any) -> bool:
    born = state._birth
    assert born is not None
    home = born.trace()
    alive = (born.frame is None or not born.frame.closed) and any(t is home for t in _enclosing(trace))
    # A constant made inside a trace outlives it.
    return not alive and has_tracer(state._value)


def _compiled_in(state: State) -> str:
    return (
        f"{state.label} is read inside a raw jax.jit or jax.lax loop, which would compile its present value in as a "
        "constant. Use dist_sim.transform (jit, for_loop, while_loop, cond), or pass the value as an argument."
    )


def _is_staged(trace: Any) -> bool:
    return any(isinstance(t, DynamicJaxprTrace) for t in _enclosing(trace))


def _enclosing(trace: Any) -> Iterator[Any]:
    while trace is not None and trace is not EAGER:
        yield trace
        trace = getattr(trace, "parent_trace", None)
    yield EAGER
