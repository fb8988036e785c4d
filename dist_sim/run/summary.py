"""What a run was, in numbers: `summary.json` and the table at its end."""

from __future__ import annotations

import resource
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from dist_sim.run.provenance import versions
from dist_sim.run.recording import Recording
from dist_sim.run.statistics import Population

# More populations than this fill a terminal and are in the file anyway.
ROWS = 40


def peak_rss_bytes() -> int:
    """The largest memory this process has held so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def build_summary(
    *,
    model_time_ms: float,
    wall_s: float,
    build_s: float,
    neurons: int,
    populations: Sequence[Population],
    recording: Recording,
    phases: Mapping[str, float],
    devices: int,
    peak_rss: Sequence[int],
    synapses: int | None = None,
    synapse_bytes: int = 0,
    events: tuple[int, int, int] | None = None,
    exchange: str | None = None,
    backend: str | None = None,
    precision: int = 32,
) -> dict[str, Any]:
    """The content of `summary.json`, over all `simulate()` calls so far (cheap: no spike is read again).

    Args:
        model_time_ms, wall_s: model time, and the wall time spent on it; `rtf` is their ratio (below 1: faster than life).
        build_s: wall time up to the first step.
        synapses: how many there are, where that is known; synapse_bytes: memory of their tables on all devices.
        recording: all spikes; rates [Hz] and CV are over the whole model time, per population.
        events: synaptic events that the spikes stand for (spikes times out-degree), those of them that were delivered, and those
            in flight; None where they are not counted.
        phases: seconds per phase.
        peak_rss: the largest memory that each process has held so far.
    """
    statistics = recording.statistics.of(populations, model_time_ms)
    emitted, delivered, in_flight = (None, None, None) if events is None else map(int, events)
    return {
        "model_time_ms": float(model_time_ms),
        "wall_s": float(wall_s),
        "rtf": wall_s * 1e3 / model_time_ms if model_time_ms > 0 else None,
        "build_s": float(build_s),
        "neurons": int(neurons),
        "synapses": synapses if synapses is None else int(synapses),
        "bytes_per_synapse": synapse_bytes / synapses if synapses else None,
        "peak_rss_bytes": max(peak_rss),
        "peak_rss_bytes_of_processes": list(peak_rss),
        "spikes": recording.spikes,
        "events": delivered,
        "emitted_events": emitted,
        "delivered_events": delivered,
        "in_flight_events": in_flight,
        "rates": {population.name: population.rate for population in statistics},
        "cv": {population.name: population.cv for population in statistics},
        "population_sizes": {population.name: population.size for population in statistics},
        "phases": {name: float(seconds) for name, seconds in phases.items()},
        "devices": int(devices),
        "processes": len(peak_rss),
        "exchange": exchange,
        "backend": backend,
        "precision": precision,
        "dt_ms": recording.dt,
        "versions": versions(),
        "digest": recording.digest,
    }


def print_summary(
    summary: Mapping[str, Any], console: Console | None = None, *, where: str | None = None, named: bool = False
) -> None:
    """Print a summary as tables: populations; the run; seconds per phase.

    Args:
        where: the run directory, named at the end; named: say which run it is.
    """
    console = console or Console()
    rates, cv, sizes = summary["rates"], summary["cv"], summary["population_sizes"]
    populations = Table(title="populations", title_justify="left", title_style="bold", box=None, pad_edge=False)
    populations.add_column("name")
    for heading in ("neurons", "rate [Hz]", "CV of ISI"):
        populations.add_column(heading, justify="right")
    for name, rate in list(rates.items())[:ROWS]:
        irregularity = "-" if cv.get(name) is None else f"{cv[name]:.3f}"
        populations.add_row(str(name), _count(sizes[name]), f"{rate:.3f}", irregularity)
    if len(rates) > ROWS:
        populations.add_row(f"... and {len(rates) - ROWS} more in summary.json")

    title = f"run {summary['name']}" if named else "run"
    run = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False, show_header=False)
    rtf = summary["rtf"]
    plural = ("device" if summary["devices"] == 1 else "devices", "process" if summary["processes"] == 1 else "processes")
    exchange = f", exchange {summary['exchange']}" if summary["exchange"] else ""
    for name, text in (
        ("model time", f"{summary['model_time_ms']:.1f} ms"),
        ("wall time", f"{summary['wall_s']:.2f} s" + (f"  (RTF {rtf:.3f})" if rtf is not None else "")),
        ("placed on", f"{summary['devices']} {plural[0]}, {summary['processes']} {plural[1]}{exchange}"),
        ("neurons", _count(summary["neurons"])),
        ("synapses", _synapses(summary)),
        ("spikes", _count(summary["spikes"])),
        ("events", _events(summary)),
        ("peak memory", _memory(summary["peak_rss_bytes_of_processes"])),
        ("digest", summary["digest"]),
    ):
        if text:
            run.add_row(name, text)

    phases = Table(title="phases", title_justify="left", title_style="bold", box=None, pad_edge=False, show_header=False)
    phases.add_column()
    phases.add_column(justify="right")
    for name, seconds in summary["phases"].items():
        phases.add_row(name, f"{seconds:.2f} s")

    for table in (populations, run, phases):
        if table.row_count:
            console.print()
            console.print(table)
    if where is not None:
        console.print(f"\n{where}", highlight=False, soft_wrap=True)


def _synapses(summary: Mapping[str, Any]) -> str | None:
    if summary["synapses"] is None:
        return None
    each = summary["bytes_per_synapse"]
    return _count(summary["synapses"]) + (f"  ({each:.2f} bytes each)" if each else "")


def _events(summary: Mapping[str, Any]) -> str | None:
    if (emitted := summary["emitted_events"]) is None:
        return None
    conserved = emitted == summary["delivered_events"] + summary["in_flight_events"]
    verdict = "[green]none lost[/green]" if conserved else f"[bold red]of {_count(emitted)}: LOST[/bold red]"
    return f"{_count(summary['delivered_events'])} delivered, {_count(summary['in_flight_events'])} in flight, {verdict}"


def _memory(peaks: Sequence[int]) -> str:
    """Of the process that takes most; with several, which one that is, and what they take together."""
    most = max(peaks)
    shown = f"{most / 2**20:.0f} MiB"
    return shown if len(peaks) == 1 else f"{shown} (process {peaks.index(most)}; all {len(peaks)}: {sum(peaks) / 2**20:.0f} MiB)"


def _count(number: int) -> str:
    return f"{number:,}"
