"""What run directories tell of their runs without a spike being read: for `dist-sim runs` and `dist-sim status`."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, final

from dist_sim.errors import OutputError
from dist_sim.run.directory import RunDirectory
from dist_sim.run.lease import EXPIRES, holder_is_gone
from dist_sim.run.provenance import script_checksum

_MARKS = ("provenance.json", "status.json")  # every run has one of them; other programs too have a config.json or spikes
_DEPTH = 3  # below a folder: runs/, an array in it, its runs
_RATES = 4  # of so many populations: more do not fit in a line of a table
_DIGITS = 12  # of a digest: enough to tell two runs apart
# Beyond the lease's own limit, which is reckoned on one clock: the hosts' may differ by some seconds.
_SILENT = 2 * EXPIRES


@final
@dataclass(frozen=True, kw_only=True)
class Overview:
    """One run, as its files tell of it; what they do not tell is None or empty.

    Attributes:
        path: of the run directory; name: of one run of several of its script.
        state: done, running, stopped (resumable), failed, interrupted, silent, begun or unreadable.
        silent_s: for how long a run that has not ended has given no sign of life; None if it does, or has ended.
        parameters: as the script resolved them; rates: mean rate of each population, Hz.
        model_time_ms: so far; total_ms: up to where; eta_s: wall time to there; digest: over all spikes, of a run that is done.
        phase, exit_code, last_checkpoint: as in `status.json`; script: a checksum of the script as it last ran.
    """

    path: Path
    state: str
    name: str | None = None
    silent_s: float | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)
    rates: Mapping[str, float] = field(default_factory=dict)
    model_time_ms: float | None = None
    total_ms: float | None = None
    eta_s: float | None = None
    digest: str | None = None
    phase: str | None = None
    exit_code: int | None = None
    last_checkpoint: str | None = None
    script: str | None = None


def run_directories(folder: Path) -> list[Path]:
    """The run directories at and below a folder, not those inside of runs, by name; numbers in names are compared as such."""

    def below(path: Path, depth: int) -> list[Path]:
        if _is_run(path):
            return [path]
        if depth == 0:
            return []
        folders: list[Path] = []
        with suppress(PermissionError):
            folders = [child for child in path.iterdir() if child.is_dir() and not child.name.startswith(".")]
        return [found for child in folders for found in below(child, depth - 1)]

    return sorted(below(folder, _DEPTH), key=_natural)


def overviews(path: Path) -> list[Overview]:
    """What the files of a run directory tell: of each run of its script once all have ended, before of the newest.

    Raises:
        OutputError: it is no run directory.
    """
    if not _is_run(path):
        raise OutputError(f"{path}: is no run directory: it has neither {' nor '.join(_MARKS)}.")
    directory = RunDirectory.open(path)
    try:
        config, status, last = (directory.read_json(f"{name}.json") or {} for name in ("config", "status", "summary"))
        several = sorted(directory.results.glob("*/summary.json"), key=_natural)
        summaries = [
            found
            for file in several
            if (found := directory.read_json(str(file.relative_to(directory.path)))) and "digest" in found
        ]
    except OutputError:
        return [Overview(path=path, state="unreadable")]
    state = status.get("state", "begun")
    silent = _silent_s(path) if state in ("running", "begun") else None
    found = []
    for summary in summaries or [last]:
        # Of a run that goes on the summary is that of an earlier simulate() of its script.
        time_of = summary if state == "done" and summary else status
        rates = summary.get("rates") or ({} if status.get("rate") is None else {"all": status["rate"]})
        found.append(
            Overview(
                path=path,
                state=state if silent is None else "silent",
                name=summary["name"] if summaries else None,
                silent_s=silent,
                parameters=config.get("parameters") or {},
                rates={name: rate for name, rate in rates.items() if rate is not None},
                model_time_ms=time_of.get("model_time_ms"),
                total_ms=None if state == "done" else status.get("total_ms"),
                eta_s=status.get("eta_s") if state == "running" and silent is None else None,
                digest=summary.get("digest") if state == "done" else None,
                phase=None if state == "done" else status.get("phase"),
                exit_code=status.get("exit_code"),
                last_checkpoint=status.get("last_checkpoint"),
                script=script_checksum(directory.script) if directory.script.is_file() else None,
            )
        )
    return found


def table(runs: Sequence[Overview], folder: Path) -> str:
    """A line per run: its state, the parameters in which the runs differ, model time, rates and the digest's beginning.

    A script that was edited while jobs waited is told too: as a parameter of its own, of which runs with the same script have the
    same value.
    """
    # No parameter has such a name.
    told = [{**run.parameters, **({"(script)": run.script[:_DIGITS]} if run.script else {})} for run in runs]
    names = dict.fromkeys(name for parameters in told for name in parameters)
    differing = [name for name in names if len({str(parameters.get(name, "-")) for parameters in told}) > 1]
    rows = [["run", "state", *differing, "model time", "rates (Hz)", "digest"]]
    for run, parameters in zip(runs, told, strict=True):
        shown = run.path.relative_to(folder) if run.path != folder else run.path
        values = (str(parameters.get(name, "-")) for name in differing)
        rows.append(
            [
                " ".join([str(shown), *([run.name] if run.name else [])]),
                run.state,
                *values,
                model_time(run),
                rates(run, _RATES),
                (run.digest or "-")[:_DIGITS],
            ]
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)


def model_time(run: Overview) -> str:
    """How far a run is, as `40 of 100 ms`."""
    if run.model_time_ms is None:
        return "-"
    return f"{run.model_time_ms:g}{'' if run.total_ms is None else f' of {run.total_ms:g}'} ms"


def rates(run: Overview, most: int | None = None) -> str:
    """The mean rates of its populations (of the first `most`), as `exc 4.21, inh 8.03`."""
    shown = [f"{name} {rate:.2f}" for name, rate in run.rates.items()]
    return ", ".join(shown[:most] + (["..."] if most is not None and len(shown) > most else [])) or "-"


def _is_run(path: Path) -> bool:
    return any((path / mark).exists() for mark in _MARKS)


def _silent_s(path: Path) -> float | None:
    try:
        age = time.time() - (path / "run.lock").stat().st_mtime
    except OSError:
        # Without its lock nobody runs it: since when, the last file that it wrote tells.
        written = [file.stat().st_mtime for file in path.glob("*.json")]
        return time.time() - max(written) if written else 0.0
    return age if age > _SILENT or holder_is_gone(path / "run.lock") else None


def _natural(path: Path) -> list[str | int]:
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", str(path))]
