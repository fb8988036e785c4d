"""The spikes of a run, collected chunk by chunk: in memory, or in the segments of a run directory."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import final

import numpy as np

from dist_sim.partition.processes import ALONE, Processes
from dist_sim.run.digest import SpikeDigest
from dist_sim.run.directory import RunDirectory
from dist_sim.run.recorded import Spikes
from dist_sim.run.segment_reader import Block, SegmentReader, cut_back
from dist_sim.run.segments import START, SegmentWriter
from dist_sim.run.statistics import SpikeStatistics


@final
class Recording:
    """Collects spikes; knows their digest and their statistics at any time, without reading them again.

    Args:
        directory: the run directory whose segments hold the spikes, or None to keep them in memory.
        dt: the step, ms.
        processes: those of the run, each with spikes of its own. Each writes its own segments; every one of them knows the
            digest, the statistics and (in memory, or from all segments) the spikes of all.
        begin: the step from which on a run that is resumed goes on: earlier spikes stay, later ones are cut off. They count once
            `replay` has come to them.

    Raises:
        OutputError: the segments cannot be written or read back.
    """

    def __init__(self, directory: RunDirectory | None, dt: float, *, processes: Processes = ALONE, begin: int = 0):
        self.dt = float(dt)
        self.spikes = 0
        self.statistics = SpikeStatistics()
        self._processes = processes
        self._digest = SpikeDigest()
        self._chunks: list[tuple[np.ndarray, np.ndarray]] = []
        self._until = 0
        self._writer: SegmentWriter | None = None
        self._ahead: Iterator[Block] = iter(())
        self._next: Block | None = None
        self.folder: Path | None = None
        if directory is not None:
            # What process 0 sees decides: another may already see the folder that it has made.
            self.folder = Path(processes.first(str(directory.new_spikes_folder())))
            position = cut_back(self.folder, processes, begin) if directory.resumed else START
            self._writer = SegmentWriter(self.folder, processes.index, dt, processes=processes.count, begin=position)
            if begin:
                self._ahead = iter(SegmentReader(self.folder))
                self._next = next(self._ahead, None)

    def replay(self, until: int) -> None:
        """Take in the spikes before step `until` that are on the disk already, as if they had just been appended."""
        while self._next is not None and self._next.step1 <= until:
            self._add(self._next.steps, self._next.ids)
            self._next = next(self._ahead, None)
        self._until = until

    def append(self, step0: int, step1: int, steps: np.ndarray, ids: np.ndarray) -> None:
        """Add this process's spikes of the chunk [step0, step1): int64 steps and global ids, sorted by (step, id)."""
        steps, ids = np.asarray(steps, dtype=np.int64), np.asarray(ids, dtype=np.int64)
        if self._writer is not None:
            # Written first: a digest must not hold spikes that a full disk has refused.
            self._writer.append(step0, step1, steps, ids)
        self._until = step1
        steps, ids = self._of_all(step0, steps, ids)
        if self._writer is None:
            self._chunks.append((steps.copy(), ids.copy()))
        self._add(steps, ids)

    def _add(self, steps: np.ndarray, ids: np.ndarray) -> None:
        self._digest.update(steps, ids)
        self.statistics.update(steps, ids)
        self.spikes += len(steps)

    @property
    def so_far(self) -> Spikes:
        """The spikes so far; they stay when more are appended."""
        if self.folder is not None:
            return Spikes(self.dt, self.spikes, folder=self.folder, until=self._until)
        return Spikes(self.dt, self.spikes, chunks=self._chunks)

    @property
    def digest(self) -> str:
        """SHA-256 of the spikes so far."""
        return self._digest.hexdigest()

    def sync(self) -> None:
        """Return when everything appended is on the disk."""
        if self._writer is not None:
            self._writer.sync()

    def close(self) -> None:
        """Flush to the disk and close the file. A later append goes on."""
        if self._writer is not None:
            self._writer.close()

    def _of_all(self, step0: int, steps: np.ndarray, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The spikes of all processes, sorted by (step, id). 8 bytes per spike travel once per chunk."""
        if self._processes.count == 1:
            return steps, ids
        pairs = np.stack([steps - step0, ids], axis=1).astype(np.uint32)
        pairs = np.concatenate(self._processes.gather_ragged(pairs)).astype(np.int64)
        steps, ids = pairs[:, 0] + step0, pairs[:, 1]
        order = np.lexsort((ids, steps))
        return steps[order], ids[order]
