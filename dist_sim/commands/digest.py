"""`dist-sim digest DIR`."""

from __future__ import annotations

import typer

from dist_sim.commands.ends import complain, errors_become_exit_codes
from dist_sim.commands.options import Debug, Directory
from dist_sim.errors import OutputError
from dist_sim.run.digest import digest_of_reader
from dist_sim.run.directory import RunDirectory
from dist_sim.run.segment_reader import SegmentReader


def digest(directory: Directory, debug: Debug = False) -> None:
    """Print one SHA-256 over all recorded spikes: the same on any placement. Of several runs in one script: a line each."""
    with errors_become_exit_codes(debug):
        opened = RunDirectory.open(directory)
        runs = opened.runs()
        for name, folder in runs.items():
            reader = SegmentReader(folder)
            found = digest_of_reader(reader)
            for line in reader.torn:
                complain(f"warning: {line}")
            summary = opened.summary_of(name)
            if summary is not None and summary.get("digest") not in (None, found):
                raise OutputError(f"{directory}: the spikes have the digest {found}, summary.json says {summary['digest']}.")
            typer.echo(found if len(runs) == 1 else f"{found}  {name}")
