"""One checkpoint on the disk: arrays by Orbax, and a checksum of ours for every array and every file.

    <step>/state/           the arrays, written by Orbax
           manifest.json    what the run was, shape, dtype and checksum of every array, size and checksum of every file of state/
           commit.json      checksum of the manifest; written last, before the folder gets its name

Orbax restores flipped bits without a word (180 of 180 tried), hence the checksums (xxh3, 128 bits).
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
import xxhash

from dist_sim.errors import OutputError
from dist_sim.run.directory import sync_folder, write_atomically

VERSION = 1
# Files beside the arrays: metadata, manifest, and what a file system needs for them.
_BESIDES = 1 << 20


def write_checkpoint(folder: Path, step: int, arrays: Mapping[str, np.ndarray], facts: Mapping[str, Any]) -> Path:
    """Write a checkpoint and bring it to the disk; a crash at any moment leaves it whole or absent.

    Args:
        folder: of the checkpoints of one simulation.
        arrays: by name. facts: what else the manifest says, for JSON.

    Raises:
        OutputError: it cannot be written; what was there before is untouched, and nothing half-written stays.
    """
    path, temporary = checkpoint_path(folder, step), folder / f".{step:012d}.tmp"
    size = sum(array.nbytes for array in arrays.values())
    try:
        folder.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir()
        if (free := shutil.disk_usage(folder).free) < size + _BESIDES:
            raise OutputError(
                f"{path}: the checkpoint takes {size + _BESIDES} bytes and {free} are free: {size + _BESIDES - free} bytes are "
                "missing. Make room; earlier checkpoints are untouched."
            )
        stored = {name: array for name, array in arrays.items() if array.size}
        if stored:
            _orbax().save((temporary / "state").absolute(), stored)
        files = [file for file in sorted(temporary.rglob("*")) if file.is_file()]
        manifest = {
            "version": VERSION,
            "step": step,
            **facts,
            "arrays": {
                name: {"shape": list(a.shape), "dtype": str(a.dtype), "xxh3": _checksum(np.ascontiguousarray(a).data)}
                for name, a in arrays.items()
            },
            "files": {str(f.relative_to(temporary)): {"bytes": f.stat().st_size, "xxh3": _file_checksum(f)} for f in files},
        }
        text = json.dumps(manifest, indent=1) + "\n"
        write_atomically(temporary / "manifest.json", text)
        write_atomically(temporary / "commit.json", json.dumps({"manifest_xxh3": _checksum(text.encode())}) + "\n")
        shutil.rmtree(path, ignore_errors=True)
        os.replace(temporary, path)
        sync_folder(folder)
    except Exception as error:
        # Orbax raises errors of many classes; what they have in common is that there is no checkpoint.
        shutil.rmtree(temporary, ignore_errors=True)
        if isinstance(error, OutputError):
            raise
        free = shutil.disk_usage(folder).free if folder.is_dir() else 0
        raise OutputError(
            f"{path}: the checkpoint of {size} bytes could not be written ({free} bytes are free): {str(error)[:300]}. "
            "Earlier checkpoints are untouched."
        ) from error
    return path


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


def read_arrays(path: Path, manifest: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """The arrays of a checkpoint, each with the checksum that it was saved with.

    Raises:
        OutputError: a file or an array is damaged or missing.
    """
    for name, known in manifest["files"].items():
        try:
            size, checksum = (path / name).stat().st_size, _file_checksum(path / name)
        except OSError as error:
            raise OutputError(f"{path / name}: cannot be read: {error.strerror}.") from error
        if size != known["bytes"] or checksum != known["xxh3"]:
            raise OutputError(f"{path / name}: is damaged: its {size} bytes are not the {known['bytes']} that were written.")
    try:
        stored = _orbax().restore((path / "state").absolute()) if manifest["files"] else {}
    except Exception as error:
        raise OutputError(f"{path}: Orbax cannot read the arrays: {str(error)[:300]}.") from error
    arrays = {}
    for name, known in manifest["arrays"].items():
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


def _orbax() -> ocp.Checkpointer:
    if jax.process_count() == 1:
        return ocp.Checkpointer(ocp.PyTreeCheckpointHandler())
    # What is written is whole in one process, and no business of the others.
    me = jax.process_index()
    alone = ocp.options.MultiprocessingOptions(primary_host=me, active_processes={me}, barrier_sync_key_prefix=f"dist_sim_{me}")
    handler = ocp.PyTreeCheckpointHandler(multiprocessing_options=alone)
    return ocp.Checkpointer(handler, multiprocessing_options=alone)
