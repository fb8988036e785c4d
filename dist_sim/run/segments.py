"""Append-only spike segments: what is on disk while a run goes on, and what survives its death. `segment_reader` reads them.

A process appends one block per chunk to `seg-<process>-<k>.bin` and never touches a written byte again, so a killed
process costs at most its last block (HDF5 written while running loses whole files). A block is a header and a payload,
each with its own checksum (xxh3, 64 bits), little-endian:

    header   magic, version, bytes per id, process, processes, sequence number, dt [ms], step0, step1, spikes, payload
             bytes, payload checksum, header checksum
    payload  uint32 step - step0, one per spike; then the global ids, uint32 (uint64 where one does not fit)

Segments hold other things too (`series`: samples, weights); in them "spikes" counts those, and their bytes are as `series` says.

The sequence number counts the blocks of a process, so that a lost segment in the middle is seen.
"""

from __future__ import annotations

import os
import re
import struct
from pathlib import Path
from typing import NamedTuple, final

import numpy as np
import xxhash

from dist_sim.errors import OutputError
from dist_sim.run.disk_errors import unwritten

MAGIC = b"DSIMSPK\n"
VERSION = 1
HEADER = struct.Struct("<8sHHIIIdqqQQQ")
CHECKSUM = struct.Struct("<Q")
HEADER_BYTES = HEADER.size + CHECKSUM.size
SEGMENT_BYTES = 256 << 20
SEGMENT_NAME = re.compile(r"seg-(\d+)-(\d+)\.bin")


def segment_path(folder: Path, process: int, number: int) -> Path:
    """The file of the `number`-th segment of a process."""
    return folder / f"seg-{process:05d}-{number:05d}.bin"


def folder_processes(folder: Path) -> list[int]:
    """The processes that have segments in a folder."""
    found = (SEGMENT_NAME.fullmatch(path.name) for path in folder.glob("seg-*.bin"))
    return sorted({int(match[1]) for match in found if match})


class Header(NamedTuple):
    """The fields of HEADER, in its order."""

    magic: bytes
    version: int
    id_bytes: int
    process: int
    processes: int
    sequence: int
    dt: float
    step0: int
    step1: int
    spikes: int
    payload_bytes: int
    checksum: int


class Position(NamedTuple):
    """Where the next block of a process goes: segment, byte in it, sequence number; and the step up to which there are blocks."""

    number: int
    size: int
    sequence: int
    end_step: int | None


START = Position(0, 0, 0, None)


@final
class SegmentWriter:
    """Appends the spikes of one process, one block per chunk.

    Args:
        folder: where the segments go; made if missing, and without segments of this process, but for those before `begin`.
        process, processes: which process this is, of how many.
        dt: the step, ms.
        segment_bytes: a new file is begun once the last one is this long.
        begin: where to go on, as `segment_reader.truncate_segments` says.

    Raises:
        OutputError: segments of this process are there already, or a write fails. What was written stays readable, and
            the same block can be appended again once there is room.
    """

    def __init__(
        self,
        folder: Path,
        process: int,
        dt: float,
        *,
        processes: int = 1,
        segment_bytes: int = SEGMENT_BYTES,
        begin: Position = START,
    ):
        self._folder, self._process, self._processes = Path(folder), process, processes
        self._dt, self._segment_bytes = float(dt), segment_bytes
        self._number, self._size, self._sequence, self.end_step = begin
        self._file: int | None = None
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise unwritten(self._folder, 0, error) from error
        if begin == START and next(self._folder.glob(f"seg-{process:05d}-*.bin"), None) is not None:
            raise OutputError(f"{folder}: holds spikes of process {process} already. Give the run another directory.")

    def append(self, step0: int, step1: int, steps: np.ndarray, ids: np.ndarray) -> None:
        """Write the spikes of the chunk [step0, step1): int64 steps and global ids, sorted by (step, id)."""
        assert len(steps) == len(ids) and step1 - step0 < 2**32
        assert len(steps) == 0 or (step0 <= steps[0] and steps[-1] < step1 and ids.min() >= 0)
        id_bytes = 4 if len(ids) == 0 or int(ids.max()) < 2**32 else 8
        offsets = (np.asarray(steps, dtype=np.int64) - step0).astype("<u4")
        self.append_bytes(
            step0, step1, len(steps), id_bytes, offsets.tobytes() + np.asarray(ids).astype(f"<u{id_bytes}").tobytes()
        )

    def append_bytes(self, step0: int, step1: int, count: int, item_bytes: int, payload: bytes) -> None:
        """Write what the chunk [step0, step1) has given, as a payload of `count` things; `item_bytes` helps to read it."""
        assert step0 < step1 and (self.end_step is None or step0 >= self.end_step), (step0, step1, self.end_step)
        header = HEADER.pack(
            MAGIC, VERSION, item_bytes, self._process, self._processes, self._sequence, self._dt,
            step0, step1, count, len(payload), xxhash.xxh3_64_intdigest(payload),
        )  # fmt: skip
        self._write(header + CHECKSUM.pack(xxhash.xxh3_64_intdigest(header)) + payload)
        self._sequence += 1
        self.end_step = int(step1)

    def sync(self) -> None:
        """Return when everything appended is on the disk."""
        if self._file is not None:
            try:
                os.fsync(self._file)
            except OSError as error:
                raise unwritten(self._path, self._size, error) from error

    def close(self) -> None:
        """Flush to the disk and close; a later append goes on where this one ended."""
        if self._file is not None:
            self.sync()
            file, self._file = self._file, None
            try:
                os.close(file)
            except OSError as error:  # a network file system may say only now what it could not write
                raise unwritten(self._path, self._size, error) from error

    @property
    def _path(self) -> Path:
        return segment_path(self._folder, self._process, self._number)

    def _write(self, block: bytes) -> None:
        if self._size >= self._segment_bytes:
            self.close()
            self._number, self._size = self._number + 1, 0
        view, written = memoryview(block), 0
        try:
            if self._file is None:
                # No O_APPEND: after a failed write the position is set back, and the next block overwrites the torn one.
                self._file = os.open(self._path, os.O_WRONLY | os.O_CREAT, 0o666)
                os.lseek(self._file, self._size, os.SEEK_SET)
            while written < len(block):
                written += os.write(self._file, view[written:])
        except OSError as error:
            self._take_back()
            raise unwritten(self._path, len(block), error) from error
        self._size += len(block)

    def _take_back(self) -> None:
        if self._file is None:
            return
        try:
            os.ftruncate(self._file, self._size)
            os.lseek(self._file, self._size, os.SEEK_SET)
        except OSError:
            # The torn block stays; the reader stops before it. The next append opens the file anew at the old size.
            os.close(self._file)
            self._file = None
