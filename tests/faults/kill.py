"""Kills runs at random moments, resumes them on other numbers of devices, and compares them with the unbroken run.

    python tests/faults/kill.py --kills 100 --terms 25 --seed 1

A run is killed again and again until it is done. After every kill each committed checkpoint must be sound; a run that was asked
to stop must leave with code 75 (or be done, or not have begun). At the end digest, spikes, events in flight and exported file
must be those of the unbroken run.
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import h5py

from dist_sim.run.checkpoint_files import checkpoint_path, checkpoint_steps, read_arrays, read_manifest

SCRIPT = Path(__file__).with_name("network.py")
SAME = ("digest", "spikes", "emitted_events", "delivered_events", "in_flight_events", "rates", "model_time_ms")
LONGEST = 120.0


def start(out: Path, devices: int, milliseconds: float) -> subprocess.Popen[str]:
    """Runs, or goes on with what is there."""
    if (out / "config.json").exists():
        what = ["resume", str(out), "--devices", str(devices)]
    else:
        sets = ["--set", f"ms={milliseconds}"]
        what = ["run", str(SCRIPT), "--out", str(out), "--devices", str(devices), "--checkpoint-every", "0s", *sets]
    return subprocess.Popen(
        [sys.executable, "-m", "dist_sim", *what], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )


def said(out: Path) -> dict:
    """What must be the same, from the files of a run."""
    summary = json.loads((out / "summary.json").read_text())
    with h5py.File(out / "results" / "spikes.h5") as file:
        found = file["spikes/cells/timestamps"]
        assert isinstance(found, h5py.Dataset)
        exported = found[:].tobytes()
    return {name: summary[name] for name in SAME} | {"exported": exported}


def strike(process: subprocess.Popen[str], number: int, delay: float) -> int | None:
    """The exit code after a signal, or None where the process was done before it."""
    try:
        try:
            assert (code := process.wait(delay)) == 0, process.communicate()[1]
            return None
        except subprocess.TimeoutExpired:
            process.send_signal(number)
        code = process.wait(LONGEST)
        assert code in ({-9} if number == signal.SIGKILL else {75, 0, -15}), (code, process.communicate()[1])
        return code
    finally:
        process.kill()
        process.communicate()


def all_sound(out: Path) -> int:
    """How many committed checkpoints there are; every one can be read."""
    folder = out / "checkpoints" / "spikes"
    steps = checkpoint_steps(folder)
    for step in steps:
        read_arrays(path := checkpoint_path(folder, step), read_manifest(path))
    return len(steps)


def campaign(folder: Path, signals: Sequence[int], *, seed: int, milliseconds: float) -> Counter[str]:
    """As many struck runs as the signals need; what was met."""
    draw, met = random.Random(seed), Counter[str]()
    whole = folder / "whole"
    begin = time.monotonic()
    assert start(whole, 1, milliseconds).communicate(timeout=LONGEST) and (whole / "summary.json").exists()
    span, wanted = time.monotonic() - begin, said(whole)
    left, number = list(signals), 0
    while left:
        number += 1
        out = folder / f"struck-{number}"
        while True:
            process = start(out, draw.choice((1, 2, 3)), milliseconds)
            code = strike(process, left[-1], draw.uniform(0.15, 1.0) * span) if left else strike(process, signal.SIGTERM, LONGEST)
            if code is not None:
                met[f"{signal.Signals(left.pop()).name}: code {code}"] += 1
            met["sound checkpoints after it"] += all_sound(out)
            if code in (None, 0) and (out / "results" / "spikes.h5").exists():
                break
        assert said(out) == wanted, f"{out}: another run than the unbroken one"
        met["runs equal to the unbroken one"] += 1
        print(f"{len(left)} signals left", flush=True)
    return met


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--terms", type=int, default=25)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--milliseconds", type=float, default=2000.0)
    given = parser.parse_args()
    signals = [signal.SIGKILL] * given.kills + [signal.SIGTERM] * given.terms
    random.Random(given.seed).shuffle(signals)
    with tempfile.TemporaryDirectory() as folder:
        for what, number in sorted(campaign(Path(folder), signals, seed=given.seed, milliseconds=given.milliseconds).items()):
            print(f"{number:6d}  {what}")


if __name__ == "__main__":
    main()
