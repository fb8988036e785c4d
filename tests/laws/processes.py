"""Law 1 over processes and launchers: 1, 2 and 4 processes of 1, 2 and 4 devices each give what one device gives, however placed.

    PYTHONPATH=tests python tests/laws/processes.py --launcher plain     # mpirun (MPICH), openmpi, srun (starts a SLURM)

Networks: `mixed` (every model, source, rule and recorder) and `plastic`, whose final weights and traces are compared as well.
Each placement is run with an exchange of its own, and each meets every exchange; `mpi` where there is an MPI to carry it.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from local_slurm import missing, running

from dist_sim.partition import EXCHANGES, PLACEMENTS

WORKER = Path(__file__).with_name("one_of_several.py")
ROOT = WORKER.parents[2]
SAME = ("digest", "events", "traces", "weights", "rates", "counts")
DURATION_MS = {"mixed": 6.0, "plastic": 20.0, "saturating": 6.0}
NUMBERS = (1, 2, 4)
PRODUCT = [(processes, each) for processes in NUMBERS for each in (1, 2, 4)]
LAUNCHERS = ("plain", "mpirun", "openmpi", "srun")

Case = tuple[str, Mapping[str, Any]]


def cases_of(launcher: str, number: int) -> list[Case]:
    """Both networks on each placement. `number`: of the launch; with it the exchanges move on."""
    # `memory` is for devices of one process.
    exchanges = [name for name in EXCHANGES if name != "memory" and (name != "mpi" or launcher != "plain")]
    return [
        (network, dict(placement=placement, exchange=exchanges[(number + k) % len(exchanges)]))
        for network in ("mixed", "plastic")
        for k, placement in enumerate(PLACEMENTS)
    ]


def hindrance(launcher: str) -> str:
    """Why this launcher cannot be used here, or ''."""
    if launcher == "srun":
        return missing()
    if launcher == "plain" or _mpirun(launcher) is not None:
        return ""
    return f"no {launcher}: " + ("apt-get install openmpi-bin" if launcher == "openmpi" else "pip install mpich mpi4py")


@contextmanager
def around(launcher: str, folder: Path) -> Iterator[dict[str, str]]:
    """The environment in which this launcher works."""
    folders = (ROOT, ROOT / "tests", ROOT / "examples" / "benchmarks")
    own = {"JAX_PLATFORMS": "cpu", "PYTHONPATH": os.pathsep.join(map(str, folders))}
    if launcher != "srun":
        yield os.environ | own
        return
    folder.mkdir()
    with running(folder) as slurm:
        yield slurm.environment | own


def launched(
    launcher: str, processes: int, each: int, cases: Sequence[Case], folder: Path, environment: Mapping[str, str], timeout: float
) -> list[list[dict[str, Any]]]:
    """Of each case, what each process knows at its end. No process is left behind."""
    folder.mkdir()
    wanted = dict(devices=processes * each, folder=str(folder), cases=[(n, o) for n, o in cases], duration_ms=_duration(cases))
    running_now = [
        subprocess.Popen(words, env=environment, text=True, stdout=subprocess.DEVNULL, stderr=(folder / f"{k}.err").open("w"))
        for k, words in enumerate(_commands(launcher, processes, wanted))
    ]
    try:
        until = time.monotonic() + timeout
        codes = [process.wait(max(0.0, until - time.monotonic())) for process in running_now]
    finally:
        for process in running_now:
            process.terminate()  # srun and mpirun end what they have started
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
    said = "\n".join(path.read_text()[-2000:] for path in folder.glob("*.err"))
    assert codes == [0] * len(codes), f"{launcher}, {processes} processes of {each} devices: {codes}\n{said}"
    return [[json.loads((folder / f"{k}-{p}.json").read_text()) for p in range(processes)] for k in range(len(cases))]


def different(found: Sequence[Mapping[str, Any]], alone: Mapping[str, Any], each: int) -> list[str]:
    """What is not as it was on one device, or not where it should be."""
    wrong = set()
    for outcome in found:
        wrong |= {name for name in SAME if outcome[name] != alone[name]}
        wrong |= {"devices or processes"} if outcome["placed"][:2] != [len(found) * each, len(found)] else set()
        # A process holds the synapses of its own devices.
        wrong |= {"synapses held"} if outcome["drawn"] != each else set()
    return sorted(wrong)


def on_one_device(folder: Path, networks: Sequence[str] = ("mixed", "plastic")) -> dict[str, dict[str, Any]]:
    """What one process on one device gives, by network."""
    cases = [(network, dict(placement="block", exchange="mask")) for network in networks]
    with around("plain", folder) as environment:
        found = launched("plain", 1, 1, cases, folder / "alone", environment, 200)
    alone = {network: outcome for (network, _), (outcome,) in zip(cases, found, strict=True)}
    assert all(outcome["counts"][0] > 30 for outcome in alone.values()), "a silent network proves nothing"
    return alone


def campaign(launcher: str, folder: Path, numbers: Sequence[int] = NUMBERS) -> tuple[int, int]:
    """The product for some numbers of processes; prints a line for each launch. Returns how many cases were equal, and how many
    there were."""
    alone = on_one_device(folder)
    equal = total = 0
    with around(launcher, folder / "slurm") as environment:
        for number, (processes, each) in enumerate(PRODUCT):
            if processes not in numbers:
                continue
            begin, cases = time.monotonic(), cases_of(launcher, number)
            found = launched(launcher, processes, each, cases, folder / f"{number}", environment, 280)
            wrong = [different(outcomes, alone[name], each) for (name, _), outcomes in zip(cases, found, strict=True)]
            total, equal = total + len(cases), equal + wrong.count([])
            told = ", ".join(f"{o['placement']}/{o['exchange']}" for _, o in cases[: len(PLACEMENTS)])
            print(f"{launcher}: {processes} x {each} devices: {wrong.count([])} of {len(cases)} equal ({told};"
                  f" {time.monotonic() - begin:.0f} s)", *filter(None, wrong), flush=True)  # fmt: skip
    return equal, total


def _commands(launcher: str, processes: int, wanted: Mapping[str, Any]) -> list[list[str]]:
    program = [sys.executable, str(WORKER)]
    if launcher == "plain":
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            address = f"127.0.0.1:{probe.getsockname()[1]}"
        meeting = dict(processes=processes, coordinator=address)
        return [[*program, json.dumps(wanted | meeting | {"process": k})] for k in range(processes)]
    start = {
        "mpirun": [_mpirun(launcher), "-n", str(processes)],
        "openmpi": [_mpirun(launcher), "--allow-run-as-root", "--oversubscribe", "-n", str(processes)],
        # pmi2: MPICH's processes find each other by it, and `mpi` can be the exchange.
        "srun": ["srun", "--mpi=pmi2", "--quiet", f"--nodes={min(2, processes)}", "-n", str(processes)],
    }[launcher]
    return [[*map(str, start), *program, json.dumps(wanted)]]


def _mpirun(launcher: str) -> Path | None:
    """MPICH's mpirun is that of the environment's own wheel, if it has one."""
    if launcher == "openmpi":
        found = shutil.which("mpirun.openmpi")
    else:
        own = Path(sys.executable).with_name("mpirun")
        found = own if own.exists() else shutil.which("mpirun.mpich")
    return None if found is None else Path(found)


def _duration(cases: Sequence[Case]) -> dict[str, float]:
    return {network: DURATION_MS[network] for network, _ in cases}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--launcher", choices=LAUNCHERS, default="plain")
    parser.add_argument("--processes", type=int, nargs="*", choices=NUMBERS, default=NUMBERS)
    given = parser.parse_args()
    launcher = given.launcher
    if reason := hindrance(launcher):
        print(reason)
        return 1
    with tempfile.TemporaryDirectory(prefix="law-1-") as folder:
        equal, total = campaign(launcher, Path(folder), given.processes)
    print(f"{launcher}: {equal} of {total} equal")
    return int(equal != total)


if __name__ == "__main__":
    sys.exit(main())
