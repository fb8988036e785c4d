"""The signs of life of a run: left by the thread that computes, read by one that watches it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import final


@final
class Heartbeat:
    """What a process does, how far it is, and when it last said so.

    Attributes:
        phase: what goes on (`connect`, `compile`, `simulate`, `checkpoint`, ...); '' while only the script's own lines run,
            which may take any time.
        at: how far that is.
        moment: of the last sign, in seconds of `time.monotonic`.
    """

    def __init__(self) -> None:
        self.phase = self.at = ""
        self.moment, self._longest = time.monotonic(), 0.0

    def beat(self, at: str) -> None:
        """The phase has come further."""
        self._sign()
        self.at = at

    def longest_silence(self) -> float:
        """Seconds between two signs that followed each other in a phase, at most, since this was last asked."""
        longest, self._longest = self._longest, 0.0
        return longest

    @contextmanager
    def within(self, phase: str) -> Iterator[None]:
        """Within this context the run is in a phase; after it, in the one around it."""
        outer, at = self.phase, self.at
        self._sign()
        self.phase = phase
        try:
            yield
        finally:
            self._sign()
            self.phase, self.at = outer, self.at if outer else at

    def _sign(self) -> None:
        now = time.monotonic()
        if self.phase:
            self._longest = max(self._longest, now - self.moment)
        self.moment = now
