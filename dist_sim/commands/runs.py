"""`dist-sim runs [FOLDER]`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dist_sim.commands.ends import complain, errors_become_exit_codes
from dist_sim.commands.options import Debug
from dist_sim.run.overview import overviews, run_directories, table

Folder = Annotated[Path, typer.Argument(metavar="[FOLDER]", help="Where runs lie.", exists=True, file_okay=False)]


def runs(folder: Folder = Path("runs"), debug: Debug = False) -> None:
    """A table of the runs in a folder, as of a sweep: states, the parameters in which they differ, model time, rates, digests.

    A run that has not ended and gives no sign of life is `silent`: killed, or on a host that is gone.
    """
    with errors_become_exit_codes(debug):
        found = [run for path in run_directories(folder) for run in overviews(path)]
        if found:
            typer.echo(table(found, folder))
        else:
            complain(f"{folder}: no run has begun in it.")
