"""Append-only spike segments: what is on disk while a run goes on, and what survives its death.

A process appends one block per chunk to `seg-<process>-<k>.bin` and never touches a written byte again, so a killed
process costs at most its last block (HDF5 written while running loses whole files). A block is a header and a payload,
each with its own checksum (xxh3, 64 bits), little-endian:

    header   magic, version, bytes per id, process, processes, sequence number, dt [ms], step0, step1, spikes, payload
             bytes, payload checksum, header checksum
    payload  uint32 step - step0, one per spike; then the global ids, uint32 (uint64 where one does not fit)

The sequence number counts the blocks of a process, so that a lost segment in the middle is seen.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, final

import numpy as np
import xxhash

from dist_sim.errors import OutputError

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


@final
class SegmentWriter:
    """Appends the spikes of one process, one block per chunk.

    Args:
        folder: where the segments go; made if missing, and without segments of this process.
        process, processes: which process this is, of how many.
        dt: the step, ms.
        segment_bytes: a new file is begun once the last one is this long.

    Raises:
        OutputError: segments of this process are there already, or a write fails. What was written stays readable, and
            the same block can be appended again once there is room.
    """

    def __init__(self, folder: Path, process: int, dt: float, *, processes: int = 1, segment_bytes: int = SEGMENT_BYTES):
        self._folder, self._process, self._processes = Path(folder), process, processes
        self._dt, self._segment_bytes = float(dt), segment_bytes
        self._number = self._sequence = self._size = 0
        self._file: int | None = None
        self.end_step: int | None = None
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"{folder}: cannot make the folder of the spike segments: {error.strerror}.") from error
        if next(self._folder.glob(f"seg-{process:05d}-*.bin"), None) is not None:
            raise OutputError(f"{folder}: holds spikes of process {process} already. Give the run another directory.")

    def append(self, step0: int, step1: int, steps: np.ndarray, ids: np.ndarray) -> None:
        """Write the spikes of the chunk [step0, step1): int64 steps and global ids, sorted by (step, id)."""
        assert step0 < step1 and (self.end_step is None or step0 >= self.end_step), (step0, step1, self.end_step)
        assert len(steps) == len(ids) and step1 - step0 < 2**32
        assert len(steps) == 0 or (step0 <= steps[0] and steps[-1] < step1 and ids.min() >= 0)
        id_bytes = 4 if len(ids) == 0 or int(ids.max()) < 2**32 else 8
        offsets = (np.asarray(steps, dtype=np.int64) - step0).astype("<u4")
        payload = offsets.tobytes() + np.asarray(ids).astype(f"<u{id_bytes}").tobytes()
        header = HEADER.pack(
            MAGIC, VERSION, id_bytes, self._process, self._processes, self._sequence, self._dt,
            step0, step1, len(steps), len(payload), xxhash.xxh3_64_intdigest(payload),
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
                raise OutputError(f"{self._path}: cannot be brought to the disk: {error.strerror}.") from error

    def close(self) -> None:
        """Flush to the disk and close; a later append goes on where this one ended."""
        if self._file is not None:
            self.sync()
            os.close(self._file)
            self._file = None

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
                self._file = os.open(self._path, os.O_WRONLY | os.O_CREAT, 0o640)
                os.lseek(self._file, self._size, os.SEEK_SET)
            while written < len(block):
                written += os.write(self._file, view[written:])
        except OSError as error:
            self._take_back()
            raise OutputError(_failed_write(self._path, error, len(block), len(block) - written)) from error
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


@final
@dataclass(frozen=True, kw_only=True)
class Block:
    """The spikes of [step0, step1), sorted by (step, id); steps and ids are int64."""

    step0: int
    step1: int
    steps: np.ndarray
    ids: np.ndarray


@final
@dataclass(frozen=True, kw_only=True)
class _Place:
    path: Path
    offset: int
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


@final
class SegmentReader:
    """Reads the segments of all processes (or of one) as blocks in step order; spikes in a block sorted by (step, id).

    A torn end (a process killed while it wrote) is left out, for all processes from that step on, and told in `torn`.

    Raises:
        OutputError: no segments; a file that cannot be read; a block damaged or missing anywhere but at a torn end.
    """

    def __init__(self, folder: Path, process: int | None = None):
        self._folder = Path(folder)
        self.torn: list[str] = []
        self._blocks = self._scan(process)
        dts = {place.dt for place in self._blocks}
        if len(dts) > 1:
            raise OutputError(f"{folder}: segments with different steps, {sorted(dts)} ms: these are of several runs.")
        self.dt: float | None = dts.pop() if dts else None

    @property
    def spikes(self) -> int:
        """How many spikes the readable blocks hold."""
        return sum(place.spikes for place in self._blocks)

    def __iter__(self) -> Iterator[Block]:
        group: list[_Place] = []
        end = 0
        for place in self._blocks:
            # Chunks that overlap in time (those of several processes) are merged, so that the order is global.
            if group and place.step0 >= end:
                yield _merged(group)
                group = []
            end = max(end, place.step1) if group else place.step1
            group.append(place)
        if group:
            yield _merged(group)

    def arrays(self) -> tuple[np.ndarray, np.ndarray]:
        """All (steps, ids), int64, sorted by (step, id)."""
        steps, ids = np.empty(self.spikes, np.int64), np.empty(self.spikes, np.int64)
        at = 0
        for block in self:
            steps[at : at + len(block.steps)], ids[at : at + len(block.ids)] = block.steps, block.ids
            at += len(block.steps)
        return steps, ids

    def _scan(self, process: int | None) -> list[_Place]:
        files: dict[int, dict[int, Path]] = {}
        for path in self._folder.glob("seg-*.bin"):
            if (match := SEGMENT_NAME.fullmatch(path.name)) and process in (None, int(match[1])):
                files.setdefault(int(match[1]), {})[int(match[2])] = path
        if not files:
            raise OutputError(f"{self._folder}: no spike segments here (seg-*.bin). Is this the directory of a run?")
        by_process = {index: self._scan_process(index, files[index]) for index in sorted(files)}
        announced = max((places[0].processes for places in by_process.values() if places), default=0)
        if process is None and (missing := sorted(set(range(announced)) - set(files))):
            raise OutputError(f"{self._folder}: the segments of process {missing} are missing, of {announced} processes.")
        # A chunk counts when every process has written it.
        limit = min(places[-1].step1 if places else 0 for places in by_process.values())
        places = [place for places in by_process.values() for place in places]
        readable = [place for place in places if place.step1 <= limit]
        if len(readable) < len(places):
            self.torn.append(f"{self._folder}: not every process has written the spikes from step {limit} on; left out")
        return sorted(readable, key=lambda place: (place.step0, place.process))

    def _scan_process(self, process: int, files: dict[int, Path]) -> list[_Place]:
        places: list[_Place] = []
        last = max(files)
        if missing := sorted(set(range(last)) - set(files)):
            name = segment_path(self._folder, process, missing[0])
            raise OutputError(f"{name}: this segment is missing, and later ones are there. Bring it back from a copy.")
        for number in range(last + 1):
            path = files[number]
            try:
                with path.open("rb") as file:
                    self._scan_file(path, file, number == last, process, places)
            except OSError as error:
                if isinstance(error, OutputError):
                    raise
                raise OutputError(f"{path}: cannot be read: {error.strerror}.") from error
        return places

    def _scan_file(self, path: Path, file: BinaryIO, last: bool, process: int, places: list[_Place]) -> None:
        size, offset = os.fstat(file.fileno()).st_size, 0
        while offset < size:
            file.seek(offset)
            raw = file.read(HEADER_BYTES)
            whole = len(raw) == HEADER_BYTES
            sound = whole and CHECKSUM.unpack(raw[HEADER.size :])[0] == xxhash.xxh3_64_intdigest(raw[: HEADER.size])
            if not whole or (not sound and not any(raw) and not any(file.read())):
                self._tear(path, offset, last)  # cut in the header, or zeros that a file system left after a power failure
                return
            fields = HEADER.unpack(raw[: HEADER.size])
            if not sound or fields[0] != MAGIC:
                raise OutputError(_damaged(path, offset, "its header"))
            if fields[1] != VERSION:
                raise OutputError(f"{path}: written in version {fields[1]} of the format; this program reads {VERSION}.")
            place = _Place(
                path=path, offset=offset + HEADER_BYTES, id_bytes=fields[2], process=fields[3], processes=fields[4],
                sequence=fields[5], dt=fields[6], step0=fields[7], step1=fields[8], spikes=fields[9],
                payload_bytes=fields[10], checksum=fields[11],
            )  # fmt: skip
            if place.process != process or place.sequence != len(places):
                raise OutputError(
                    f"{path}: block {place.sequence} of process {place.process} at byte {offset}, where block {len(places)} of "
                    f"process {process} should be: blocks were lost or files renamed."
                )
            if place.offset + place.payload_bytes > size:
                self._tear(path, offset, last)
                return
            places.append(place)
            offset = place.offset + place.payload_bytes

    def _tear(self, path: Path, offset: int, last: bool) -> None:
        if not last:
            raise OutputError(_damaged(path, offset, "its end is cut off"))
        self.torn.append(f"{path}: the last block, at byte {offset}, is torn (a process ended while it wrote); left out")


def _merged(group: list[_Place]) -> Block:
    parts = [_read(place) for place in group]
    steps = np.concatenate([part[0] for part in parts])
    ids = np.concatenate([part[1] for part in parts])
    if len(parts) > 1:
        order = np.lexsort((ids, steps))
        steps, ids = steps[order], ids[order]
    return Block(step0=min(place.step0 for place in group), step1=max(place.step1 for place in group), steps=steps, ids=ids)


def _read(place: _Place) -> tuple[np.ndarray, np.ndarray]:
    try:
        with place.path.open("rb") as file:
            file.seek(place.offset)
            payload = file.read(place.payload_bytes)
    except OSError as error:
        raise OutputError(f"{place.path}: cannot be read: {error.strerror}.") from error
    if len(payload) != place.payload_bytes or xxhash.xxh3_64_intdigest(payload) != place.checksum:
        raise OutputError(_damaged(place.path, place.offset, "its spikes"))
    offsets = np.frombuffer(payload, "<u4", place.spikes)
    ids = np.frombuffer(payload, f"<u{place.id_bytes}", place.spikes, offset=4 * place.spikes)
    return offsets.astype(np.int64) + place.step0, ids.astype(np.int64)


def _damaged(path: Path, offset: int, what: str) -> str:
    return f"{path}: the block at byte {offset} is damaged ({what}): the file was changed after writing, or the disk failed."


def _failed_write(path: Path, error: OSError, size: int, missing: int) -> str:
    text = f"{path}: {missing} of {size} bytes of a block could not be written: {error.strerror}."
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        free = shutil.disk_usage(path.parent).free
        text += f" {free} bytes are free; make room, or give another --out."
    return text + " All earlier blocks stay readable."
