"""Reads spike segments back: every whole block, in step order over all processes, or an error; never other spikes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NamedTuple, final

import numpy as np
import xxhash

from dist_sim.errors import OutputError
from dist_sim.partition.processes import Processes
from dist_sim.run.directory import sync_folder
from dist_sim.run.segments import (
    CHECKSUM,
    HEADER,
    HEADER_BYTES,
    MAGIC,
    SEGMENT_NAME,
    START,
    VERSION,
    Header,
    Position,
    folder_processes,
    segment_path,
)  # fmt: skip


@final
@dataclass(frozen=True, kw_only=True)
class Block:
    """The spikes of [step0, step1), sorted by (step, id); steps and ids are int64."""

    step0: int
    step1: int
    steps: np.ndarray
    ids: np.ndarray


class _Place(NamedTuple):
    path: Path
    offset: int  # of the payload
    header: Header


@final
class SegmentReader:
    """Reads the segments of all processes (or of one) as blocks in step order; spikes in a block sorted by (step, id).

    A torn end (a process killed while it wrote) is left out, for all processes from that step on, and told in `torn`.

    Args:
        process: of one process alone.
        until: only the blocks before this step; what comes behind them is not looked at.

    Raises:
        OutputError: no segments; a file that cannot be read; a block damaged or missing anywhere but at a torn end.
    """

    def __init__(self, folder: Path, process: int | None = None, *, until: int | None = None):
        self._folder, self._until = Path(folder), until
        self.torn: list[str] = []
        self._blocks = self._scan(process)
        dts = {place.header.dt for place in self._blocks}
        if len(dts) > 1:
            raise OutputError(f"{folder}: segments with different steps, {sorted(dts)} ms: these are of several runs.")
        self.dt: float | None = dts.pop() if dts else None

    @property
    def end_step(self) -> int:
        """Up to which step there are blocks; 0 if there are none."""
        return max((place.header.step1 for place in self._blocks), default=0)

    @property
    def spikes(self) -> int:
        """How many spikes the readable blocks hold."""
        return sum(place.header.spikes for place in self._blocks)

    @property
    def headers(self) -> list[Header]:
        """Of the readable blocks, by step and process."""
        return [place.header for place in self._blocks]

    @property
    def last_place(self) -> _Place:
        """Where the last block lies."""
        return self._blocks[-1]

    def __iter__(self) -> Iterator[Block]:
        return self.since(0)

    def since(self, step: int) -> Iterator[Block]:
        """The blocks that do not end before a step."""
        group: list[_Place] = []
        end = 0
        for place in (place for place in self._blocks if place.header.step1 > step):
            # Chunks that overlap in time (those of several processes) are merged, so that the order is global.
            if group and place.header.step0 >= end:
                yield _merged(group)
                group = []
            end = max(end, place.header.step1) if group else place.header.step1
            group.append(place)
        if group:
            yield _merged(group)

    def payloads(self) -> Iterator[tuple[Header, bytes]]:
        """Header and payload of each block as they are, by step and process."""
        for place in self._blocks:
            yield place.header, _payload(place)

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
        blocks = [place.header for places in by_process.values() for place in places]
        announced = max((header.processes for header in blocks), default=0)
        if process is None and (missing := sorted(set(range(announced)) - set(files))):
            raise OutputError(f"{self._folder}: the segments of process {missing} are missing, of {announced} processes.")
        # A chunk counts when every process has written it. A run that is resumed may go on with another number of them.
        now = max(blocks, key=lambda header: header.step0).processes if blocks else 0
        since = max((header.step1 for header in blocks if header.processes != now), default=0)
        writing = list(by_process) if process is not None else range(now)
        ends = [[x.header.step1 for x in by_process[index] if x.header.processes == now] for index in writing]
        limit = min((max(since, *end) if end else since for end in ends), default=0)
        places = [place for places in by_process.values() for place in places]
        readable = [place for place in places if place.header.step1 <= limit]
        if len(readable) < len(places):
            self.torn.append(f"{self._folder}: not every process has written the spikes from step {limit} on; left out")
        return sorted(readable, key=lambda place: (place.header.step0, place.header.process))

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
        while offset < size and not self._reached(places):
            file.seek(offset)
            raw = file.read(HEADER_BYTES)
            whole = len(raw) == HEADER_BYTES
            sound = whole and CHECKSUM.unpack(raw[HEADER.size :])[0] == xxhash.xxh3_64_intdigest(raw[: HEADER.size])
            if not whole or (not sound and not any(raw) and not any(file.read())):
                self._tear(path, offset, last)  # cut in the header, or zeros that a file system left after a power failure
                return
            header = Header(*HEADER.unpack(raw[: HEADER.size]))
            if not sound or header.magic != MAGIC:
                raise OutputError(_damaged(path, offset, "its header"))
            if header.version != VERSION:
                raise OutputError(f"{path}: written in version {header.version} of the format; this program reads {VERSION}.")
            if (header.process, header.sequence) != (process, len(places)):
                raise OutputError(
                    f"{path}: block {header.sequence} of process {header.process} at byte {offset}, where block {len(places)} of "
                    f"process {process} should be: blocks were lost or files renamed."
                )
            end = offset + HEADER_BYTES + header.payload_bytes
            if end > size:
                self._tear(path, offset, last)
                return
            places.append(_Place(path, offset + HEADER_BYTES, header))
            offset = end

    def _reached(self, places: list[_Place]) -> bool:
        return self._until is not None and (self._until == 0 or bool(places and places[-1].header.step1 >= self._until))

    def _tear(self, path: Path, offset: int, last: bool) -> None:
        if not last:
            raise OutputError(_damaged(path, offset, "its end is cut off"))
        self.torn.append(f"{path}: the last block, at byte {offset}, is torn (a process ended while it wrote); left out")


def truncate_segments(folder: Path, process: int, until: int, *, exact: bool = True) -> Position:
    """Cut the segments of a process back to the end of a block, so that a writer goes on from there.

    Args:
        until: the step at which a block ends, 0 for none at all.
        exact: a block must end there; not so for one of several processes, which may have joined later or left before.

    Raises:
        OutputError: no block ends there, or one before it is damaged. Nothing is cut then.
    """
    paths = sorted(folder.glob(f"seg-{process:05d}-*.bin"))
    reader = SegmentReader(folder, process, until=until) if paths and until else None
    found = reader.end_step if reader is not None else 0
    if found > until or (exact and found != until):
        raise OutputError(f"{folder}: the spikes of process {process} end at step {found}, where {until} is needed.")
    try:
        if reader is None or found == 0:
            for path in reversed(paths):
                path.unlink()
            return START
        last = reader.last_place
        end = last.offset + last.header.payload_bytes
        for path in reversed(paths):
            if path.name > last.path.name:
                path.unlink()
        with last.path.open("r+b") as file:
            file.truncate(end)
            os.fsync(file.fileno())
        sync_folder(folder)
    except OSError as error:
        raise OutputError(f"{folder}: cannot be cut back to step {until}: {error.strerror}.") from error
    match = SEGMENT_NAME.fullmatch(last.path.name)
    assert match is not None
    return Position(int(match[2]), end, last.header.sequence + 1, until)


def cut_back(folder: Path, processes: Processes, until: int) -> Position:
    """Cut off what a run that is resumed had written from step `until` on, by however many processes; where this one goes on.

    Every process calls it, and nobody returns before all have cut.
    """
    several = folder_processes(folder)
    # Processes that are no more: process 0 sees to their segments.
    gone = [index for index in several if index >= processes.count] if processes.index == 0 else []
    elastic = processes.count > 1 or len(several) > 1
    for index in gone:
        truncate_segments(folder, index, until, exact=False)
    position = truncate_segments(folder, processes.index, until, exact=not elastic)
    processes.total(np.zeros(1, np.int64))
    return position._replace(end_step=until or None)


def _merged(group: list[_Place]) -> Block:
    parts = [_read(place) for place in group]
    steps = np.concatenate([part[0] for part in parts])
    ids = np.concatenate([part[1] for part in parts])
    if len(parts) > 1:
        order = np.lexsort((ids, steps))
        steps, ids = steps[order], ids[order]
    step0, step1 = min(place.header.step0 for place in group), max(place.header.step1 for place in group)
    return Block(step0=step0, step1=step1, steps=steps, ids=ids)


def _read(place: _Place) -> tuple[np.ndarray, np.ndarray]:
    header, payload = place.header, _payload(place)
    offsets = np.frombuffer(payload, "<u4", header.spikes)
    ids = np.frombuffer(payload, f"<u{header.id_bytes}", header.spikes, offset=4 * header.spikes)
    return offsets.astype(np.int64) + header.step0, ids.astype(np.int64)


def _payload(place: _Place) -> bytes:
    path, offset, header = place
    try:
        with path.open("rb") as file:
            file.seek(offset)
            payload = file.read(header.payload_bytes)
    except OSError as error:
        raise OutputError(f"{path}: cannot be read: {error.strerror}.") from error
    if len(payload) != header.payload_bytes or xxhash.xxh3_64_intdigest(payload) != header.checksum:
        raise OutputError(_damaged(path, offset, "its content"))
    return payload


def _damaged(path: Path, offset: int, what: str) -> str:
    return f"{path}: the block at byte {offset} is damaged ({what}): the file was changed after writing, or the disk failed."
