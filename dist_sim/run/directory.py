"""The run directory: everything a run leaves behind, in one place.

    config.json         resolved parameters                  spikes/seg-<process>-<k>.bin    while the run goes on
    provenance.json     versions, git, host, job             results/spikes.h5, raster.png   at the end
    status.json         heartbeat, replaced atomically       summary.json                    what the run was
    log.txt             one line per event                   run.lock                        held by the process that writes
    script.py           a copy of the script, as it last ran
    stdout-<process>.txt   what the script prints in processes beside 0      stacks-<process>.txt   of a run that was stuck
    stderr-<process>.txt   of several processes, what libraries write there by themselves
    results-<process>   what it puts into results in them
    samples/spikes/<of what>/seg-<process>-<k>.bin           samples of meters, and weights that a weight_recorder takes down

A second run in the same script (another Simulator, another `Run`) writes to `spikes-2/`, a third to `spikes-3/`; each then has
`results/<its name>/{spikes.h5, raster.png, summary.json}`, and `summary.json` is that of the last.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import time
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any, final

from dist_sim.errors import OutputError
from dist_sim.run.disk_errors import made, remove_quietly, unwritten
from dist_sim.run.lease import Lease

MARKS = ("provenance.json", "status.json", "summary.json", "config.json", "run.lock", "spikes")
SPIKES = re.compile(r"spikes(?:-(\d+))?")


def default_directory(script: Path) -> Path:
    """`runs/<script>-<date-time>` in the working directory; a number is added when two start in one second."""
    base = Path("runs") / f"{script.stem}-{datetime.now():%Y%m%d-%H%M%S}"
    path, number = base, 2
    while path.exists():
        path, number = base.with_name(f"{base.name}-{number}"), number + 1
    return path


def write_atomically(path: Path, content: str | bytes) -> None:
    """Replace a file so that a reader, and a crash at any moment, finds the old text or the new one, whole.

    Raises:
        OutputError: the file cannot be written; the old one is untouched.
    """
    temporary = path.with_name(f".{path.name}.tmp-{os.getpid()}")
    content = content.encode() if isinstance(content, str) else content
    try:
        with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        sync_folder(path.parent)
    except OSError as error:
        remove_quietly(temporary)
        raise unwritten(path, len(content), error) from error


def sync_folder(folder: Path) -> None:
    """Bring the names in a folder to the disk: without it a rename can be lost with the power."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@final
