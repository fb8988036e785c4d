"""One SHA-256 over all spikes, the same on any placement: what two runs are compared by."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import final

import numpy as np

from dist_sim.run.directory import RunDirectory
from dist_sim.run.segment_reader import SegmentReader


@final
class SpikeDigest:
    """SHA-256 over spikes ordered by (step, global id), each as two little-endian int64.

    Fed chunk by chunk, it does not depend on where the chunks are cut.
    """

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self._last = (-1, -1)

    def update(self, steps: np.ndarray, ids: np.ndarray) -> None:
        """Add the next spikes: int64 steps and global ids, sorted by (step, id), none before the last one added."""
        if len(steps) == 0:
            return
        pairs = np.empty((len(steps), 2), dtype="<i8")
        pairs[:, 0], pairs[:, 1] = steps, ids
        # The digest means the same everywhere only if the order does.
        forward, same = np.diff(pairs[:, 0]), np.diff(pairs[:, 1])
        assert bool(np.all((forward > 0) | ((forward == 0) & (same >= 0)))), "spikes are not sorted by (step, id)"
        assert self._last <= (int(pairs[0, 0]), int(pairs[0, 1])), "spikes before those already in the digest"
        self._last = (int(pairs[-1, 0]), int(pairs[-1, 1]))
        self._hash.update(pairs.data)

    def hexdigest(self) -> str:
        """The digest of everything added so far, as 64 hexadecimal digits."""
        return self._hash.hexdigest()


def digest_of(directory: RunDirectory | Path) -> str:
    """The digest of all spikes of a run, whatever the number of processes that wrote them.

    Args:
        directory: a run directory, or a folder of spike segments. A torn end is left out (a `SegmentReader` tells of it).

    Raises:
        OutputError: no segments, or damaged ones.
    """
    if isinstance(directory, Path) and next(directory.glob("seg-*.bin"), None) is None:
        directory = RunDirectory.open(directory)
    return digest_of_reader(SegmentReader(directory if isinstance(directory, Path) else directory.spikes_folder()))


def digest_of_reader(reader: SegmentReader) -> str:
    """The digest of the blocks of a reader."""
    digest = SpikeDigest()
    for block in reader:
        digest.update(block.steps, block.ids)
    return digest.hexdigest()
