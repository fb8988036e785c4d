"""Starts two jobs in one run directory at the same moment: one of them runs, the other is told so and leaves.

    python tests/faults/race.py --races 20

Every other race is between two that resume a run whose process was killed and has left its lock behind. The one that writes must
end with what the undisturbed run says: nobody else has written to its directory.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from faults.kill import FORKS, Run, check_same, command

REFUSED = re.compile(r"OutputError: .*(is being written by process \d+|another run has just started here|already holds a run)")


def racing(words: Sequence[str], log: str, barrier: object) -> None:
    """`dist-sim WORDS` as soon as the other is there too."""
    barrier.wait()  # pyright: ignore
    command(words, log)


def race(run: Run) -> str:
    """Two that run, or resume, in one directory; what the one that may not was told."""
    barrier, racers = FORKS.Barrier(2), []
    for number in range(2):
        run.start(1 + number, racing, barrier)
        racers.append((run.process, run.log_file))
        run = Run(run.out, run.milliseconds, run.beside / "other")
    codes = []
    for process, _ in racers:
        process.join(120)
        codes.append(process.exitcode)
    said = [log.read_text() for _, log in racers]
    assert sorted(codes) == [0, 74], (codes, said)
    refused = REFUSED.search(said[codes.index(74)])
    assert refused is not None, said
    return re.sub(r" \d+", "", refused[1])


def campaign(folder: Path, races: int, milliseconds: float) -> Counter[str]:
    """Half of the races to begin a run, half to go on with one that was killed; what the losers were told."""
    told = Counter[str]()
    (folder / "other").mkdir()
    whole, killed = (Run(folder / name, milliseconds, folder) for name in ("whole", "killed"))
    whole.start(1)
    assert whole.end() == 0, whole.told()
    wanted = whole.said()
    killed.start(1)
    assert killed.wait_for("save"), killed.told()
    os.kill(killed.process.pid or 0, signal.SIGKILL)
    assert killed.end() == -9
    for number in range(races):
        run = Run(folder / f"race-{number}", milliseconds, folder)
        if number % 2:
            shutil.copytree(killed.out, run.out)
        refusal = race(run)
        # One that is resumed has the arguments that the killed one was given.
        said = [f for f in (run.said_file, folder / "other" / run.said_file.name, killed.said_file) if f.exists()]
        assert len(said) == 1, said
        os.replace(said[0], run.said_file)
        check_same(run, wanted)
        told[f"{'resume' if number % 2 else 'run'}: one ran, the other was told: {refusal}"] += 1
        print(f"{number + 1} races, one writer each", flush=True)
    return told


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--races", type=int, default=20)
    parser.add_argument("--milliseconds", type=float, default=150.0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        told = campaign(Path(folder), given.races, given.milliseconds)
    for what, number in sorted(told.items()):
        print(f"{number:6d}  {what}")
    print(f"{sum(told.values())} of {given.races} races had one writer, whose run is the undisturbed one")


if __name__ == "__main__":
    main()
