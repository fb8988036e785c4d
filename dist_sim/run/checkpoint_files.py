"""One checkpoint on the disk: arrays by Orbax, and a checksum of ours for every array and every file.

    <step>/state/<process>/   the arrays of a process's devices, written by Orbax
           manifest.json      what the run was; shape, dtype, checksum of every array; size, checksum of every file of state/
           commit.json        checksum of the manifest; written last, before the folder gets its name

Until then it is `.<step>.tmp`, where each process also leaves `<process>.json`, its part of the manifest, once its arrays are on
the disk, or `<process>.failed`. Process 0 waits for all of them. Files alone tell it: a save goes on beside the running loop, to
which the network belongs.

Orbax restores flipped bits without a word (180 of 180 tried), hence the checksums (xxh3, 128 bits).
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import xxhash

from dist_sim.errors import OutputError
from dist_sim.run.directory import sync_folder, write_atomically
from dist_sim.run.disk_errors import missing, unwritten
from dist_sim.run.process_checkpointer import own_checkpointer

VERSION = 2
# Files beside the arrays: metadata, manifest, and what a file system needs for them.
_BESIDES = 1 << 20
_LOOK_EVERY, _WAIT_FOR_PARTS = 0.05, 1800.0


def write_checkpoint(folder: Path, step: int, arrays: Mapping[str, np.ndarray], facts: Mapping[str, Any]) -> Path:
    """Write a checkpoint of one process and bring it to the disk; a crash at any moment leaves it whole or absent.

    Args:
        folder: of the checkpoints of one simulation.
        arrays: by name. facts: what else the manifest says, for JSON.

    Raises:
        OutputError: it cannot be written; what was there before is untouched, and nothing half-written stays.
    """
    begin_checkpoint(folder, step)
    with _all_or_nothing(folder, step):
        return _commit(folder, step, [_write_arrays(folder, step, 0, arrays)], facts)


def begin_checkpoint(folder: Path, step: int) -> None:
    """Make room for the parts of a checkpoint: by process 0, before any process writes its part.

    Raises:
        OutputError: the folder cannot be made.
    """
    with _all_or_nothing(folder, step):
        folder.mkdir(parents=True, exist_ok=True)
        # What a killed run has left half-written would keep the disk full.
        for left in folder.glob(".*.tmp"):
            shutil.rmtree(left, ignore_errors=True)
        (_temporary(folder, step) / "state").mkdir(parents=True)


def write_part(folder: Path, step: int, process: int, arrays: Mapping[str, np.ndarray]) -> None:
    """Write what one of several processes has, and tell process 0.

    Raises:
        OutputError: it cannot be written; process 0 then gives up the checkpoint.
    """
    place = _temporary(folder, step)
    try:
        text = json.dumps(_write_arrays(folder, step, process, arrays))
        write_atomically(place / f"{process}.json", text)
    except Exception as error:
        with suppress(OSError, OutputError):
            write_atomically(place / f"{process}.failed", str(error))
        if isinstance(error, OutputError):
            raise
        raise _not_written(folder, step, error) from error


def commit_parts(folder: Path, step: int, processes: int, facts: Mapping[str, Any]) -> Path:
    """Wait for the parts of all processes and make them a checkpoint: by process 0.

    Raises:
        OutputError: a process could not write its part, or has not for half an hour; nothing half-written stays.
    """
    place = _temporary(folder, step)
    with _all_or_nothing(folder, step):
        parts = [_awaited(place, process) for process in range(processes)]
        for process in range(processes):
            (place / f"{process}.json").unlink()
        return _commit(folder, step, parts, facts)


def _awaited(place: Path, process: int) -> dict[str, Any]:
    until = time.monotonic() + _WAIT_FOR_PARTS
    while not (place / f"{process}.json").exists():
        if (place / f"{process}.failed").exists():
            raise OutputError(f"{place}: process {process} could not write its part: {(place / f'{process}.failed').read_text()}")
        if time.monotonic() > until:
            raise OutputError(
                f"{place}: process {process} has not written its part for {_WAIT_FOR_PARTS:g} s. Is the run directory on a file "
                "system that all nodes share?"
            )
        time.sleep(_LOOK_EVERY)
    return json.loads((place / f"{process}.json").read_bytes())


def _write_arrays(folder: Path, step: int, process: int, arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Write the arrays of a process; what the manifest is to say of them."""
    place = _temporary(folder, step)
    state, size = place / "state" / str(process), sum(array.nbytes for array in arrays.values())
    if shutil.disk_usage(folder).free < size + _BESIDES:
        raise _not_written(folder, step, OSError("there is no room"), size)
    stored = {name: array for name, array in arrays.items() if array.size}
    if stored:
        try:
            own_checkpointer().save(state.absolute(), stored)
        except Exception as error:
            raise _not_written(folder, step, error, size) from error
    files = [file for file in sorted(state.rglob("*")) if file.is_file()]
    return {
        "arrays": {
            name: {"shape": list(a.shape), "dtype": str(a.dtype), "xxh3": _checksum(np.ascontiguousarray(a).data)}
            for name, a in arrays.items()
        },
        "files": {str(f.relative_to(place)): {"bytes": f.stat().st_size, "xxh3": _file_checksum(f)} for f in files},
    }


