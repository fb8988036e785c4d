"""The signs of life of a run: left by the thread that computes, read by one that watches it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import final


@final
class Pulse:
    """What a process does, how far it is, and when it last said so.

    Attributes:
        phase: what goes on (`connect`, `compile`, `simulate`, `checkpoint`, ...); '' while only the script's own lines run,
            which may take any time.
        at: how far that is.
        moment: of the last sign, in seconds of `time.monotonic`.
    """

    def __init__(self) -> None:
        self.phase = self.at = ""
        self.moment = time.monotonic()

    def beat(self, at: str) -> None:
        """The phase has come further."""
        self.at, self.moment = at, time.monotonic()

    @contextmanager
    def within(self, phase: str) -> Iterator[None]:
        """Within this context the run is in a phase; after it, in the one around it."""
        outer, at = self.phase, self.at
        self.phase, self.moment = phase, time.monotonic()
        try:
            yield
        finally:
            self.phase, self.at, self.moment = outer, self.at if outer else at, time.monotonic()
