"""Damages checkpoints of a plastic run: each damage is noticed, and the run goes on from the checkpoint before, and says so.

    python tests/faults/corrupt.py --flips 200 --cuts 50 --deletions 50 --seed 1

Half of the flipped bits fall anywhere in the newest checkpoint, the other half into files taken in turn, so that the smallest one
is hit too. Every thirtieth damage is followed by the whole run on other devices, which must be the unbroken one.
"""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import brainunit as u
import jax

from dist_sim.run.checkpoint import CheckpointPolicy, Checkpoints
from dist_sim.run.checkpoint_files import checkpoint_path, checkpoint_steps, read_manifest
from dist_sim.run.directory import RunDirectory
from dist_sim.run.session import Session
from dist_sim.run.stop import Stopped

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from faults.network import plastic, weights
from run.checkpointed import StopAt

TOTAL = 60.0
KINDS = ("flip", "cut", "deletion")


def go(directory: RunDirectory, devices: int, chunks: int = 10**9) -> dict[str, Any] | None:
    """What a run says at its end, or None where it was stopped after some chunks; a checkpoint after each."""
    session: Any = Session(directory=directory, checkpoints=CheckpointPolicy(every=0.0, keep_last=3), stop=StopAt(chunks))  # pyright: ignore
    with session.active():
        try:
            sim, nodes = plastic(devices=devices)
            result = sim.simulate(TOTAL * u.ms)
            said = {name: result.summary[name] for name in ("digest", "spikes", "delivered_events", "in_flight_events")}
            return said | {"weights": weights(sim).tobytes(), "trace": result.trace(nodes["meter"]).mantissa.tobytes()}
        except Stopped:
            return None
        finally:
            directory.close()


def damages(path: Path, flips: int, cuts: int, deletions: int, seed: int) -> Iterator[tuple[str, Path, int]]:
    """What to do to which file, at which bit or byte."""
    draw = random.Random(seed)
    files = [file for file in sorted(path.rglob("*")) if file.is_file()]
    sizes = [file.stat().st_size for file in files]
    filled = [file for file, size in zip(files, sizes, strict=True) if size]
    for k in range(flips):
        file = filled[k // 2 % len(filled)] if k % 2 else draw.choices(files, sizes)[0]
        yield "flip", file, draw.randrange(8 * file.stat().st_size)
    for k in range(cuts):
        file = filled[k % len(filled)] if k % 2 else draw.choices(files, sizes)[0]
        yield "cut", file, draw.randrange(file.stat().st_size)
    for k in range(deletions):
        yield "deletion", files[k % len(files)], 0


def damage(kind: str, file: Path, at: int) -> None:
    """Flips one bit of a file, cuts it off at a byte, or deletes it."""
    if kind == "flip":
        content = bytearray(file.read_bytes())
        content[at // 8] ^= 1 << at % 8
        file.write_bytes(content)
    elif kind == "cut":
        file.write_bytes(file.read_bytes()[:at])
    else:
        file.unlink()


def campaign(folder: Path, flips: int, cuts: int, deletions: int, *, seed: int, whole_every: int) -> Counter[str]:
    """How many damages of each kind were noticed, and how many runs went on to be the unbroken one."""
    noticed, done = Counter[str](), 0
    wanted = go(RunDirectory(folder / "whole"), 1)
    assert wanted is not None and go(RunDirectory(folder / "run"), 1, chunks=6) is None
    checkpoints = folder / "run" / "checkpoints" / "spikes"
    before, newest = checkpoint_steps(checkpoints)[-2:]
    path, identity = checkpoint_path(checkpoints, newest), read_manifest(checkpoint_path(checkpoints, newest))["identity"]
    shutil.copytree(path, folder / "sound")
    for kind, file, at in damages(path, flips, cuts, deletions, seed):
        damage(kind, file, at)
        done += 1
        if done % whole_every == 0:
            shutil.copytree(folder / "run", copy := folder / f"run-{done}")
            assert go(RunDirectory.resume(copy), 2 + done % 2) == wanted, f"{kind} of {file} at {at}: another run"
            log = (copy / "log.txt").read_text()
            assert "is damaged and put aside" in log and f"resumed at {before * 0.1:g} ms" in log, log
            noticed["whole runs that were the unbroken one"] += 1
            shutil.rmtree(copy)
        told: list[str] = []
        saved = Checkpoints(checkpoints, CheckpointPolicy(), identity, 0.1, told.append).newest(10**9)
        assert saved is not None and saved.step == before, f"{kind} of {file} at {at} went unnoticed"
        assert len(told) == 1 and f"step {newest} is damaged and put aside" in told[0], told
        noticed[kind] += 1
        shutil.rmtree(checkpoints / f"{path.name}.damaged")
        shutil.copytree(folder / "sound", path)
        if done % 50 == 0:
            print(f"{done} damages noticed", flush=True)
    return noticed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for kind, number in zip(KINDS, (200, 50, 50), strict=True):
        parser.add_argument(f"--{kind}s", type=int, default=number)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    jax.config.update("jax_num_cpu_devices", 4)
    with tempfile.TemporaryDirectory() as folder:
        noticed = campaign(Path(folder), given.flips, given.cuts, given.deletions, seed=given.seed, whole_every=30)
    for what, number in noticed.items():
        print(f"{number:6d}  {what}")
    print(f"{sum(noticed[kind] for kind in KINDS)} of {given.flips + given.cuts + given.deletions} noticed")


if __name__ == "__main__":
    main()
