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
    """Print one SHA-256 over all recorded spikes: the same on any placement."""
    with errors_become_exit_codes(debug):
        opened = RunDirectory.open(directory)
        reader = SegmentReader(opened.spikes_folder())
        found = digest_of_reader(reader)
        for line in reader.torn:
            complain(f"warning: {line}")
        summary = opened.read_json("summary.json")
        if summary is not None and summary.get("digest") not in (None, found):
            raise OutputError(f"{directory}: the spikes have the digest {found}, summary.json says {summary['digest']}.")
        typer.echo(found)
