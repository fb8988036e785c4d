"""`dist-sim`: the commands as one application, and how it ends."""

from __future__ import annotations

import argparse
import traceback
from collections.abc import Sequence
from contextlib import suppress

import typer

from dist_sim.commands import COMMANDS
from dist_sim.commands.ends import BAD_INPUT, DONE, INTERNAL, INTERRUPTED, exit_code, explain, together
from dist_sim.commands.meeting import launched
from dist_sim.errors import DistSimError

app = typer.Typer(
    name="dist-sim", help="Spiking networks, the same spikes on any number of devices.", no_args_is_help=True,
    add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None,
)  # fmt: skip
for command in COMMANDS:
    # `run --help FILE.py` tells of the script as well, and shows its help itself.
    app.command(add_help_option=command.__name__ != "run")(command)


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point of `dist-sim`; returns the exit code."""
    code = _command(arguments)
    ending = together()
    if code == DONE:
        ending.finish()
    else:
        ending.fail(code)
    return code


def _command(arguments: Sequence[str] | None) -> int:
    try:
        code = app(args=None if arguments is None else list(arguments), prog_name="dist-sim", standalone_mode=False)
    except typer.Abort:
        return INTERRUPTED
    except DistSimError as error:
        explain(error, debug=False)
        return exit_code(error)
    except Exception as error:
        # A wrong option is bad input too; typer would exit with 2. Its error classes move between versions, their `show` stays.
        if (show := getattr(error, "show", None)) is None:
            if together().speaks(INTERNAL):
                traceback.print_exception(error)
            return INTERNAL
        with suppress(DistSimError):
            launched(*_addresses(arguments))
        if together().speaks(BAD_INPUT):
            show()
        return BAD_INPUT
    return code if isinstance(code, int) else DONE


def _addresses(arguments: Sequence[str] | None) -> tuple[str | None, int | None, int | None]:
    """`--coordinator`, `--processes` and `--process` of a command line that could not be read as a whole."""
    reader = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    reader.add_argument("--coordinator")
    reader.add_argument("--processes", type=int)
    reader.add_argument("--process", type=int)
    try:
        found, _ = reader.parse_known_args(arguments)
    except argparse.ArgumentError:
        return None, None, None
    return found.coordinator, found.processes, found.process
