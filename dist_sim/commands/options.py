"""Options that several commands have, each said once, and what is read from them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dist_sim.errors import UnknownNameError
from dist_sim.run.checkpoint import CheckpointPolicy, seconds_of

EVERY, KEEP_LAST, KEEP_EVERY, MTBF = "--checkpoint-every", "--keep-last", "--keep-every", "--mtbf"
HEARTBEAT, STALL, THREADS = "--heartbeat", "--stall-seconds", "--threads"
KEPT, MTBF_TIME = CheckpointPolicy.keep_last, "24h"

File = Annotated[Path, typer.Argument(metavar="FILE.py", help="The script.", show_default=False)]
Arguments = Annotated[list[str] | None, typer.Argument(metavar="[-- ARGS]", help="For the script's sys.argv.")]
Directory = Annotated[Path, typer.Argument(metavar="DIR", help="A run directory.", exists=True, file_okay=False)]
Out = Annotated[Path | None, typer.Option(help="The run directory.  [default: runs/FILE-<date-time>]")]
Assignments = Annotated[list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="A parameter.")]
Every = Annotated[
    str | None,
    typer.Option(EVERY, metavar="TIME", help="Wall time between checkpoints: 15min, 30s, never.  [default: what loses least]"),
]
KeepLast = Annotated[int, typer.Option(KEEP_LAST, min=1, help="How many of the newest checkpoints stay.")]
KeepEvery = Annotated[str | None, typer.Option(KEEP_EVERY, metavar="TIME", help="Besides, one per so much model time.")]
Mtbf = Annotated[str, typer.Option(MTBF, metavar="TIME", help="Mean time between failures, which the default interval heeds.")]
MaxHours = Annotated[float | None, typer.Option(min=0, help="Save and leave with code 75 by then.")]
Stall = Annotated[
    float, typer.Option(STALL, min=0, metavar="SECONDS", help="A run without progress so long is ended; 0 for never.")
]
Threads = Annotated[
    int | None, typer.Option(THREADS, min=1, help="Of the kernels of each process.  [default: one per core that it may use]")
]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of every error.")]

# How several processes are started without a launcher: the same flags, with another --process each.
Coordinator = Annotated[str | None, typer.Option(metavar="HOST:PORT", help="Of process 0, of several that no launcher starts.")]
Count = Annotated[int | None, typer.Option("--processes", min=1, help="How many processes.")]
Index = Annotated[int | None, typer.Option("--process", min=0, help="Which one this is, from 0.")]
Heartbeat = Annotated[int, typer.Option(HEARTBEAT, min=2, metavar="SECONDS", help="A process that is silent so long is dead.")]


def existing(script: Path) -> Path:
    """A script that is there.

    Raises:
        UnknownNameError: there is no such file.
    """
    if not script.is_file():
        raise UnknownNameError("script", str(script), map(str, script.parent.glob("*.py")))
    return script


def policy(every: str | None, keep_last: int, keep_every: str | None, mtbf: str) -> CheckpointPolicy:
    """When to take checkpoints, as the options of these names say.

    Raises:
        ParameterError: no time.
    """
    return CheckpointPolicy(
        every=interval(every),
        keep_last=keep_last,
        keep_every=None if keep_every is None else 1e3 * seconds_of(keep_every, KEEP_EVERY),
        mtbf=seconds_of(mtbf, MTBF),
    )


def interval(every: str | None) -> float | None:
    """Seconds between checkpoints, as `--checkpoint-every` gives them.

    Raises:
        ParameterError: no time.
    """
    return None if every is None else seconds_of(every, EVERY)
