"""A first look at a run: raster, rates over time and mean rates, in one picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from dist_sim.errors import OutputError

# Okabe & Ito: told apart by colour-blind readers as well.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7F7F7F", "#B8A800")
ROWS = 400
DOTS = 40_000
BINS = 200
NAMED = 12


def raster_and_rates(
    path_png: Path,
    steps: np.ndarray,
    ids: np.ndarray,
    dt: float,
    populations: Sequence[tuple[str, int, int]],
    rates: Mapping[str, float],
    window_ms: float,
    *,
    end_ms: float | None = None,
) -> None:
    """Draw the last window of a run as a PNG.

    Args:
        path_png: the file to write.
        steps, ids: int64 steps and global ids of the spikes, sorted by (step, id).
        dt: the step, ms.
        populations: (name, first global id, size) each.
        rates: population -> mean rate over the whole run, Hz.
        window_ms: how much of the end is shown; end_ms: where the run ends, by default at the last spike.

    Raises:
        OutputError: matplotlib is not installed, or the file cannot be written.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
        from matplotlib.ticker import MaxNLocator
    except ImportError as error:
        raise OutputError("the picture of the spikes needs matplotlib: pip install matplotlib") from error
    if end_ms is None:
        end_ms = float(steps[-1] + 1) * dt if len(steps) else float(window_ms)
    begin_ms = max(0.0, end_ms - window_ms)
    first = int(np.searchsorted(steps, round(begin_ms / dt)))
    times, ids = (np.asarray(steps[first:], dtype=np.int64) + 1) * dt, np.asarray(ids[first:])
    colour = {name: COLOURS[k % len(COLOURS)] for k, (name, _, _) in enumerate(populations)}

    figure = Figure(figsize=(11, 6.6), dpi=140, layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(2, 2, width_ratios=(4.2, 1), height_ratios=(2.2, 1))
    raster = figure.add_subplot(grid[0, 0])
    over_time = figure.add_subplot(grid[1, 0], sharex=raster)
    bars = figure.add_subplot(grid[:, 1])

    ticks = _draw_raster(raster, times, ids, populations, colour)
    _draw_rates(over_time, times, ids, populations, colour, (begin_ms, end_ms))
    raster.set_xlim(begin_ms, end_ms)
    raster.set_yticks(*ticks)
    raster.tick_params(labelbottom=False, left=False)
    over_time.set_xlabel("time [ms]")
    over_time.set_ylabel("rate [Hz]")
    over_time.set_ylim(bottom=0)
    over_time.yaxis.set_major_locator(MaxNLocator(4))

    names = [name for name, _, _ in populations]
    values = [float(rates.get(name, 0.0)) for name in names]
    places = np.arange(len(names))
    bars.barh(places, values, color=[colour[name] for name in names], height=0.65)
    bars.set_ylim(len(names) - 0.4, -0.6)
    bars.set_yticks(places if len(names) <= 40 else [], names if len(names) <= 40 else [], fontsize=8)
    bars.set_xlim(0, max([*values, 1e-9]) * 1.3)
    for place, value in zip(places, values, strict=True):
        if len(names) <= 40:
            bars.annotate(f"{value:.3g}", (value, place), xytext=(3, 0), textcoords="offset points", va="center", fontsize=8)
    bars.xaxis.set_major_locator(MaxNLocator(3))
    bars.set_xlabel("mean rate [Hz]")
    bars.tick_params(axis="y", left=False)

    for axes in (raster, over_time, bars):
        axes.spines[["top", "right"]].set_visible(False)
    raster.spines["left"].set_visible(False)
    bars.spines["left"].set_visible(False)
    try:
        figure.savefig(path_png)
    except OSError as error:
        raise OutputError(f"{path_png}: cannot be written: {error.strerror}.") from error


def _draw_raster(axes, times, ids, populations, colour) -> tuple[list[float], list[str]]:
    """Rows from the top, in proportion to the sizes but no population out of sight; returns where to write the names."""
    total = max(sum(size for _, _, size in populations), 1)
    places, names, row = [], [], 0
    for name, first_id, size in populations:
        rows = min(size, max(8, round(ROWS * size / total)))
        # Evenly spaced neurons, not the first ones: neighbours often share inputs or positions.
        shown = first_id + (np.arange(rows) * size) // max(rows, 1)
        at = np.searchsorted(shown, ids)
        mine = (at < rows) & (shown[np.minimum(at, rows - 1)] == ids) if rows else np.zeros(len(ids), bool)
        when, where = times[mine], at[mine]
        if len(when) > (limit := max(DOTS * rows // ROWS, 200)):
            keep = np.arange(limit) * len(when) // limit
            when, where = when[keep], where[keep]
        dot = 1.6 if len(when) < 4000 else 0.9
        axes.plot(when, row + where, ".", color=colour[name], markersize=dot * 1.6, markeredgewidth=0, rasterized=True)
        places.append(row + (rows - 1) / 2)
        names.append(f"{name} ({rows} of {size:,})" if rows < size else name)
        row += rows + 3
    axes.set_ylim(max(row - 2, 1), -2)
    return (places, names) if len(names) <= NAMED else ([], [])


def _draw_rates(axes, times, ids, populations, colour, span) -> None:
    edges = np.linspace(span[0], span[1], min(BINS, max(int(span[1] - span[0]), 1)) + 1)
    width_s = (edges[1] - edges[0]) * 1e-3
    for name, first_id, size in populations:
        mine = (ids >= first_id) & (ids < first_id + size)
        counts, _ = np.histogram(times[mine], edges)
        axes.stairs(counts / (max(size, 1) * width_s), edges, color=colour[name], linewidth=1.1, label=name)
