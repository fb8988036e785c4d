"""A disk that fails, whatever was being done: one line that names the file and says why, and code 74."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from dist_sim.commands.app import main
from dist_sim.errors import OutputError
from dist_sim.io.report import save
from dist_sim.io.sonata import write_spikes
from dist_sim.run.checkpoint_files import begin_checkpoint, mend_checkpoints, remove_checkpoint, write_checkpoint
from dist_sim.run.directory import RunDirectory, write_atomically
from dist_sim.run.disk_errors import made
from dist_sim.run.recorded import Spikes
from dist_sim.run.segments import SegmentWriter

ERRORS = [errno.EROFS, errno.EIO, errno.ENOSPC]


class Picture:
    def savefig(self, path, format):
        Path(path).write_bytes(b"")


def written(folder):
    writer = SegmentWriter(folder / "spikes", 0, 0.1)
    writer.append(0, 10, np.arange(10), np.arange(10))
    return writer


def checkpointed(folder):
    write_checkpoint(folder, 3, {"V": np.arange(3.0)}, {})
    return folder


def put_aside(folder):
    (folder / ".000000000003.aside").mkdir()
    return folder


SPIKES = Spikes.of(np.arange(10), np.arange(10), 0.1)
# What is done, on what was there before; and the calls that fail then.
CASES = {
    "first block": (lambda f: SegmentWriter(f / "spikes", 0, 0.1), lambda w: w.append(0, 1, *np.zeros((2, 1), int)), "open"),
    "segment": (written, lambda w: w.append(10, 20, np.arange(10, 20), np.arange(10)), "write"),
    "segment on the disk": (written, lambda w: w.sync(), "fsync"),
    "end of a segment": (written, lambda w: w.close(), "close"),
    "folder of segments": (lambda f: f / "spikes", lambda f: SegmentWriter(f, 0, 0.1), "mkdir"),
    "checkpoint": (lambda f: f, lambda f: begin_checkpoint(f, 3), "mkdir"),
    "name of a checkpoint": (lambda f: f, lambda f: write_checkpoint(f, 3, {"V": np.arange(3.0)}, {}), "replace"),
    "old checkpoint": (checkpointed, lambda f: remove_checkpoint(f, 3), "replace"),
    "checkpoint put aside": (put_aside, mend_checkpoints, "replace"),
    "new text": (lambda f: f, lambda f: write_atomically(f / "status.json", "{}"), "open"),
    "name of a text": (lambda f: f, lambda f: write_atomically(f / "status.json", "{}"), "replace"),
    "log": (lambda f: RunDirectory(f / "run"), lambda d: d.log("a line"), "Path.open"),
    "run directory": (lambda f: f / "run", RunDirectory, "mkdir"),
    "results": (lambda f: RunDirectory.join(f, 1), lambda d: d.results_of_script(), "mkdir"),
    "folder": (lambda f: f / "a" / "b", made, "mkdir"),
    "SONATA": (lambda f: f, lambda f: write_spikes(f / "spikes.h5", [("all", 0, 10)], SPIKES), "Path.open"),
    "name of SONATA": (lambda f: f, lambda f: write_spikes(f / "spikes.h5", [("all", 0, 10)], SPIKES), "replace"),
    "picture": (lambda f: f, lambda f: save(Picture(), f / "raster.png"), "replace"),
}  # fmt: skip


@pytest.mark.parametrize("number", ERRORS, ids=[errno.errorcode[n] for n in ERRORS])
@pytest.mark.parametrize("case", CASES)
def test_what_cannot_be_written_is_named(tmp_path, monkeypatch, case, number):
    before, act, fails = CASES[case]
    there = before(tmp_path)

    def refuse(*args, **kwargs):
        raise OSError(number, os.strerror(number), str(args[0]))

    with monkeypatch.context() as patch:
        owner, name = (Path, "open") if fails == "Path.open" else (os, fails)
        patch.setattr(owner, name, refuse)
        # Nor can what is half written be removed.
        for function in ("unlink", "rmdir"):
            patch.setattr(os, function, refuse)
            patch.setattr(Path, function, refuse)
        with pytest.raises(OutputError, match=os.strerror(number)) as found:
            act(there)
    assert str(tmp_path) in str(found.value)
    with suppress(AttributeError):
        there.close()


@pytest.mark.parametrize("number", ERRORS, ids=[errno.errorcode[n] for n in ERRORS])
@pytest.mark.parametrize("command", ["export", "digest", "status", "runs"])
def test_a_command_on_a_disk_that_fails_ends_with_one_line(tmp_path, monkeypatch, capsys, command, number):
    directory = RunDirectory(tmp_path / "run")
    written(directory.path).close()
    directory.write_json("spikes.json", {"populations": [["all", 0, 10]]})
    directory.write_json("status.json", {"state": "done"})
    directory.close()

    def refuse(path, *args, **kwargs):
        raise OSError(number, os.strerror(number), str(path))

    monkeypatch.setattr(Path, "glob", refuse)
    monkeypatch.setattr(Path, "iterdir", refuse)
    assert main([command, str(tmp_path if command == "runs" else directory.path)]) == 74
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and f"{tmp_path}" in said and os.strerror(number) in said


LATE = """
import asyncio, sys, time
import numpy as np, tensorstore
from dist_sim.run.process_checkpointer import own_checkpointer

told = []
sys.unraisablehook = lambda about: told.append(str(about.exc_value))
own_checkpointer()
values = np.random.default_rng(1).random(4_000_000)

async def begun():
    place = {"driver": "zarr", "kvstore": {"driver": "file", "path": sys.argv[1]}}
    store = await tensorstore.open(place, create=True, dtype=values.dtype, shape=values.shape)
    writing = store.write(values)

    async def written():
        await writing

    waiting = asyncio.ensure_future(written())
    await asyncio.sleep(0)
    return writing, waiting

loop = asyncio.new_event_loop()
writing, waiting = loop.run_until_complete(begun())
loop.close()
writing.result()
time.sleep(0.5)

class Fails:
    def __del__(self):
        raise RuntimeError("another")

Fails()
print(told)
"""


def test_writes_that_end_after_a_failed_checkpoint_say_nothing(tmp_path):
    """Orbax has closed the event loop that they call."""
    done = subprocess.run([sys.executable, "-c", LATE, str(tmp_path)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and done.stdout == "['another']\n", done.stdout + done.stderr