def _commit(folder: Path, step: int, parts: Sequence[Mapping[str, Any]], facts: Mapping[str, Any]) -> Path:
    path, place = checkpoint_path(folder, step), _temporary(folder, step)
    files = {name: known for part in parts for name, known in part["files"].items()}
    manifest = {"version": VERSION, "step": step, **facts, "arrays": [part["arrays"] for part in parts], "files": files}
    text = json.dumps(manifest, indent=1) + "\n"
    write_atomically(place / "manifest.json", text)
    write_atomically(place / "commit.json", json.dumps({"manifest_xxh3": _checksum(text.encode())}) + "\n")
    # One of this step may be there: it stays until the new one has its name.
    with suppress(FileNotFoundError):
        os.replace(path, _aside(folder, step))
    os.replace(place, path)
    sync_folder(folder)
    shutil.rmtree(_aside(folder, step), ignore_errors=True)
    return path


@contextmanager
def _all_or_nothing(folder: Path, step: int) -> Iterator[None]:
    """Takes away what is half-written, and says why."""
    try:
        yield
    except Exception as error:
        # Orbax raises errors of many classes; what they have in common is that there is no checkpoint.
        shutil.rmtree(_temporary(folder, step), ignore_errors=True)
        if isinstance(error, OutputError):
            raise
        raise _not_written(folder, step, error) from error


def _not_written(folder: Path, step: int, error: Exception, size: int = 0) -> OutputError:
    """The error of a checkpoint of so many bytes."""
    room, told = missing(folder, size + _BESIDES), str(error)[:300].rstrip(".")
    return OutputError(
        f"{checkpoint_path(folder, step)}: the checkpoint could not be written: {told}. {room} Earlier checkpoints are untouched."
    )


def read_manifest(path: Path) -> dict[str, Any]:
    """The manifest of a checkpoint, proven to be the one that was written.

    Raises:
        OutputError: it is damaged, incomplete, or of a version that this program does not read.
    """
    try:
        text = (path / "manifest.json").read_bytes()
        commit = json.loads((path / "commit.json").read_bytes())
        sound = commit.get("manifest_xxh3") == _checksum(text)
    except (OSError, ValueError, AttributeError) as error:
        raise OutputError(f"{path}: the manifest or its commit marker cannot be read: {error}.") from error
    if not sound:
        raise OutputError(f"{path}: the manifest does not have the checksum that its commit marker says.")
    manifest = json.loads(text)
    if manifest["version"] != VERSION:
        raise OutputError(f"{path}: written in version {manifest['version']} of the format; this program reads {VERSION}.")
    return manifest


def read_arrays(path: Path, manifest: Mapping[str, Any], part: int = 0) -> dict[str, np.ndarray]:
    """The arrays of a checkpoint that one process has written, each with the checksum that it was saved with.

    Raises:
        OutputError: a file or an array is damaged or missing.
    """
    known_of, inside = manifest["arrays"][part], f"state/{part}"
    for name, known in manifest["files"].items():
        if not name.startswith(f"{inside}/"):
            continue
        try:
            size, checksum = (path / name).stat().st_size, _file_checksum(path / name)
        except OSError as error:
            raise OutputError(f"{path / name}: cannot be read: {error.strerror}.") from error
        if size != known["bytes"] or checksum != known["xxh3"]:
            raise OutputError(f"{path / name}: is damaged: its {size} bytes are not the {known['bytes']} that were written.")
    state = (path / inside).absolute()
    try:
        stored = own_checkpointer().restore(state) if any(0 not in known["shape"] for known in known_of.values()) else {}
    except Exception as error:
        raise OutputError(f"{path}: Orbax cannot read the arrays: {str(error)[:300]}.") from error
    arrays = {}
    for name, known in known_of.items():
        empty = np.zeros(known["shape"], known["dtype"])
        array = np.asarray(stored[name]) if name in stored else empty
        same = list(array.shape) == known["shape"] and str(array.dtype) == known["dtype"]
        if not same or _checksum(np.ascontiguousarray(array).data) != known["xxh3"]:
            raise OutputError(f"{path}: the array {name} is not the one that was saved.")
        arrays[name] = array
    return arrays


def checkpoint_path(folder: Path, step: int) -> Path:
    """Where the checkpoint of a step lies."""
    return folder / f"{step:012d}"


def _temporary(folder: Path, step: int) -> Path:
    return folder / f".{step:012d}.tmp"


def remove_checkpoint(folder: Path, step: int) -> None:
    """Remove a checkpoint; a crash at any moment leaves it whole or absent.

    Raises:
        OutputError: it cannot be removed.
    """
    gone = folder / f".{step:012d}.gone"
    try:
        os.replace(checkpoint_path(folder, step), gone)
    except OSError as error:
        raise unwritten(checkpoint_path(folder, step), 0, error) from error
    shutil.rmtree(gone, ignore_errors=True)


def mend_checkpoints(folder: Path) -> None:
    """Remove what a process that was killed has half written or half removed: before a run goes on."""
    for aside in folder.glob(".*.aside"):
        path = checkpoint_path(folder, int(aside.name.split(".")[1]))
        if not path.exists():
            try:
                os.replace(aside, path)
            except OSError as error:
                raise unwritten(path, 0, error) from error
    for left in (*folder.glob(".*.tmp"), *folder.glob(".*.gone"), *folder.glob(".*.aside")):
        shutil.rmtree(left, ignore_errors=True)


def _aside(folder: Path, step: int) -> Path:
    return folder / f".{step:012d}.aside"


def checkpoint_steps(folder: Path) -> list[int]:
    """Steps of the committed checkpoints, ascending."""
    return sorted(int(path.name) for path in folder.glob("[0-9]" * 12) if path.is_dir())


def _checksum(content: Any) -> str:
    return xxhash.xxh3_128_hexdigest(content)


def _file_checksum(path: Path) -> str:
    digest = xxhash.xxh3_128()
    with path.open("rb") as file:
        while block := file.read(1 << 24):
            digest.update(block)
    return digest.hexdigest()
