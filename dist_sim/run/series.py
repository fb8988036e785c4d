"""What a simulation takes down besides spikes (samples, weights): in memory, or in segments of a run directory."""

from __future__ import annotations

from pathlib import Path
from typing import Any, final

import numpy as np

from dist_sim.partition.processes import ALONE, Processes
from dist_sim.run.recorded import Rows
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
        self._parts: list[np.ndarray] = []
        self._count = 0
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
            taken = self._processes.gather_ragged(rows) if len(rows) or self._processes.count > 1 else []
            # Copies: what is given may be part of something larger.
            self._parts.extend(np.array(part) for part in taken)
            self._count += sum(map(len, taken))
        elif self._writer is not None:
            self._writer.append_bytes(step0, step1, len(rows), 0, rows.tobytes())
        self.appended += len(rows)

    def so_far(self, until: int) -> Rows:
        """The rows so far, in a folder those of the chunks up to step `until`; they stay when more are appended."""
        if self._folder is not None:
            return Rows(self._dtype, self._shape, 0, folder=self._folder, until=until)
        return Rows(self._dtype, self._shape, self._count, parts=self._parts)

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
