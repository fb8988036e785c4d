"""`dist-sim export DIR`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dist_sim.commands.ends import complain, errors_become_exit_codes
from dist_sim.commands.options import Debug, Directory
from dist_sim.errors import OutputError
from dist_sim.io.sonata import write_spikes
from dist_sim.run.directory import RunDirectory
from dist_sim.run.segment_reader import SegmentReader

Target = Annotated[Path | None, typer.Option("--file", help="What to write.  [default: DIR/results/spikes.h5]")]


def export(directory: Directory, file: Target = None, debug: Debug = False) -> None:
    """Write the spikes of a run as a SONATA file: also of one that goes on, was stopped or was killed, up to the last block."""
    with errors_become_exit_codes(debug):
        opened = RunDirectory.open(directory)
        folder = opened.spikes_folder()
        reader, known = SegmentReader(folder), opened.read_json(f"{folder.name}.json")
        for line in reader.torn:
            complain(f"warning: {line}")
        if known is None or reader.dt is None:
            raise OutputError(f"{folder}: holds no whole block of spikes yet.")
        steps, ids = reader.arrays()
        path = file or opened.results / "spikes.h5"
        write_spikes(path, [(name, first, size) for name, first, size in known["populations"]], steps, ids, reader.dt)
        typer.echo(f"{path}: {len(steps):,} spikes up to {reader.end_step * reader.dt:g} ms")
