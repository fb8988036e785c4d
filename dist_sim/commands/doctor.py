"""`dist-sim doctor`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dist_sim.cluster.doctor import diagnose, shown
from dist_sim.cluster.sight import look
from dist_sim.commands.ends import BAD_INPUT
from dist_sim.run.control_group import cpu_quota, memory_limit


def doctor(
    folder: Annotated[Path, typer.Option("--out", help="Where the run directory will be.")] = Path("."),
) -> None:
    """Say what this process sees (devices, launcher, MPI, SLURM, memory, disk), what is wrong with it, and what to do.

    Start it as the run will be started, as in `srun -N2 dist-sim doctor`. Exit codes: 0 nothing is wrong, 64 an error.
    """
    limit = memory_limit()
    findings = diagnose(look(folder, memory_limit=None if limit is None else limit.bytes, quota=cpu_quota()))
    typer.echo(shown(findings))
    if any(finding.level == "error" for finding in findings):
        raise typer.Exit(BAD_INPUT)
