"""Spikes as a SONATA file, one group per population.

Source: the SONATA data format, https://github.com/BlueBrain/sonata-extension; read back with libsonata 0.2.2.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import h5py
import numpy as np

from dist_sim.errors import OutputError, ParameterError
from dist_sim.run.disk_errors import remove_quietly, unwritten
from dist_sim.run.recorded import Spikes

SORTING = {"none": 0, "by_id": 1, "by_time": 2}
MAGIC = 0x0A7A
VERSION = (0, 1)
BYTES_PER_SPIKE = 16
ROOM = 1 << 20
AT_ONCE = 1 << 18  # spikes


def write_spikes(path: Path, populations: Sequence[tuple[str, int, int]], spikes: Spikes) -> None:
    """Write `spikes.h5`: `/spikes/<population>/timestamps` [ms] and `node_ids`, local to the population, by time.

    The file appears under its name only when it is whole. Spikes are read block by block, twice.

    Args:
        path: the file to write; replaced if it is there.
        populations: (name, first global id, size) each, without overlap.
        spikes: a spike of step k has the time stamp (k + 1) dt: the end of its step.

    Raises:
        ParameterError: population names that HDF5 cannot hold or that are not unique; a spike of no population.
        OutputError: the disk is full or the file cannot be written; an older file is untouched.
    """
    path = Path(path)
    _check(populations)
    counts = np.zeros(len(populations), np.int64)
    for _, ids in _large_blocks(spikes):
        counts += [len(mine) for mine in spikes_of(populations, ids)]
    if (outside := spikes.count - int(counts.sum())) > 0:
        raise ParameterError(f"{path}: {outside} spikes are of ids in no population. Name the populations of all ids.")
    temporary = path.with_name(f".{path.name}.tmp")
    needed = BYTES_PER_SPIKE * spikes.count + ROOM
    try:
        if shutil.disk_usage(path.parent).free < needed:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        # On a full disk HDF5 can leave zeros in a file that looks whole, or crash; a file of Python's says that it is full.
        with temporary.open("w+b") as raw:
            with h5py.File(raw, "w", libver=("earliest", "v110")) as file:
                file.attrs.create("magic", MAGIC, dtype=np.uint32)
                file.attrs.create("version", VERSION, dtype=np.uint32)
                _write(file.create_group("spikes"), populations, counts, spikes)
            raw.flush()
            os.fsync(raw.fileno())
        os.replace(temporary, path)
    except OutputError:
        temporary.unlink(missing_ok=True)
        raise
    except OSError as error:
        failed = unwritten(path, needed, error)
        remove_quietly(temporary)
        raise failed from error


def spikes_of(populations: Sequence[tuple[str, int, int]], ids: np.ndarray) -> list[np.ndarray]:
    """For each population the indices of its spikes in `ids`, in their order; one pass for any number of populations."""
    by_first = sorted(range(len(populations)), key=lambda k: populations[k][1:])
    firsts = np.array([populations[k][1] for k in by_first], dtype=np.int64)
    ends = firsts + np.array([populations[k][2] for k in by_first], dtype=np.int64)
    # The last population that begins at or before an id; populations of size 0 sort before the one that begins with them.
    place = np.searchsorted(firsts, ids, side="right") - 1
    inside = place >= 0
    inside[inside] = ids[inside] < ends[place[inside]]
    place = np.where(inside, place, len(by_first)).astype(np.uint16 if len(by_first) < 2**16 else np.int64)
    order = np.argsort(place, kind="stable")
    bounds = np.searchsorted(place[order], np.arange(len(by_first) + 1))
    parts = [np.empty(0, np.int64)] * len(populations)
    for at, k in enumerate(by_first):
        parts[k] = order[bounds[at] : bounds[at + 1]]
    return parts


def _write(group: h5py.Group, populations: Sequence[tuple[str, int, int]], counts: np.ndarray, spikes: Spikes) -> None:
    datasets = []
    for (name, _, _), count in zip(populations, counts, strict=True):
        its = group.create_group(name)
        its.attrs.create("sorting", SORTING["by_time"], dtype=h5py.enum_dtype(SORTING, basetype="u1"))
        timestamps, node_ids = its.create_dataset("timestamps", (count,), "<f8"), its.create_dataset("node_ids", (count,), "<u8")
        timestamps.attrs["units"] = "ms"
        datasets.append((timestamps, node_ids))
    done = np.zeros(len(populations), np.int64)
    for steps, ids in _large_blocks(spikes):
        for k, mine in enumerate(spikes_of(populations, ids)):
            if len(mine):
                part = slice(done[k], done[k] + len(mine))
                datasets[k][0][part] = (steps[mine] + 1) * spikes.dt
                datasets[k][1][part] = (ids[mine] - populations[k][1]).astype(np.uint64)
                done[k] += len(mine)


def _large_blocks(spikes: Spikes) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The blocks of spikes, small ones joined: each costs a pass over all populations."""
    waiting: list[tuple[np.ndarray, np.ndarray]] = []
    number = 0
    for block in spikes.blocks():
        waiting.append(block)
        number += len(block[0])
        if number >= AT_ONCE:
            yield _joined(waiting)
            waiting, number = [], 0
    if waiting:
        yield _joined(waiting)


def _joined(blocks: Sequence[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    steps, ids = zip(*blocks, strict=True)
    return np.concatenate(steps), np.concatenate(ids)


def _check(populations: Sequence[tuple[str, int, int]]) -> None:
    names = [name for name, _, _ in populations]
    for name in names:
        if not name or "/" in name or name in (".", "..") or "\0" in name:
            raise ParameterError(f"population name {name!r}: cannot name a group in an HDF5 file. Use letters, digits, _ and -.")
        if names.count(name) > 1:
            raise ParameterError(f"population name {name!r} is used by {names.count(name)} populations. Give each its own.")
    ordered = sorted((first, size, name) for name, first, size in populations if size > 0)
    for (first, size, name), (following, _, other) in zip(ordered, ordered[1:], strict=False):
        if first + size > following:
            raise ParameterError(f"populations {name!r} and {other!r} both hold id {following}. Name each id once.")
