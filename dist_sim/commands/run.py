"""`dist-sim run FILE.py`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from dist_sim.cluster.bootstrap import HEARTBEAT_S
from dist_sim.cluster.watch import STALL_S
from dist_sim.commands.ends import BAD_INPUT, DONE, errors_become_exit_codes
from dist_sim.commands.meeting import claimed, launched, meet
from dist_sim.commands.options import (
    KEPT,
    MTBF_TIME,
    Arguments,
    Assignments,
    Coordinator,
    Count,
    Debug,
    Every,
    Heartbeat,
    Index,
    KeepEvery,
    KeepLast,
    MaxHours,
    Mtbf,
    Out,
    Stall,
    Threads,
    existing,
    policy,
)
from dist_sim.commands.script import run_script, stop_after
from dist_sim.forecast.ahead import warn_of_memory
from dist_sim.run.directory import RunDirectory, default_directory
from dist_sim.run.session import Session, check_declared, declared_params, split_assignments

DEVICES = "Devices to run on, of all processes together.  [default: one, or all of several processes]"


def run(
    context: typer.Context,
    file: Annotated[Path | None, typer.Argument(metavar="FILE.py", help="The script.", show_default=False)] = None,
    arguments: Arguments = None,
    devices: Annotated[int | None, typer.Option(min=1, help=DEVICES)] = None,
    out: Out = None,
    assignments: Assignments = None,
    every: Every = None,
    keep_last: KeepLast = KEPT,
    keep_every: KeepEvery = None,
    mtbf: Mtbf = MTBF_TIME,
    max_hours: MaxHours = None,
    coordinator: Coordinator = None,
    processes: Count = None,
    process: Index = None,
    heartbeat: Heartbeat = HEARTBEAT_S,
    stall: Stall = STALL_S,
    threads: Threads = None,
    debug: Debug = False,
    help_: Annotated[bool, typer.Option("--help", help="Show this, and the parameters of FILE.py.")] = False,
) -> None:
    """Run a script: set up devices, show progress, write the run directory, print a summary.

    Started by srun, mpirun or on a TPU pod, the processes are one run; process 0 shows it and writes its results.

    SIGTERM, SIGUSR1, SIGUSR2, SIGHUP and Ctrl-C have it save, and leave with code 75 at the next safe point. A second Ctrl-C ends
    it at once.

    Exit codes: 0 done, 64 bad input, 70 internal error or a bug in the script, 74 output error, 75 stopped, to be resumed, 76 no
    progress.
    """
    if help_ or file is None:
        typer.echo(context.get_help())
        if file is not None and file.is_file():
            _print_parameters(file)
        raise typer.Exit(DONE if help_ else BAD_INPUT)
    with errors_become_exit_codes(debug):
        launch = launched(coordinator, processes, process, heartbeat, out)
        existing(file)
        checkpoints = policy(every, keep_last, keep_every, mtbf)
        parameters = split_assignments(assignments or [])
        if parameters:
            check_declared(parameters, file)
        told = {"arguments": arguments, "parameters": parameters, "checkpoints": checkpoints}
        here = meet(launch, devices, threads, heartbeat, file, told)
        directory = claimed(here, lambda: RunDirectory(out or default_directory(file)))
        session = Session(
            devices=devices, threads=threads, out=directory.path, parameters=parameters, command=("dist-sim", *sys.argv[1:]),
            script=file, arguments=tuple(arguments or ()), checkpoints=checkpoints, stop=stop_after(max_hours),
            directory=directory, foresee=warn_of_memory,
        )  # fmt: skip
        raise typer.Exit(run_script(session, directory, here, debug, stall))


def _print_parameters(script: Path) -> None:
    declared = declared_params(script)
    if declared.defaults:
        typer.echo(f"Parameters of {script} (--set NAME=VALUE):")
        width = max(map(len, declared.defaults))
        for name, default in declared.defaults.items():
            typer.echo(f"  {name:<{width}}  {default}")
    else:
        typer.echo(f"{script} declares no parameters (dist_sim.param).")
