"""What has been recorded up to a moment, as values: they stay when the run goes on, can be pickled, and read files when asked."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, final

import numpy as np

from dist_sim.errors import OutputError
from dist_sim.run.segment_reader import SegmentReader

_AT_ONCE = 1 << 18  # spikes of a block of those in memory


@final
class Spikes:
    """The first `count` spikes of a recording, sorted by (step, id).

    Args:
        dt: the step, ms.
        chunks: (steps, ids) in memory, int64, to which their owner only appends.
        folder: of the segments that hold them instead; until: the step up to which they do.
    """

    def __init__(
        self, dt: float, count: int, *, chunks: list[tuple[np.ndarray, np.ndarray]] | None = None, folder: Path | None = None,
        until: int = 0,
    ) -> None:  # fmt: skip
        self.dt, self.count, self._folder, self._until = dt, count, folder, until
        self._chunks = [] if chunks is None else chunks

    @classmethod
    def of(cls, steps: np.ndarray, ids: np.ndarray, dt: float) -> Spikes:
        """Those of two arrays (n,), sorted by (step, id)."""
        arrays = np.asarray(steps, np.int64), np.asarray(ids, np.int64)
        return cls(dt, len(arrays[0]), chunks=[arrays])

    def blocks(self, since: int = 0) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """(steps, ids), int64, block by block: never more of a file in memory than a chunk of the run has.

        Args:
            since: leave out blocks that end before this step.

        Raises:
            OutputError: they cannot be read, or are not all there.
        """
        if self._folder is None:
            steps, ids = self._in_memory()
            for first in range(int(np.searchsorted(steps, since)), self.count, _AT_ONCE):
                part = slice(first, min(first + _AT_ONCE, self.count))
                yield steps[part], ids[part]
        elif self.count:
            reader = SegmentReader(self._folder, until=self._until)
            known = sum(header.spikes for header in reader.headers if header.step1 <= self._until)
            if known < self.count:
                raise OutputError(
                    f"{self._folder}: {known} of {self.count} spikes are to be seen from here. Give an --out on a file system "
                    "that all nodes share; if files were lost, bring them back from a copy."
                )
            for block in reader.since(since):
                if block.step1 <= self._until:
                    yield block.steps, block.ids

    def those(self, often: Callable[[np.ndarray, np.ndarray], np.ndarray], since: int = 0) -> tuple[np.ndarray, np.ndarray]:
        """(steps, ids) of some, int64.

        Args:
            often: says of (steps, ids) how often each is wanted: numbers or booleans.
            since: as for :meth:`blocks`.
        """
        found = [(np.zeros(0, np.int64),) * 2]
        for block in self.blocks(since):
            times = often(*block)
            found.append((np.repeat(block[0], times), np.repeat(block[1], times)))
        steps, ids = zip(*found, strict=True)
        return np.concatenate(steps), np.concatenate(ids)

    def arrays(self, since: int = 0) -> tuple[np.ndarray, np.ndarray]:
        """(steps, ids) of all, int64; of files, from the block of step `since` on."""
        return self.those(lambda steps, ids: steps >= since, since)

    def _in_memory(self) -> tuple[np.ndarray, np.ndarray]:
        if len(self._chunks) > 1:
            # In place, for all who have the list: joined once, whoever asks how often.
            steps, ids = zip(*self._chunks, strict=True)
            self._chunks[:] = [(np.concatenate(steps), np.concatenate(ids))]
        steps, ids = self._chunks[0] if self._chunks else (np.zeros(0, np.int64),) * 2
        return steps[: self.count], ids[: self.count]

    def __getstate__(self) -> dict[str, Any]:
        # Without what has been recorded since.
        return {**vars(self), "_chunks": [] if self._folder is not None else [self._in_memory()]}


@final
class Rows:
    """The first `count` rows of a `Series`.

    Args:
        dtype, shape: of a row.
        parts: arrays (n, *shape) in memory, to which their owner only appends.
        folder: of the segments that hold them instead; until: the step up to which they do.
    """

    def __init__(
        self, dtype: Any, shape: tuple[int, ...], count: int, *, parts: list[np.ndarray] | None = None,
        folder: Path | None = None, until: int = 0,
    ) -> None:  # fmt: skip
        self._dtype, self._shape, self._count, self._folder, self._until = np.dtype(dtype), shape, count, folder, until
        self._parts = [] if parts is None else parts

    def read(self) -> np.ndarray:
        """(n, *shape).

        Raises:
            OutputError: they cannot be read.
        """
        if self._folder is None:
            if len(self._parts) > 1:
                self._parts[:] = [np.concatenate(self._parts)]
            return self._parts[0][: self._count] if self._parts else np.zeros((0, *self._shape), self._dtype)
        return np.concatenate([np.zeros((0, *self._shape), self._dtype), *self._from_files()])

    def _from_files(self) -> Iterator[np.ndarray]:
        if self._folder is None or not self._until:
            return
        for header, payload in SegmentReader(self._folder, until=self._until).payloads():
            if header.step1 <= self._until:
                if len(payload) != header.spikes * self._dtype.itemsize * int(np.prod(self._shape)):
                    raise OutputError(f"{self._folder}: holds rows of other sizes: it was written by another program.")
                yield np.frombuffer(payload, self._dtype).reshape(-1, *self._shape)

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_parts": [] if self._folder is not None else [self.read()]}
