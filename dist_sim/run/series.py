"""What a simulation takes down besides spikes (samples, weights): in memory, or in segments of a run directory."""

from __future__ import annotations

from pathlib import Path
from typing import Any, final

import numpy as np

from dist_sim.errors import OutputError
from dist_sim.partition.processes import ALONE, Processes
from dist_sim.run.segment_reader import SegmentReader, cut_back
from dist_sim.run.segments import START, SegmentWriter


@final
class Series:
    """Rows of one shape and dtype, appended and never changed: a checkpoint need not hold them, and says only how many there are.

    Args:
        folder: of their segments, as those of spikes are; None keeps the rows in memory.
        dtype: of a row, and `shape`: of a row.
        processes: those that each append rows of their own; each of them reads the rows of all.
        writes: whether this process appends at all: where all have the same rows, one writes them.
        resumed: whether the folder may hold rows; those of steps from `begin` on are cut off.

    Attributes:
        appended: how many rows this process has appended.

    Raises:
        OutputError: the segments cannot be written or read back.
    """

    def __init__(
        self,
        folder: Path | None,
        dtype: Any,
        shape: tuple[int, ...] = (),
        *,
        dt: float,
        processes: Processes = ALONE,
        writes: bool = True,
        resumed: bool = False,
        begin: int = 0,
    ):
        self._dtype, self._shape, self._folder, self._processes = np.dtype(dtype), shape, folder, processes
        self._until = begin or None
        self._held: list[np.ndarray] = []
        self._writer: SegmentWriter | None = None
        self.appended = 0
        if folder is not None and writes:
            position = cut_back(folder, processes, begin) if resumed else START
            self._writer = SegmentWriter(folder, processes.index, dt, processes=processes.count, begin=position)

    def append(self, step0: int, step1: int, rows: np.ndarray) -> None:
        """Add this process's rows (n, *shape) of the chunk [step0, step1)."""
        rows = np.ascontiguousarray(rows, self._dtype)
        assert rows.shape[1:] == self._shape, (rows.shape, self._shape)
        if self._folder is None:
            self._held.extend(self._processes.gather_ragged(rows) if len(rows) or self._processes.count > 1 else ())
        elif self._writer is not None:
            self._writer.append_bytes(step0, step1, len(rows), 0, rows.tobytes())
        self._until, self.appended = step1, self.appended + len(rows)

    def rows(self, until: int | None = None) -> np.ndarray:
        """(n, *shape): all rows so far; in a folder, those of the chunks up to step `until` if it is given.

        Raises:
            OutputError: they cannot be read.
        """
        found = [np.zeros((0, *self._shape), self._dtype), *self._held]
        until = self._until if until is None else until
        if self._folder is not None and until:
            for header, payload in SegmentReader(self._folder, until=until).payloads():
                if header.step1 <= until:
                    if len(payload) != header.spikes * self._dtype.itemsize * int(np.prod(self._shape)):
                        raise OutputError(f"{self._folder}: holds rows of other sizes: it was written by another program.")
                    found.append(np.frombuffer(payload, self._dtype).reshape(-1, *self._shape))
        return np.concatenate(found)

    def count(self, until: int) -> int:
        """How many rows of the chunks up to step `until` the folder holds."""
        if self._folder is None or not until:
            return 0
        return sum(header.spikes for header in SegmentReader(self._folder, until=until).headers if header.step1 <= until)

    def sync(self) -> None:
        """Return when everything appended is on the disk."""
        if self._writer is not None:
            self._writer.sync()

    def close(self) -> None:
        """Flush to the disk and close the file. A later append goes on."""
        if self._writer is not None:
            self._writer.close()
