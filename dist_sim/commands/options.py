"""Options that several commands have, each said once, and what is read from them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dist_sim.errors import UnknownNameError
from dist_sim.run.checkpoint import seconds_of

EVERY = "--checkpoint-every"

File = Annotated[Path, typer.Argument(metavar="FILE.py", help="The script.", show_default=False)]
Arguments = Annotated[list[str] | None, typer.Argument(metavar="[-- ARGS]", help="For the script's sys.argv.")]
Directory = Annotated[Path, typer.Argument(metavar="DIR", help="A run directory.", exists=True, file_okay=False)]
Out = Annotated[Path | None, typer.Option(help="The run directory.  [default: runs/FILE-<date-time>]")]
Assignments = Annotated[list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="A parameter.")]
Every = Annotated[
    str | None,
    typer.Option(EVERY, metavar="TIME", help="Wall time between checkpoints: 15min, 30s, never.  [default: what loses least]"),
]
MaxHours = Annotated[float | None, typer.Option(min=0, help="Save and leave with code 75 by then.")]
Stall = Annotated[
    float, typer.Option("--stall-seconds", min=0, metavar="SECONDS", help="A run without progress so long is ended; 0 for never.")
]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of every error.")]

# How several processes are started without a launcher: the same flags, with another --process each.
Coordinator = Annotated[str | None, typer.Option(metavar="HOST:PORT", help="Of process 0, of several that no launcher starts.")]
Count = Annotated[int | None, typer.Option("--processes", min=1, help="How many processes.")]
Index = Annotated[int | None, typer.Option("--process", min=0, help="Which one this is, from 0.")]
Heartbeat = Annotated[int, typer.Option(min=2, metavar="SECONDS", help="A process that is silent so long is dead.")]


def existing(script: Path) -> Path:
    """A script that is there.

    Raises:
        UnknownNameError: there is no such file.
    """
    if not script.is_file():
        raise UnknownNameError("script", str(script), map(str, script.parent.glob("*.py")))
    return script


def interval(every: str | None) -> float | None:
    """Seconds between checkpoints, as `--checkpoint-every` gives them.

    Raises:
        ParameterError: no time.
    """
    return None if every is None else seconds_of(every, EVERY)