class RunDirectory:
    """A new run directory, made and claimed here and now, so that a bad `--out` is refused before a network is built.

    Args:
        path: a folder that does not exist, is without a run, or holds a run that failed before its first spike.

    Raises:
        OutputError: the path cannot be written, holds a run, or is being used by another process.
    """

    def __init__(self, path: Path | str):
        self._called(path)
        self._status: dict[str, Any] = {}
        self._recordings, self._loops, self._process, self.resumed, self._follows = 0, 0, 0, False, False
        self._claim = ""
        self._lease: Lease | None = None
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"--out {path}: cannot be made: {error.strerror}. Give a folder you may write to.") from error
        self._clear_failed()
        # A lock alone was left before there was a run; whether it still counts, the lease knows.
        taken = sorted(mark for mark in MARKS if mark != "run.lock" and (self.path / mark).exists())
        if taken:
            raise OutputError(
                f"--out {path}: already holds a run ({', '.join(taken)}). Give another --out, or go on with it: "
                f"dist-sim resume {path}"
            )
        self._lease = Lease(self.path / "run.lock")
        made(self.results)

    @classmethod
    def open(cls, path: Path | str) -> RunDirectory:
        """A run directory that is there, for reading.

        Raises:
            OutputError: the path is no run directory.
        """
        directory = cls.__new__(cls)
        directory._called(path)
        directory._status, directory._recordings, directory._loops = {}, 0, 0
        directory.resumed, directory._follows, directory._lease, directory._process = False, False, None, 0
        directory._claim = ""
        if not any((directory.path / mark).exists() for mark in MARKS):
            raise OutputError(f"{path}: is no run directory: none of {', '.join(MARKS)} in it.")
        return directory

    @classmethod
    def resume(cls, path: Path | str) -> RunDirectory:
        """A run directory that is there, claimed in order to go on with its run.

        Raises:
            OutputError: the path is no run directory, or its run goes on elsewhere.
        """
        directory = cls.open(path)
        directory._lease = Lease(directory.path / "run.lock")
        directory.resumed, directory._status = True, directory.read_status()
        for left in directory.path.glob(".*.tmp-*"):  # of a process that was killed while it wrote
            remove_quietly(left)
        made(directory.results)
        return directory

    @classmethod
    def join(cls, path: Path | str, process: int, *, resumed: bool = False) -> RunDirectory:
        """The directory that process 0 of a run has claimed, for another of its processes: status, log and JSON files are written
        by process 0, and nothing here writes them."""
        directory = cls.__new__(cls)
        directory._called(path)
        directory._status, directory._recordings, directory._loops = {}, 0, 0
        directory.resumed, directory._follows, directory._lease, directory._process = resumed, True, None, process
        directory._claim = directory._claimed_by()
        return directory

    def _called(self, path: Path | str) -> None:
        # A script may change the working directory.
        self.path, self._given = Path(path).absolute(), str(path)

    def __str__(self) -> str:
        return self._given

    @property
    def results(self) -> Path:
        """The folder of the files that other programs open."""
        return self.path / "results"

    def results_of_script(self) -> Path:
        """Where the script of this process puts files: the processes of a run write the same ones, each into a folder of its own.

        Raises:
            OutputError: it cannot be made.
        """
        return made(self.results if self._process == 0 else self.path / f"results-{self._process}")

    def spikes_folder(self) -> Path:
        """The folder of the newest spike segments.

        Raises:
            OutputError: the run has recorded nothing.
        """
        if not (folders := self._spikes_folders()):
            raise OutputError(f"{self.path}: this run has recorded no spikes.")
        return folders[max(folders)]

    def runs(self) -> dict[str, Path]:
        """Name -> folder of the spike segments of each run of the script, in their order.

        Raises:
            OutputError: none has recorded anything.
        """
        self.spikes_folder()
        folders = dict(sorted(self._spikes_folders().items()))
        return {(self.read_json(f"{f.name}.json") or {}).get("name", f"run-{k}"): f for k, f in folders.items()}

    def summary_of(self, name: str) -> dict[str, Any] | None:
        """The summary of a run of the script, if it has come to an end."""
        last = self.read_json("summary.json")
        return last if last is not None and last.get("name", name) == name else self.read_json(f"results/{name}/summary.json")

    def new_spikes_folder(self) -> Path:
        """A name for the spike segments of one more recording of this process: `spikes`, then `spikes-2`, ..."""
        self._recordings += 1
        return self.path / self._recording_name(self._recordings)

    def next_spikes_folder(self) -> Path:
        """Where the spikes of the next recording lie."""
        return self.path / self._recording_name(self._recordings + 1)

    def next_checkpoints_folder(self) -> Path:
        """Where the checkpoints of the next recording lie."""
        return self.path / "checkpoints" / self._recording_name(self._recordings + 1)

    def new_loop_folder(self) -> Path:
        """Where the checkpoints of one more loop of this process lie."""
        self._loops += 1
        return self.path / "checkpoints" / ("loop" if self._loops == 1 else f"loop-{self._loops}")

    def next_samples_folder(self) -> Path:
        """Where the next recording takes down what is no spike: samples and weights."""
        return self.path / "samples" / self._recording_name(self._recordings + 1)

    def write_json(self, name: str, content: Mapping[str, Any]) -> None:
        """Replace `name` atomically."""
        if self._follows:
            return
        write_atomically(self.path / name, json.dumps(content, indent=2, default=str) + "\n")

    @property
    def script(self) -> Path:
        """Where the copy of the script lies."""
        return self.path / "script.py"

    def keep_script(self, script: Path) -> None:
        """Copy the script: what a run was must not be lost when the script goes on being written."""
        if not self._follows:
            write_atomically(self.script, script.read_bytes())

    def read_json(self, name: str) -> dict[str, Any] | None:
        """The content of a JSON file of this run, or None where there is none.

        Raises:
            OutputError: it cannot be read, or is of another kind.
        """
        try:
            content = json.loads((self.path / name).read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise OutputError(f"{self.path / name}: cannot be read: {error}.") from error
        if not isinstance(content, dict):
            raise OutputError(f"{self.path / name}: holds {str(content)[:40]!r}, and names with values are needed.")
        return content

    def read_status(self) -> dict[str, Any]:
        """What `status.json` says; nothing where it is damaged: it tells of a run, and the run needs nothing of it."""
        try:
            return self.read_json("status.json") or {}
        except OutputError:
            return {}

    def update_status(self, **fields: Any) -> None:
        """Change fields of `status.json`: `state` (running, done, failed, interrupted), model time, ETA, ...

        `heartbeat` is the moment of the last change: a run whose heartbeat is old is dead.
        """
        self._status.update(fields, heartbeat=datetime.now().astimezone().isoformat(timespec="seconds"), unix_time=time.time())
        self.write_json("status.json", self._status)

    def enter(self, phase: str) -> None:
        """The run has come to a phase (`connect`, `compile`, `simulate`, `results`, ...): `status.json` says so."""
        if self._status.get("phase") != phase:
            self.update_status(phase=phase)

    def take_over(self) -> None:
        """Process 0 is lost: from now on this one writes what it had to, unless somebody else has gone on with the run."""
        if self._claim and self._claimed_by() == self._claim:
            with suppress(OutputError):
                self._status = self.read_json("status.json") or {}
            self._follows = False

    def _claimed_by(self) -> str:
        with suppress(OSError):
            return (self.path / "run.lock").read_text()
        return ""

    def log(self, text: str) -> None:
        """Add a line to `log.txt`, with the time."""
        if self._follows:
            return
        path, line = self.path / "log.txt", f"{datetime.now().astimezone().isoformat(timespec='seconds')} {text}\n"
        try:
            with path.open("a", encoding="utf-8") as file:
                file.write(line)
        except OSError as error:
            raise unwritten(path, len(line.encode()), error) from error

    def close(self) -> None:
        """Give up the claim; the run is over, and nothing is written any more."""
        self._follows = True
        if self._lease is not None:
            self._lease.release()
            self._lease = None

    @staticmethod
    def _recording_name(number: int) -> str:
        return "spikes" if number == 1 else f"spikes-{number}"

    def _spikes_folders(self) -> dict[int, Path]:
        found = ((SPIKES.fullmatch(path.name), path) for path in self.path.glob("spikes*") if path.is_dir())
        return {int(match[1] or 1): path for match, path in found if match}

    def _clear_failed(self) -> None:
        """Empty a directory whose run failed before it recorded anything: after a mistake, the same command works again."""
        status = self.read_status()
        recorded = (self.path / "summary.json").exists() or self._spikes_folders() or (self.path / "run.lock").exists()
        if status.get("state") != "failed" or recorded:
            return
        for name in ("provenance.json", "status.json", "config.json", "log.txt", "script.py"):
            try:
                (self.path / name).unlink(missing_ok=True)
            except OSError as error:
                raise unwritten(self.path / name, 0, error) from error
        for folder in (self.results, *self.path.glob("results-[0-9]*")):
            shutil.rmtree(folder, ignore_errors=True)
