"""The chunked loop: compiled steps between visits of the host."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, final

import jax
import numpy as np

from dist_sim.core import Module, State, transform


@final
class ChunkedLoop:
    """Runs `step(n, first)` for n from a chunk's first step on, in one compiled loop of any length up to a chunk.

    Args:
        step: reads and writes States; `first` is the first step of the chunk. A Module says its `structure`, and shares the
            compiled loop with every other one of the same.
        chunk: largest number of steps without a visit of the host.
        overflow: after a chunk, None, or what makes room for what did not fit: the chunk is then run again, exactly, from the
            States it began with.
    """

    def __init__(
        self, step: Callable[[jax.Array, jax.Array], None], chunk: int, *, overflow: Callable[[], Callable[[], Any] | None]
    ) -> None:
        self.advance: transform.Jit | transform.SharedJit
        # What a chunk began with is kept until it is known to fit: given away, each State would be copied before.
        if isinstance(step, Module):
            self.advance = transform.SharedJit(advance, step)
        else:
            self.advance = transform.Jit(partial(advance, step), donate=False)
        self.chunk = chunk
        self._overflow = overflow

    @property
    def written(self) -> tuple[State, ...]:
        """The States that steps write."""
        zero = np.int32(0)
        return self.advance.states(zero, zero).written

    def compile(self, first: int) -> None:
        """Compiles the loop by running no step."""
        self._run(first, first)

    def run(self, first: int, last: int) -> Iterator[tuple[int, int]]:
        """Advances from step `first` to `last`; yields (begin, end) after each chunk, when the host may read States."""
        while first < last:
            end = min(last, first + self.chunk)
            before = {s: s.value for s in self.written}
            self._run(first, end)
            while (make_room := self._overflow()) is not None:
                for state, value in before.items():
                    state.restore_value(value)
                make_room()
                self.advance.clear_cache()  # buffers of other sizes are another program
                before = {s: s.value for s in self.written}
                self._run(first, end)
            yield first, end
            first = end

    def _run(self, first: int, last: int) -> None:
        self.advance(np.int32(first), np.int32(last))
        jax.block_until_ready([s.value for s in self.written])


def advance(step: Callable[[jax.Array, jax.Array], None], first: jax.Array, last: jax.Array) -> None:
    """The steps from `first` until before `last`."""

    def body(n: jax.Array, _: None) -> None:
        step(n, first)

    transform.fori_loop(first, last, body)
