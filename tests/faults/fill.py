"""Fills a small file system while a plastic run writes to it, or makes it read-only, at one point after the other.

    python tests/faults/fill.py          # as root: it mounts a tmpfs

Each run must end with code 74 and one message that names a path, and the bytes that are missing or that the file system is
read-only; what was there before stays readable: committed checkpoints, and spikes up to the last block. `dist-sim export` of
such a run ends alike, and `dist-sim digest` as ever. Once there is room again, `dist-sim resume` ends with what the unbroken run
says.
"""

from __future__ import annotations

import argparse
import functools
import importlib
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from faults.kill import FORKS, Run, check_prefix, check_same, command

# Where, and before which of its calls the disk takes no more: module, function in it, number of the call.
POINTS = {
    "spike segment": ("dist_sim.run.segments", "SegmentWriter._write", 40),
    "checkpoint arrays": ("orbax.checkpoint", "Checkpointer.save", 3),
    "checkpoint manifest": ("dist_sim.run.checkpoint_files", "write_atomically", 3),
    "checkpoint commit": ("dist_sim.run.checkpoint_files", "write_atomically", 4),
    "status": ("dist_sim.run.directory", "RunDirectory.update_status", 7),
    "log": ("dist_sim.run.directory", "RunDirectory.log", 1),
    "summary": ("dist_sim.run.session", "Session.finish", 1),
    "SONATA export": ("dist_sim.io.sonata", "_write", 1),
    "picture": ("dist_sim.commands.script", "raster_and_rates", 1),
}
DISK_MIB = 24
TOLD = {"full": r"\d+ bytes are missing", "read-only": "Read-only file system"}
# A file that is open stays writable when its folder is mounted anew: of these points nothing is seen.
SEEN = {"full": list(POINTS), "read-only": [point for point in POINTS if point != "spike segment"]}


@contextmanager
def small_disk(path: Path) -> Iterator[Path]:
    """A file system of a few MiB.

    Raises:
        PermissionError: this process may not mount one.
    """
    path.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_MIB}m", "tmpfs", str(path)], capture_output=True).returncode:
        raise PermissionError("a tmpfs cannot be mounted here")
    try:
        yield path
    finally:
        while path.is_mount():
            subprocess.run(["umount", "-l", str(path)], check=True)


def fill(disk: Path) -> None:
    """Takes all the room there is."""
    with suppress(OSError), (disk / "ballast").open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))


def forbid(disk: Path) -> None:
    """Makes the file system read-only, for every file that is opened from now on."""
    for words in (["--bind", str(disk), str(disk)], ["-o", "remount,bind,ro", str(disk)]):
        subprocess.run(["mount", *words], check=True)


def allow(disk: Path) -> None:
    """The inverse of `forbid`."""
    subprocess.run(["umount", "-l", str(disk)], check=True)


def striking(words: Sequence[str], log: str, kind: str, point: str, disk: str) -> None:
    """`dist-sim WORDS` on a disk that takes no more from a point on. Every block is saved, however fast it is simulated."""
    from dist_sim.run.checkpoint import Checkpoints
    from dist_sim.run.progress import Progress

    due = Checkpoints.due
    Checkpoints.due = lambda self: self.wait() or due(self)
    module, names, number = POINTS[point]
    *owners, name = names.split(".")
    owner = functools.reduce(getattr, owners, importlib.import_module(module))
    original, left = getattr(owner, name), [number]

    @functools.wraps(original)
    def called(*args, **options):
        left[0] -= 1
        if left[0] == 0:
            if point == "spike segment":  # nothing but segments is to be written from here on
                Checkpoints.due, Progress.update = (lambda self: False), (lambda *_, **__: None)
            (fill if kind == "full" else forbid)(Path(disk))
        return original(*args, **options)

    setattr(owner, name, called)
    command(words, log)


def exported(disk: Path, run: Run, kind: str) -> None:
    """`dist-sim export` and `digest` on such a disk."""
    if not run.spikes()[0]:
        return
    log = run.beside / "exported.log"
    for words, code in ((["export", str(run.out)], 74), (["digest", str(run.out)], 0)):
        process = FORKS.Process(target=command, args=(words, str(log)))
        process.start()
        process.join(100)
        assert process.exitcode == code, f"{words}: {process.exitcode}: {log.read_text()}"
    told = log.read_text()
    assert told.count("OutputError") == 1 and re.search(rf"OutputError: {disk}/\S+: .*{TOLD[kind]}", told), told
    assert "Traceback" not in told, told
    log.unlink()


def campaign(folder: Path, points: Sequence[str], milliseconds: float, kind: str = "full") -> list[str]:
    """One run per point; the messages."""
    whole = Run(folder / "whole", milliseconds, folder)
    whole.start(1)
    assert whole.end() == 0, whole.told()
    wanted, (_, steps, ids), messages = whole.said(), whole.spikes(), []
    for number, point in enumerate(points):
        with small_disk(folder / f"disk-{number}") as disk:
            run = Run(disk / f"run-{number}", milliseconds, folder)
            run.start(1, striking, kind, point, str(disk))
            assert run.end() == 74, f"{point}: {run.process.exitcode}: {run.told()}"
            told = [line for line in run.told().splitlines() if "OutputError: " in line]
            pattern = rf"OutputError: {re.escape(str(disk))}/\S+: .*{TOLD[kind]}"
            assert len(told) == 1 and re.search(pattern, told[0]), f"{point}: {run.told()}"
            assert "Traceback" not in run.told(), f"{point}: {run.told()}"
            run.sound_checkpoints()
            check_prefix(run, steps, ids)
            exported(disk, run, kind)
            os.unlink(disk / "ballast") if kind == "full" else allow(disk)
            run.start(2)
            assert run.end() == 0, f"{point}: {run.told()}"
            check_same(run, wanted)
            messages.append(f"{point}: {told[0].replace(str(folder), '')}")
            print(messages[-1], flush=True)
    return messages


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--milliseconds", type=float, default=400.0)
    parser.add_argument("--points", nargs="*", choices=POINTS, default=list(POINTS))
    given = parser.parse_args()
    for kind, seen in SEEN.items():
        points = [point for point in given.points if point in seen]
        with tempfile.TemporaryDirectory() as folder:
            messages = campaign(Path(folder), points, given.milliseconds, kind)
        print(f"{kind}: {len(messages)} of {len(points)} points: code 74, path and cause told, resumed to the unbroken run")


if __name__ == "__main__":
    main()
