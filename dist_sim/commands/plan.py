"""`dist-sim plan FILE.py`."""

from __future__ import annotations

from typing import Annotated

import typer

from dist_sim.commands.options import Arguments, Assignments, File, existing
from dist_sim.forecast.calibration import measured_here
from dist_sim.forecast.table import HERE, described, machine_named, numbers, show_plan
from dist_sim.run.session import Session, check_declared, split_assignments


def plan(
    file: File,
    arguments: Arguments = None,
    devices: Annotated[str, typer.Option(metavar="N,M,...", help="Numbers of devices.")] = "1,10,100,1000,10000",
    device: Annotated[str, typer.Option(help="Their kind: cpu, h200, h100, a100, a100-40gb, v5p, v5e; here: measured.")] = "cpu",
    cores: Annotated[int | None, typer.Option(help="Of a cpu device.  [default: those of this process]")] = None,
    backend: Annotated[str | None, typer.Option(help="Of GPUs: cuda or reference.  [default: cuda]")] = None,
    rate: Annotated[float, typer.Option(min=0, help="Mean rate to expect of the neurons, Hz.")] = 5.0,
    assignments: Assignments = None,
) -> None:
    """Say what a script will take, in bytes and time, before anything is built: it runs up to its first simulation.

    Exit codes: 0 it fits, 64 it fits on none of these numbers of devices, or bad input.
    """
    machine, counts = machine_named(device, cores, backend), numbers(devices)
    parameters = split_assignments(assignments or [])
    check_declared(parameters, existing(file))
    with Session(parameters=parameters, script=file).active():
        description, steps = described(file, arguments or [])
    if device == HERE:
        machine = measured_here(description, rate=rate)
    show_plan(description, steps, counts, device, machine, rate)
