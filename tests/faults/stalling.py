"""One process stops making progress: the watch must end all, with one message that names the process and the phase.

python tests/faults/stalling.py
"""

from __future__ import annotations

import argparse
import json
import re
import tempfile
from pathlib import Path

if __package__:
    from .raising import Struck, struck
else:
    from raising import Struck, struck

STALLED = 76
NAMED = re.compile(r"no progress: process (\d+) (is|does not answer; it was) in ([^,]+?)(?:, at [^,]+,)? for \d+ s")
# Processes, the stage, what happens there, in which process, and the phase that must be named.
STALLS = (
    (1, "build", "sleep", 0, "placement"),
    (1, "compile", "loop", 0, "compile"),
    (1, "late chunk", "sleep", 0, "simulate"),
    (1, "disk of a checkpoint", "sleep", 0, "checkpoint"),
    (1, "results", "loop", 0, "results"),
    (2, "build", "loop", 1, "placement"),
    (2, "compile", "sleep", 0, "compile"),
    (2, "first chunk", "loop", 1, "simulate"),
    (2, "late chunk", "stop", 1, "simulate"),
    (2, "recording", "sleep", 0, "record"),
    (2, "checkpoint", "stop", 1, "checkpoint"),
    (2, "results", "sleep", 0, "results"),
    (2, "connect", "sleep", 1, "the script itself"),
)


def wrong(found: Struck, processes: int, kind: str, culprit: int, phase: str, limit: float) -> str:
    """What is not as it should be, or ''."""
    state = json.loads((found.out / "status.json").read_text())
    named = NAMED.findall(found.said)
    wanted = (str(culprit), "does not answer; it was" if kind == "stop" else "is")
    dumped = {int(path.stem.rpartition("-")[2]) for path in found.out.glob("stacks-*.txt")}
    faults = {
        f"codes {found.codes}": set(found.codes) - ({-9} if kind == "stop" else set()) != {STALLED},
        f"named {named}, not {wanted} in {phase}": [n[:2] for n in named] != [wanted] or named[0][2] != phase,
        f"stacks of {dumped}": dumped != set(range(processes)) - ({culprit} if kind == "stop" else set()),
        f"status {state}": (state["state"], state["exit_code"]) != ("failed", STALLED),
        f"{found.seconds:.0f} s": found.seconds > limit + 15,
    }
    return "; ".join(what for what, bad in faults.items() if bad)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=20.0, help="of --stall-seconds: longer than a compilation takes here")
    parser.add_argument("--only", nargs="*", type=int, default=range(len(STALLS)), help="numbers of stalls")
    parser.add_argument("--show", action="store_true", help="what the processes said")
    given = parser.parse_args()
    good = 0
    print(f"{'':<2}  processes  {'stage':<20}  kind   process  codes      s from fault to end")
    with tempfile.TemporaryDirectory() as folder:
        struck(Path(folder) / "first", "plain", "none", processes=1)  # what is compiled once on a machine is compiled now
        for number in given.only:
            processes, stage, kind, culprit, phase = STALLS[number]
            found = struck(
                Path(folder) / str(number), "plain", stage, kind=kind, culprit=culprit, processes=processes,
                more=f"--stall-seconds {given.seconds} --heartbeat 100",
            )  # fmt: skip
            bad = wrong(found, processes, kind, culprit, phase, given.seconds)
            good += not bad
            row = f"{number:<2}  {processes:<9}  {stage:<20}  {kind:<5}  {culprit:<7}  {found.codes!s:<9}"
            print(f"{row}  {found.seconds:5.1f}  {bad}", flush=True)
            if given.show:
                print(found.said)
    print(f"{good} of {len(given.only)} ended with code {STALLED}, one message, and the process and phase in it")


if __name__ == "__main__":
    main()
