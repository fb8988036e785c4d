"""Kills runs in every phase, resumes them on other numbers of devices, and compares them with the unbroken run.

    python tests/faults/kill.py --kills 100 --terms 25 --seed 1
    python tests/faults/kill.py --script modules --kills 40 --terms 10                      # and --set cells=40000
    python tests/faults/kill.py --script training --kills 40 --terms 10
    python tests/faults/kill.py --kills 100 --terms 25 --seed 1 --piece 3/10 --tally tally.json      # the third tenth of it

Runs of a network with plastic synapses, of a program of Modules, or of a training loop, are struck two to four times each, and
go on until they are done, on 1, 2, 3 and 4 devices (of Modules: 2 x 2). Each signal is aimed at a phase (start, build, compile,
run, save, export), at a random moment of it; where it fell is what the run directory said in the moment before. After every
signal each committed checkpoint must be sound, and the spikes on the disk must be the first ones of the unbroken run. A run that
was asked to stop must leave with code 75, or be done; before it listens (`start`) the signal may end it without a word, and
nothing is lost. At the end digest, spikes, events in flight, exported file, final weights and samples are those of the unbroken
run; losses, weights and the optimiser's state of a training within 1e-12, for gradients of several devices are added up in
another order.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import libsonata
import numpy as np

from dist_sim.run.checkpoint_files import checkpoint_path, checkpoint_steps, read_arrays, read_manifest
from dist_sim.run.segment_reader import SegmentReader

SCRIPT = Path(__file__).with_name("network.py")
SAME = ("digest", "spikes", "emitted_events", "delivered_events", "in_flight_events", "rates", "model_time_ms")
PHASE = {name: "build" for name in ("build", "kernels", "placement", "connect", "neurons")} | {
    "compile": "compile", "simulate": "run", "results": "export", "script": "run",
}  # fmt: skip
AIMS = ("save", "export", "build", "run", "compile", "start", "save", "run")
LONGEST = 150.0
# Its children have what a run imports already; all else, their number, signals and end, is that of a process of the shell.
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["dist_sim.commands.app"])
# Where pytest has imported this file by its path, a child must find it by its name. Last: the package is the installed one.
sys.path.append(str(Path(__file__).parents[2]))


def command(words: Sequence[str], log: str) -> None:
    """`dist-sim WORDS`, as the whole of a process."""
    from dist_sim.__main__ import main

    for number in (1, 2):
        os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND), number)
    sys.exit(main(words))


@dataclass
class Run:
    """One run of the script in a directory, by one process after the other; what it says lies in a folder beside it."""

    out: Path
    milliseconds: float
    beside: Path
    every: str = "0s"
    script: Path = SCRIPT
    settings: Sequence[str] = ()
    devices: int = 0
    process: ForkServerProcess = field(init=False)

    @property
    def said_file(self) -> Path:
        """Where the script says what came out."""
        return self.beside / f"{self.out.name}.npz"

    @property
    def log_file(self) -> Path:
        """What its processes write on their terminals."""
        return self.beside / f"{self.out.name}.log"

    def start(self, devices: int, program: Callable[..., None] = command, *more: object) -> None:
        """Runs, or goes on with what is there, as `program(words, log, *more)`."""
        self.devices = devices
        if (self.out / "config.json").exists():
            what = ["resume", str(self.out), "--devices", str(devices)]
        else:
            what = ["run", str(self.script), "--out", str(self.out), "--devices", str(devices), "--checkpoint-every", self.every]
            for setting in (f"ms={self.milliseconds}", *self.settings):
                what += ["--set", setting]
            what += ["--", str(self.said_file)]
        self.process = FORKS.Process(target=program, args=(what, str(self.log_file), *more))
        self.process.start()

    def end(self) -> int:
        """The exit code, once the process has ended."""
        self.process.join(LONGEST)
        assert self.process.exitcode is not None, f"{self.out}: no end within {LONGEST} s: {self.told()}"
        return self.process.exitcode

    def told(self) -> str:
        """What the processes have written on their terminals."""
        return self.log_file.read_text()

    def status(self) -> dict:
        with suppress(OSError):
            return json.loads((self.out / "status.json").read_text())
        return {}

    def phase(self) -> str:
        """Where the process is, by what the run directory says."""
        status = self.status()
        if status.get("pid") != self.process.pid:
            return "start"
        phase = PHASE.get(status.get("phase", ""), "start")
        return "save" if phase == "run" and next(self.out.glob("checkpoints/*/.*.tmp"), None) is not None else phase

    def done(self) -> bool:
        return self.status().get("state") == "done"

    def wait_for(self, phase: str) -> bool:
        """Whether the process came to a phase; otherwise it has ended."""
        until = time.monotonic() + LONGEST
        while self.process.is_alive():
            if self.phase() == phase:
                return True
            assert time.monotonic() < until, f"{self.out}: no end within {LONGEST} s: {self.told()}"
            time.sleep(0.002)
        return False

    def said(self) -> dict:
        """What must be the same, from the files of a run that is done."""
        with np.load(self.said_file) as file:
            found = {name: file[name] for name in file.files}
        if not (self.out / "summary.json").exists():  # a training
            return found
        summary = json.loads((self.out / "summary.json").read_text())
        exported = libsonata.SpikeReader(str(self.out / "results" / "spikes.h5"))
        for name in exported.get_population_names():
            found[f"exported {name}"] = np.array(exported[name].get())
        return {name: summary[name] for name in SAME} | found

    def sound_checkpoints(self) -> int:
        """How many committed checkpoints there are; what each process has written of every one can be read."""
        found = [checkpoint_path(folder, step) for folder in self.out.glob("checkpoints/*") for step in checkpoint_steps(folder)]
        for path in found:
            manifest = read_manifest(path)
            for part in range(len(manifest["arrays"])):
                read_arrays(path, manifest, part)
        return len(found)

    def spikes(self) -> tuple[int, np.ndarray, np.ndarray]:
        """Up to which step there are spikes on the disk, and all of them."""
        folder = self.out / "spikes"
        if next(folder.glob("seg-*.bin"), None) is None:
            return 0, np.zeros(0, np.int64), np.zeros(0, np.int64)
        reader = SegmentReader(folder)
        return reader.end_step, *reader.arrays()


def check_same(run: Run, wanted: dict) -> None:
    """What a run says is what the unbroken one says: all of it, or of a training to 1e-12."""
    found, training = run.said(), "losses" in wanted
    assert found.keys() == wanted.keys(), (found.keys(), wanted.keys())
    for name, right in wanted.items():
        if training and np.issubdtype(right.dtype, np.floating):
            same = np.allclose(found[name], right, rtol=0.0, atol=1e-12 * max(1.0, np.abs(right).max(initial=0.0)))
        else:
            same = np.array_equal(found[name], right) if isinstance(right, np.ndarray) else found[name] == right
        assert same, f"{run.out}: another {name} than that of the unbroken run"


def check_prefix(run: Run, steps: np.ndarray, ids: np.ndarray) -> None:
    """The spikes that can be read are the first ones of the unbroken run, up to the end of a block."""
    end, some_steps, some_ids = run.spikes()
    before = steps < end
    assert np.array_equal(steps[before], some_steps) and np.array_equal(ids[before], some_ids), f"{run.out}: other spikes"


def strike(run: Run, number: int, aim: str, lengths: dict[str, float], draw: random.Random) -> str | None:
    """Where a signal fell and how the process ended, or None where it was done before."""
    process = run.process
    try:
        if aim == "start" or run.wait_for(aim):
            process.join(draw.uniform(0.0, lengths[aim]))
        fell = run.phase()
        if not process.is_alive():
            assert process.exitcode == 0, (process.exitcode, run.told())
            return None
        with suppress(ProcessLookupError):  # it has ended in this moment
            os.kill(process.pid or 0, number)
        code = run.end()
        if number == signal.SIGKILL:
            if code == 0 and run.done():
                return None
            allowed = {-9}
        else:
            # Before it listens, and when it is done, nothing can be lost by an end without a word.
            allowed = {75, 0} | ({-15} if fell == "start" or run.done() else set())
        assert code in allowed, (fell, code, run.told())
        return f"{signal.Signals(number).name} in {fell}: code {code}"
    finally:
        process.kill()
        process.join()


def campaign(
    folder: Path, signals: Sequence[tuple[int, str]], *, seed: int, milliseconds: float, script: Path = SCRIPT,
    settings: Sequence[str] = (),
) -> Counter[str]:  # fmt: skip
    """As many struck runs as the signals need, each with its aim; what was met."""
    draw, met = random.Random(seed), Counter[str]()
    whole = Run(folder / "whole", milliseconds, folder, script=script, settings=settings)
    whole.start(1)
    lengths = {"start": 0.2, "save": 0.01}
    if script.stem == "training":
        assert whole.wait_for("run"), whole.told()
        begin = time.monotonic()
        assert whole.end() == 0, whole.told()
        lengths["run"] = time.monotonic() - begin
    else:
        assert whole.wait_for("export"), whole.told()
        begin = time.monotonic()
        assert whole.end() == 0, whole.told()
        took = json.loads((whole.out / "summary.json").read_text())["phases"]
        lengths |= {"build": sum(t for p, t in took.items() if PHASE.get(p) == "build"), "compile": took["compile"]}
        lengths |= {"run": took["simulate"], "export": time.monotonic() - begin}
    wanted, (_, steps, ids) = whole.said(), whole.spikes()
    left, number = list(signals), 0
    while left:
        number += 1
        # Some save all the time, some are between two saves for most of it.
        every, strikes = draw.choice(("0s", "0.5s")), draw.choice((2, 3, 4))
        run = Run(folder / f"struck-{number}", milliseconds, folder, every, script, settings)
        while not run.done():
            run.start(draw.choice([n for n in (1, 2, 3, 4) if n != run.devices]))
            if not left or not strikes:
                assert run.end() == 0, run.told()
            elif (what := strike(run, left[-1][0], left[-1][1] if left[-1][1] in lengths else "run", lengths, draw)) is not None:
                met[what] += 1
                left.pop()
                strikes -= 1
                print(f"{what}; {len(left)} signals left", flush=True)
            met["sound checkpoints found after a signal"] += run.sound_checkpoints()
            check_prefix(run, steps, ids)
        check_same(run, wanted)
        met["runs equal to the unbroken one"] += 1
    return met


def drawn(kills: int, terms: int, seed: int) -> list[tuple[int, str]]:
    """The signals of a campaign with their aims, in random order; each signal is aimed at every phase in turn."""
    signals = [(signal.SIGKILL, AIMS[k % len(AIMS)]) for k in range(kills)]
    signals += [(signal.SIGTERM, AIMS[k % len(AIMS)]) for k in range(terms)]
    random.Random(seed).shuffle(signals)
    return signals


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--script", default="network", help="which program is struck: network, modules or training")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a parameter of it")
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--terms", type=int, default=25)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--milliseconds", type=float, default=400.0)
    parser.add_argument("--piece", default="1/1", help="which part of the campaign, of how many")
    parser.add_argument("--tally", type=Path, help="adds what was met to this file, and shows the sum")
    given = parser.parse_args()
    piece, pieces = (int(n) for n in given.piece.split("/"))
    signals = drawn(given.kills, given.terms, given.seed)[piece - 1 :: pieces]
    with tempfile.TemporaryDirectory() as folder:
        options = dict(milliseconds=given.milliseconds, script=SCRIPT.with_name(f"{given.script}.py"), settings=given.set)
        met = campaign(Path(folder), signals, seed=1000 * given.seed + piece, **options)
    if given.tally is not None:
        met += Counter(json.loads(given.tally.read_text()) if given.tally.exists() else {})
        given.tally.write_text(json.dumps(met))
    for what, number in sorted(met.items()):
        print(f"{number:6d}  {what}")
    print(f"{sum(n for what, n in met.items() if what.startswith('SIG')):6d}  signals in all")


if __name__ == "__main__":
    main()
