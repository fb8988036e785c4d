"""Programs of Modules on two devices, beside one: the COBA network of `coba_vs_brainpy.py`, on this machine's CPUs.

    python examples/benchmarks/coba_on_devices.py [--quick] [--json FILE]

Two devices of one process meet in memory (`memory`) or communicate by JAX's collectives (`mask`); two processes under mpirun
gather by MPI (`mpi`) or by JAX's collectives, which are gloo's. Every figure is the least of several stretches of 200 ms in a
process of its own, all of which run once in each round; ratios are taken within a round, and the median over rounds is shown. It
needs two cores that nothing else uses, and mpirun of the MPI that mpi4py loads (`pip install '.[benchmark]'`).
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

SIZES = 4000, 40_000
STRETCHES = 8
# (devices, processes, exchange): the first is what the others are compared with.
CASES = (1, 1, "mask"), (2, 1, "memory"), (2, 1, "mask"), (2, 2, "mpi"), (2, 2, "mask")


def work() -> None:
    """In a process of `dist-sim run`: the least time of a step [us], printed by the first process."""
    import coba_vs_brainpy
    import jax

    import dist_sim as ds

    lib = coba_vs_brainpy.library("dist_sim", 1)
    exchange = ds.param("exchange", "mask")
    lib.mesh = lambda: ds.use_mesh(exchange=exchange)
    go_on = coba_vs_brainpy.coba(lib, ds.param("neurons", 4000))
    go_on()
    found = []
    for _ in range(STRETCHES):
        begin = time.perf_counter()
        rate = go_on()
        found.append((time.perf_counter() - begin) / (coba_vs_brainpy.COBA_MS / 0.1) * 1e6)
    if jax.process_index() == 0:
        print(json.dumps({"us": min(found), "rate": rate}), flush=True)


def measure(neurons: int, devices: int, processes: int, exchange: str) -> dict[str, Any]:
    """What a case prints, in processes of its own."""
    with tempfile.TemporaryDirectory() as folder:
        line = [sys.executable, "-m", "dist_sim", "run", __file__, "--devices", str(devices), "--out", f"{folder}/out"]
        line += ["--set", f"neurons={neurons}", "--set", f"exchange={exchange}"]
        mpirun = Path(sys.executable).with_name("mpirun")
        if processes > 1:
            line = [str(mpirun if mpirun.exists() else shutil.which("mpirun")), "-n", str(processes), *line]
        environment = os.environ | {"JAX_PLATFORMS": "cpu"}
        done = subprocess.run(line, text=True, capture_output=True, env=environment)
    answers = [text for text in done.stdout.splitlines() if text.startswith('{"us"')]
    if done.returncode or len(answers) != 1:
        raise RuntimeError(f"{line}: {done.stdout}{done.stderr}")
    return json.loads(answers[0])


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="two rounds instead of five")
    parser.add_argument("--json", type=Path, help="a file for all figures")
    args = parser.parse_args()
    rounds = [
        {(neurons, *case): measure(neurons, *case) for neurons in SIZES for case in CASES} for _ in range(2 if args.quick else 5)
    ]
    lines = []
    print(f"{'neurons':>8}{'devices':>9}{'processes':>11}  {'exchange':<10}{'us/step':>8}{'/ one device':>14}{'rate [Hz]':>11}")
    for neurons in SIZES:
        for case in CASES:
            us = median(found[neurons, *case]["us"] for found in rounds)
            ratio = median(found[neurons, *case]["us"] / found[neurons, *CASES[0]]["us"] for found in rounds)
            rate = rounds[0][neurons, *case]["rate"]
            print(f"{neurons:>8,}{case[0]:>9}{case[1]:>11}  {case[2]:<10}{us:>8.1f}{ratio:>14.2f}{rate:>11.3f}")
            lines.append({"neurons": neurons, "case": case, "us": us, "ratio": ratio, "rate": rate})
    if args.json is not None:
        args.json.write_text(json.dumps(lines, indent=2) + "\n")


if __name__ == "__main__":
    from dist_sim.run.session import current_session

    if current_session() is not None:  # under `dist-sim run`, as a case is started
        work()
    else:
        main()
