"""One process raises, at every stage and under every launcher: all must end, with one message and one exit code.

python tests/faults/raising.py
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

SCRIPT = Path(__file__).with_name("faulty.py")
STAGES = (
    "options", "imports", "first line", "create", "connect", "build", "compile", "first chunk", "late chunk", "recording",
    "checkpoint", "results", "last line", "after the others", "atexit",
)  # fmt: skip
LAUNCHERS = ("plain", "mpirun")
PROCESSES = 2
LONGEST = 150.0


@dataclass(frozen=True, kw_only=True)
class Struck:
    """How a run with a fault has ended: exit codes of processes (or of mpirun), what they wrote to stderr, its run directory, and
    the seconds from the fault to the end of the last process."""

    codes: list[int]
    said: str
    out: Path
    seconds: float


def struck(
    folder: Path,
    launcher: str,
    stage: str,
    *,
    kind: str = "raise",
    culprit: int = 1,
    processes: int = PROCESSES,
    more: str = "",
    environment: Mapping[str, str] = os.environ,
) -> Struck:
    """Runs `faulty.py` in a folder of its own.

    Args:
        more: options of `dist-sim run`; environment: of the launcher (srun finds its SLURM there).
    """
    folder.mkdir(parents=True)
    out, mark = folder / "run", folder / "struck"
    words = ["run", str(SCRIPT), "--out", str(out), "--set", f"stage={stage}", "--set", f"kind={kind}"]
    words += ["--set", f"culprit={culprit}", "--checkpoint-every", "0s", *more.split()]
    each = [[sys.executable, str(SCRIPT.with_name("started.py")), *words] for _ in range(processes)]
    if stage == "options":
        each[culprit] += ["--checkpoint-every", "soon"]
    if processes > 1 and launcher == "plain":
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            address = f"127.0.0.1:{probe.getsockname()[1]}"
        for k, line in enumerate(each):
            line += ["--coordinator", address, "--processes", str(processes), "--process", str(k)]
    if launcher == "mpirun":
        mpirun = shutil.which("mpirun", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
        assert mpirun is not None
        each = [[mpirun, *[word for line in each for word in (":", "-n", "1", *line)][1:]]]
    if launcher == "srun":
        each = [["srun", "--quiet", f"-n{processes}", f"-N{processes}", *each[0]]]
    environment = dict(environment) | {"STRUCK": str(mark), "JAX_PLATFORMS": "cpu", "PYTHONPATH": str(SCRIPT.parents[2])}
    begin = time.time()
    running = [
        subprocess.Popen(line, env=environment, cwd=folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for line in each
    ]
    try:
        if kind == "stop":
            running[1 - culprit].wait(LONGEST)
            running[culprit].kill()  # as a launcher does with what is left
        said = [process.communicate(timeout=LONGEST) for process in running]
    finally:
        for process in running:
            if process.poll() is None:
                process.send_signal(signal.SIGKILL if launcher == "plain" else signal.SIGTERM)  # launchers kill their own
    since = float(mark.read_text()) if mark.exists() else begin
    return Struck(
        codes=[process.returncode for process in running],
        said="".join(err for _, err in said),
        out=out,
        seconds=time.time() - since,
    )


def wrong(found: Struck, stage: str, limit: float = 10.0) -> str:
    """What is not as it should be, or ''."""
    code = {"options": 64, "atexit": 0}.get(stage, 70)
    messages = len(re.findall(r"Traceback|dist-sim: \w*Error", found.said))
    state = json.loads((found.out / "status.json").read_text()) if stage != "options" else {"state": "failed", "exit_code": 64}
    wanted = ("done" if code == 0 else "failed", code)
    faults = {
        f"codes {found.codes}, not {code}": set(found.codes) != {code},
        f"{messages} messages": messages != 1,
        f"status {state}": (state["state"], state["exit_code"]) != wanted,
        f"{found.seconds:.1f} s": found.seconds > limit,
    }
    return "; ".join(what for what, bad in faults.items() if bad)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stages", nargs="*", default=STAGES)
    parser.add_argument("--launchers", nargs="*", default=LAUNCHERS)
    parser.add_argument("--culprits", nargs="*", type=int, default=(0, 1))
    parser.add_argument("--show", action="store_true", help="what the processes said")
    given = parser.parse_args()
    good = count = 0
    print(f"{'launcher':<8}  {'stage':<16}  process  codes        s from fault to end")
    with tempfile.TemporaryDirectory() as folder:
        for launcher in given.launchers:
            for stage in given.stages:
                for culprit in given.culprits:
                    if stage == "results" and culprit:
                        continue  # process 0 alone writes them
                    found = struck(
                        Path(folder) / f"{launcher}-{stage.replace(' ', '-')}-{culprit}", launcher, stage, culprit=culprit
                    )
                    bad = wrong(found, stage)
                    good, count = good + (not bad), count + 1
                    print(
                        f"{launcher:<8}  {stage:<16}  {culprit:<7}  {found.codes!s:<11}  {found.seconds:5.1f}  {bad}", flush=True
                    )
                    if given.show:
                        print(found.said)
    print(f"{good} of {count} ended together, with one message and one exit code, within 10 s")


if __name__ == "__main__":
    main()
