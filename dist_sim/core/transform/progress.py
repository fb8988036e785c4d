"""Progress of a compiled loop: a bar on a terminal, a line now and then in a log."""

from __future__ import annotations

import atexit
import math
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
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
            "carry": ..., "y": ...}` (traced values of one step) to what is put into it.

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


def followed(
    pbar: Pbar, length: int, step: Callable[[Any, Any], Any], carry: Any, loop: Callable[..., Any], *, repeats: bool = False
) -> tuple[Any, Any]:
    """`loop(step, carry)`, shown as `pbar` says.

    Args:
        step: `carry, y = step(carry, x)`; the carry is a pair (values of States, the user's carry).
        loop: runs a step from a carry on; returns the last carry and the ys.
        repeats: a gradient runs the steps again. The loop is then called as `loop(step, carry, begin)`, and does
            `begin(carry)` where it does not run again: after some steps at the latest, and before the last.
    """
    extra = (None,) if repeats else ()
    if pbar is None or pbar is False or not length:
        return loop(step, carry, *extra)
    run = _Run(pbar if isinstance(pbar, ProgressBar) else ProgressBar(None if pbar is True else pbar), length, repeats)

    def counting(carry: Any, x: Any) -> Any:
        done, inner = carry
        inner, y = step(inner, x)
        run.tick(done, inner[1], y)
        return (done + 1, inner), y

    if repeats:
        extra = (lambda carry: _tell(carry[0] == 0, run.begin),)
    (done, carry), ys = loop(counting, (jnp.int32(0), carry), *extra)
    jax.debug.callback(run.finish, done)
    return carry, ys


def _tell(when: Any, what: Callable[..., None], **values: Any) -> None:
    """Calls the host from a compiled program. Calls are not ordered among each other, but by the values they are given."""
    jax.lax.cond(when, lambda values: jax.debug.callback(what, **values), lambda values: None, values)


class _Run:
    """A loop with a bar, on the host; begins again each time that the compiled loop does."""

    def __init__(self, pbar: ProgressBar, total: int, repeats: bool) -> None:
        self.total = self.done = total
        self.began = 0.0
        text, self._values = pbar.desc if isinstance(pbar.desc, (tuple, list)) else (pbar.desc, None)
        self.text = f"{total:,} steps" if text is None or self._values else text
        self._template = text
        self._every = pbar.steps(total)
        self._repeats = repeats

    def tick(self, done: Any, carry: Any, y: Any) -> None:
        """In the compiled step: tells the host, every so many steps."""
        values = {} if self._values is None else self._values({"i": done, "carry": carry, "y": y})
        if not isinstance(values, dict):
            raise ParameterError(f"ProgressBar(desc=...): the function must return a dict; got a {type(values).__name__}.")
        _tell(done % self._every == 0, self.update, steps_done=done, **values)

    def begin(self) -> None:
        self.done, self.began = 0, time.monotonic()
        _SCREEN.begin(self)

    def update(self, steps_done: Any, **values: Any) -> None:
        done = int(steps_done)
        if done == 0 and not self._repeats:
            self.begin()
        # Steps that a gradient runs again come after the end, or before the beginning was told.
        elif done <= self.done:
            return
        self.done = done
        if values:
            self.text = str(self._template).format(**values)
        _SCREEN.update(self)

    def finish(self, done: Any) -> None:
        self.done = self.total
        _SCREEN.finish(self)


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
