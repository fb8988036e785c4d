"""`dist-sim status DIR`."""

from __future__ import annotations

import typer

from dist_sim.commands.ends import errors_become_exit_codes
from dist_sim.commands.options import Debug, Directory
from dist_sim.errors import OutputError
from dist_sim.run.overview import Overview, model_time, overviews, rates, run_directories

_GO_ON = ("stopped", "failed", "interrupted", "silent")


def status(directory: Directory, debug: Debug = False) -> None:
    """How a run stands: state, parameters, model time, rates, and the digest if it is done. Of several runs: `dist-sim runs`."""
    with errors_become_exit_codes(debug):
        if directory not in (found := run_directories(directory)) and found:
            raise OutputError(f"{directory}: holds {len(found)} runs. A table of them: dist-sim runs {directory}")
        typer.echo("\n\n".join(_shown(_lines(run)) for run in overviews(directory)))


def _long(seconds: float) -> str:
    return f"{seconds / 60:.0f} min" if seconds >= 60 else f"{seconds:.0f} s"


def _shown(lines: list[tuple[str, str]]) -> str:
    width = max(len(name) for name, _ in lines)
    return "\n".join(f"{name:<{width}}  {text}" for name, text in lines)


def _lines(run: Overview) -> list[tuple[str, str]]:
    details = {"phase": run.phase, "exit code": run.exit_code}
    known = ", ".join(f"{name} {value}" for name, value in details.items() if value is not None)
    silent = None if run.silent_s is None else f"no sign of life for {_long(run.silent_s)}"
    lines = [
        ("run", f"{run.path} {run.name or ''}".rstrip()),
        ("state", ", ".join(part for part in (run.state, silent, known) if part)),
        ("model time", model_time(run) + ("" if run.eta_s is None else f", done in {run.eta_s / 60:.1f} min")),
        ("rates (Hz)", rates(run)),
        ("parameters", ", ".join(f"{name}={value}" for name, value in run.parameters.items()) or "-"),
        ("checkpoint", str(run.last_checkpoint or "-")),
        ("digest", run.digest or "-"),
    ]
    return lines + ([("go on", f"dist-sim resume {run.path}")] if run.state in _GO_ON else [])
