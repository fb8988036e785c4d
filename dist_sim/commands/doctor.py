"""`dist-sim doctor`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dist_sim.cluster.doctor import diagnose, shown
from dist_sim.cluster.sight import look
from dist_sim.commands.ends import BAD_INPUT


def doctor(
    folder: Annotated[Path, typer.Option("--out", help="Where the run directory will be.")] = Path("."),
) -> None:
    """Say what this process sees (devices, launcher, MPI, SLURM, memory, disk), what is wrong with it, and what to do.

    Start it as the run will be started, as in `srun -N2 dist-sim doctor`. Exit codes: 0 nothing is wrong, 64 an error.
    """
    findings = diagnose(look(folder))
    typer.echo(shown(findings))
    if any(finding.level == "error" for finding in findings):
        raise typer.Exit(BAD_INPUT)
