"""`dist-sim export DIR`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dist_sim.commands.ends import complain, errors_become_exit_codes
from dist_sim.commands.options import Debug, Directory
from dist_sim.errors import OutputError, ParameterError, UnknownNameError
from dist_sim.io.sonata import write_spikes
from dist_sim.run.directory import RunDirectory
from dist_sim.run.disk_errors import made
from dist_sim.run.recorded import Spikes
from dist_sim.run.segment_reader import SegmentReader

Target = Annotated[Path | None, typer.Option("--file", help="What to write.  [default: DIR/results/spikes.h5]")]
Name = Annotated[str | None, typer.Option("--run", metavar="NAME", help="Of several runs in one script, this one.")]


def export(directory: Directory, file: Target = None, run: Name = None, debug: Debug = False) -> None:
    """Write the spikes of a run as a SONATA file: also of one that goes on, was stopped or was killed, up to the last block.

    Of several runs in one script, each goes to DIR/results/NAME/spikes.h5.
    """
    with errors_become_exit_codes(debug):
        opened = RunDirectory.open(directory)
        runs = opened.runs()
        if run is not None and run not in runs:
            raise UnknownNameError("run", run, runs, where=str(directory))
        if file is not None and run is None and len(runs) > 1:
            raise ParameterError(f"export --file {file}: the script has the runs {', '.join(runs)}. Say which by --run.")
        for name in runs if run is None else [run]:
            folder = opened.results if len(runs) == 1 else opened.results / name
            _export(opened, runs[name], file or made(folder) / "spikes.h5")


def _export(opened: RunDirectory, folder: Path, path: Path) -> None:
    reader, known = SegmentReader(folder), opened.read_json(f"{folder.name}.json")
    for line in reader.torn:
        complain(f"warning: {line}")
    if known is None or reader.dt is None:
        raise OutputError(f"{folder}: holds no whole block of spikes yet.")
    spikes = Spikes(reader.dt, reader.spikes, folder=folder, until=reader.end_step)
    write_spikes(path, [(name, first, size) for name, first, size in known["populations"]], spikes)
    typer.echo(f"{path}: {spikes.count:,} spikes up to {reader.end_step * reader.dt:g} ms")
