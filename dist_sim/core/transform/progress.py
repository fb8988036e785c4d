"""Progress of a compiled loop: a bar on a terminal, a line now and then in a log."""

from __future__ import annotations

import atexit
import math
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from dist_sim.errors import ParameterError

LINE_EVERY = 30.0
DRAW_EVERY = 0.1
UPDATES = 100

Description = str | tuple[str, Callable[[dict[str, Any]], dict[str, Any]]]


class ProgressBar:
    """How the progress of a loop is shown, as `for_loop(step, xs, pbar=ProgressBar())`.

    On a terminal it is a bar on stderr; elsewhere a line per 30 s, and one at the end. The compiled loop calls the host every
    `freq` steps; its results are those without a bar.

    Args:
        freq: steps between updates; by default, and where `count` is not given either, about a hundredth of the loop.
        count: number of updates instead.
        desc: what runs. Or a pair of a text to format, such as "loss {loss:.3f}", and a function from `{"i": steps done,
            "carry": ..., "y": ...}` (traced values of one step) to what is put into it; it may read States, as they are after
            the step.

    Raises:
        ParameterError: freq and count both, or one that is no positive number; another kind of desc.
    """

    def __init__(self, freq: int | None = None, count: int | None = None, desc: Description | None = None) -> None:
        for name, number in (("freq", freq), ("count", count)):
            if number is not None and (isinstance(number, bool) or int(number) != number or number < 1):
                raise ParameterError(f"ProgressBar({name}={number!r}): a number of 1 or more is needed.")
        if freq is not None and count is not None:
            raise ParameterError(f"ProgressBar(freq={freq}, count={count}): give one of them.")
        is_pair = isinstance(desc, (tuple, list)) and len(desc) == 2 and isinstance(desc[0], str) and callable(desc[1])
        if not (desc is None or isinstance(desc, str) or is_pair):
            raise ParameterError(f"ProgressBar(desc={desc!r}): a text is needed, or a pair of a text to format and a function.")
        self.freq, self.count, self.desc = freq, count, desc

    def steps(self, length: int) -> int:
        """Steps between updates of a loop of this length."""
        return int(self.freq) if self.freq is not None else max(1, -(-length // int(self.count or UPDATES)))


Pbar = ProgressBar | int | bool | None


class Chunks(NamedTuple):
    """How a loop is cut.

    Args:
        told: its first so many steps are in compiled loops; what follows may be compiled as straight code.
        again: a gradient runs steps again.
    """

    told: int
    again: bool


Look = Callable[..., Any]
"""Of the values of States, steps done, the user's carry, y: what is put into the text."""


def followed(
    pbar: Pbar,
    length: int,
    step: Callable[[Any, Any], Any],
    carry: Any,
    loop: Callable[..., Any],
    chunks: Chunks | None = None,
    *,
    watch: Callable[[Callable[[Any], Any]], Look],
) -> tuple[Any, Any]:
    """`loop(step, carry)`, shown as `pbar` says.

    Args:
        step: `carry, y = step(carry, x)`; the carry is a pair (values of States, the user's carry).
        loop: runs a step from a carry on, in a compiled loop; returns the last carry and the ys. With `chunks` it is called as
            `loop(step, carry, begin)` and calls `begin(carry)`, unless that is None, in each of its outermost steps.
        watch: makes a function of `{"i": ..., "carry": ..., "y": ...}` that reads States one of their values, too.
    """
    extra = () if chunks is None else (None,)
    if pbar is None or pbar is False or not length:
        return loop(step, carry, *extra)
    pbar = pbar if isinstance(pbar, ProgressBar) else ProgressBar(None if pbar is True else pbar)
    run = _Run(pbar, length, chunks or Chunks(length, False), watch)

    def counting(carry: Any, x: Any) -> Any:
        done, inner = carry
        inner, y = step(inner, x)
        run.tick(done, inner, y)
        return (done + 1, inner), y

    if chunks is not None and chunks.again:
        extra = (lambda carry: _tell(carry[0] == 0, run.begin),)
    (_, carry), ys = loop(counting, (jnp.int32(0), carry), *extra)
    return carry, ys


def _tell(when: Any, what: Callable[..., None], *values: Any) -> None:
    """Calls the host from a compiled program.

    Such calls have an order only from one iteration of a compiled loop to the next. So nothing is told before or after a loop:
    the number of its steps is known to the compiler, and a call that depends on no more than that comes at any time.
    """
    jax.lax.cond(when, lambda *values: jax.debug.callback(what, *values), lambda *values: None, *values)


def _checked(values: Callable[[dict[str, Any]], Any]) -> Callable[[dict[str, Any]], dict[str, Any]]:
    def checked(seen: dict[str, Any]) -> dict[str, Any]:
        found = values(seen)
        if not isinstance(found, dict):
            raise ParameterError(f"ProgressBar(desc=...): the function must return a dict; got a {type(found).__name__}.")
        return found

    return checked


class _Run:
    """A loop with a bar, on the host; begins again each time that the compiled loop does."""

    def __init__(
        self, pbar: ProgressBar, total: int, chunks: Chunks, watch: Callable[[Callable[[Any], Any]], Look]
    ) -> None:
        self.total = self.done = total
        self.began = 0.0
        text, values = pbar.desc if isinstance(pbar.desc, (tuple, list)) else (pbar.desc, None)
        self._values = None if values is None else watch(_checked(values))
        self.text = f"{total:,} steps" if text is None or self._values else text
        self._template = text
        self._every = pbar.steps(total)
        self._chunks = chunks
        self._lock = threading.Lock()
        self.program_key = total, self.text, self._values, self._every, chunks

    def tick(self, done: Any, carry: Any, y: Any) -> None:
        """In the compiled step: tells the host, every so many steps."""
        values = {} if self._values is None else self._values(carry[0], done, carry[1], y)
        self._refuse_misfit(values)
        told = self._chunks.told
        _tell((done < told) & (done % self._every == 0) | (done == told - 1), self.update, done, values)

    def _formatted(self, values: dict[str, Any]) -> str:
        return str(self._template).format(**values)

    def _refuse_misfit(self, values: dict[str, Any]) -> None:
        """Tries the text out: an exception in a compiled program would stop one device, and the others would wait for it."""
        try:
            if self._values is not None:
                self._formatted(jax.tree.map(lambda x: np.zeros(jnp.shape(x), jnp.result_type(x)), values))
        except (KeyError, IndexError, ValueError, TypeError) as error:
            raise ParameterError(
                f"ProgressBar(desc=({self._template!r}, ...)): the function returns {', '.join(values) or 'nothing'}, which does "
                f"not fit the text ({type(error).__name__}: {error})."
            ) from None

    def begin(self) -> None:
        with self._lock:
            self._begin()

    def _begin(self) -> None:
        self.done, self.began = 0, time.monotonic()
        _SCREEN.begin(self)

    def update(self, step: Any, values: dict[str, Any]) -> None:
        done = int(step)
        with self._lock:
            if done == 0 and not self._chunks.again:
                self._begin()
            # Steps that a gradient runs again come after the end; so may the first ones, before the beginning was told.
            elif done <= self.done:
                return
            is_last = done == self._chunks.told - 1
            self.done = self.total if is_last else done
            if values:
                self.text = self._formatted(jax.tree.map(np.asarray, values))
            (_SCREEN.finish if is_last else _SCREEN.update)(self)


class _Screen:
    """stderr, shared by all loops with a bar; loops in loops have a line each."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._bars: Progress | None = None
        self._tasks: dict[_Run, Any] = {}
        self._running: set[_Run] = set()
        self._drawn_at = self._said_at = -math.inf

    def begin(self, run: _Run) -> None:
        with self._lock:
            self._running.add(run)
            if not sys.stderr.isatty():
                return
            if self._bars is None:
                self._bars = Progress(*_columns(), console=Console(stderr=True), auto_refresh=False)
                self._bars.start()
                atexit.register(self.close)
            if run in self._tasks:
                self._bars.reset(self._tasks[run])
            else:
                self._tasks[run] = self._bars.add_task(run.text, total=run.total)

    def update(self, run: _Run) -> None:
        now = time.monotonic()
        with self._lock:
            if self._bars is not None and run in self._tasks:
                self._bars.update(self._tasks[run], completed=run.done, description=run.text)
                if now - self._drawn_at >= DRAW_EVERY:
                    self._drawn_at = now
                    self._bars.refresh()
            elif now - max(run.began, self._said_at) >= LINE_EVERY:
                self._say(run, now)

    def finish(self, run: _Run) -> None:
        now = time.monotonic()
        with self._lock:
            self._running.discard(run)
            if self._bars is not None and run in self._tasks:
                self._bars.update(self._tasks[run], completed=run.total, description=run.text)
                if not self._running:
                    self.close()
            # A log does not end before the end; a script that loops a thousand times does not say so a thousand times.
            elif now - run.began >= LINE_EVERY or now - self._said_at >= LINE_EVERY:
                self._say(run, now)

    def close(self) -> None:
        """Leaves the bars as they are, and the terminal as it was."""
        with self._lock:
            if self._bars is not None:
                self._bars.stop()
            self._bars = None
            self._tasks.clear()
            self._running.clear()
            atexit.unregister(self.close)

    def _say(self, run: _Run, now: float) -> None:
        self._said_at = now
        spent = now - run.began
        left = f", {spent / run.done * (run.total - run.done):.0f} s left" if 0 < run.done < run.total else ""
        part = f"{run.done:,} of {run.total:,} ({100 * run.done / run.total:.0f} %)"
        with suppress(OSError, ValueError):  # nobody reads it any more
            print(f"{run.text}: {part} in {spent:.0f} s{left}", file=sys.stderr, flush=True)


def _columns() -> list[Any]:
    return [
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:.0f} %"),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    ]


_SCREEN = _Screen()
