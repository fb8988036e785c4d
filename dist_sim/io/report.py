"""A first look at a run: raster, rates over time and mean rates, in one picture."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

import numpy as np

from dist_sim.errors import OutputError
from dist_sim.io.sonata import spikes_of
from dist_sim.run.disk_errors import remove_quietly, unwritten

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Okabe & Ito: told apart by colour-blind readers as well.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7F7F7F", "#B8A800")
ROWS = (300, 1500)
DOTS, MOST_DOTS = 8_000, 40_000
BINS = 200
PICTURE_BYTES = 200_000  # about what one takes
NAMED, NAMED_BARS = 12, 40
TITLE: dict[str, Any] = {"loc": "left", "fontsize": 9, "color": "0.3"}


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
    times, ids = (np.asarray(steps[first:], dtype=np.int64) + 1) * dt, np.asarray(ids[first:], dtype=np.int64)
    drawn = [
        _Drawn(name=name, first=first_id, size=size, colour=COLOURS[k % len(COLOURS)], times=times[mine], ids=ids[mine])
        for k, ((name, first_id, size), mine) in enumerate(zip(populations, spikes_of(populations, ids), strict=True))
    ]
    figure = Figure(figsize=(11, 6.6), dpi=140, layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(2, 2, width_ratios=(4.4, 1), height_ratios=(2.2, 1))
    raster = figure.add_subplot(grid[0, 0])
    over_time = figure.add_subplot(grid[1, 0], sharex=raster)
    bars = figure.add_subplot(grid[:, 1])

    neurons = _draw_raster(raster, drawn)
    raster.set_xlim(begin_ms, end_ms)
    raster.tick_params(labelbottom=False, bottom=False, left=False)
    total = sum(size for _, _, size in populations)
    raster.set_title(f"spikes of the last {end_ms - begin_ms:g} ms, {neurons:,} of {total:,} neurons", **TITLE)
    _draw_rates_over_time(over_time, drawn, begin_ms, end_ms)
    over_time.yaxis.set_major_locator(MaxNLocator(4))
    over_time.set_title("rate [Hz]" if len(drawn) <= NAMED else "rate of all populations together [Hz]", **TITLE)
    over_time.set_xlabel("time [ms]")
    _draw_mean_rates(bars, drawn, rates)
    bars.xaxis.set_major_locator(MaxNLocator(3))
    bars.set_title("mean rate of the run [Hz]", **TITLE)
    for axes, hidden in (
        (raster, ["top", "right", "left", "bottom"]),
        (over_time, ["top", "right"]),
        (bars, ["top", "right", "left"]),
    ):
        axes.spines[hidden].set_visible(False)
    save(figure, path_png)


def save(figure: Any, path_png: Path) -> None:
    """Writes a figure of matplotlib, whole or not at all.

    Raises:
        OutputError: the file cannot be written.
    """
    temporary = path_png.with_name(f".{path_png.name}.tmp")
    try:
        figure.savefig(temporary, format="png")
        os.replace(temporary, path_png)
    except OSError as error:
        failed = unwritten(path_png, PICTURE_BYTES, error)
        remove_quietly(temporary)
        raise failed from error


@final
@dataclass(frozen=True, kw_only=True)
class _Drawn:
    """A population and its spikes in the window: times [ms], global ids."""

    name: str
    first: int
    size: int
    colour: str
    times: np.ndarray
    ids: np.ndarray


def _draw_raster(axes: Axes, drawn: list[_Drawn]) -> int:
    """Rows from the top, in proportion to the sizes but no population out of sight. Returns the number of neurons shown."""
    total = max(sum(one.size for one in drawn), 1)
    spikes = max(sum(len(one.times) for one in drawn), 1)
    # Quiet networks get more rows, so that there is something to see; busy ones fewer.
    wanted = int(np.clip(total * DOTS / spikes, *ROWS))
    rows_of_all = [min(one.size, max(wanted // 30, round(wanted * one.size / total))) for one in drawn]
    gap = sum(rows_of_all) // 100 + 1
    drawn_rows, row, plots = sum(rows_of_all), 0, []
    for one, rows in zip(drawn, rows_of_all, strict=True):
        # Evenly spaced neurons, not the first ones: neighbours often share inputs or positions.
        shown = one.first + (np.arange(rows) * one.size) // max(rows, 1)
        at = np.searchsorted(shown, one.ids)
        mine = np.append(shown, -1)[at] == one.ids
        times, at = one.times[mine], at[mine]
        if len(times) > (limit := max(MOST_DOTS * rows // drawn_rows, 200)):
            keep = np.arange(limit) * len(times) // limit
            times, at = times[keep], at[keep]
        plots += axes.plot(times, row + at, ".", color=one.colour, markeredgewidth=0)
        if len(drawn) <= NAMED:
            axes.annotate(
                one.name, (0, row + (rows - 1) / 2), xycoords=axes.get_yaxis_transform(), xytext=(-6, 0),
                textcoords="offset points", ha="right", va="center", color=one.colour, weight="bold", fontsize=9,
            )  # fmt: skip
        row += rows + gap
    dots = sum(len(plot.get_xdata()) for plot in plots)
    for plot in plots:
        plot.set_markersize(float(np.clip(250 / np.sqrt(dots + 1), 1.6, 6.0)))
    axes.set_yticks([])
    axes.set_ylim(max(row - gap, 1), -1)
    return drawn_rows


def _draw_rates_over_time(axes: Axes, drawn: list[_Drawn], begin_ms: float, end_ms: float) -> None:
    """One line per population, or one for all where they would hide each other."""
    times = [one.times for one in drawn]
    lines = [(when, one.size, one.colour) for when, one in zip(times, drawn, strict=True)]
    if len(drawn) > NAMED:
        lines = [(np.concatenate(times), sum(one.size for one in drawn), "0.25")]
    # Wide enough for some 20 spikes in a bin and line, and never below a millisecond.
    bins = sum(map(len, times)) // (20 * max(len(lines), 1))
    edges = np.linspace(begin_ms, end_ms, int(np.clip(bins, 10, max(min(BINS, end_ms - begin_ms), 10))) + 1)
    width_s = (edges[1] - edges[0]) * 1e-3
    for when, size, colour in lines:
        counts, _ = np.histogram(when, edges)
        axes.stairs(counts / (max(size, 1) * width_s), edges, baseline=None, color=colour, linewidth=1.1)
    axes.set_ylim(bottom=0)


def _draw_mean_rates(axes: Axes, drawn: list[_Drawn], rates: Mapping[str, float]) -> None:
    values = [float(rates.get(one.name, 0.0)) for one in drawn]
    axes.barh(range(len(drawn)), values, color=[one.colour for one in drawn], height=0.6)
    # A few bars stay bars, and do not become blocks.
    axes.set_ylim(max(len(drawn), 8) - 0.4, -0.6)
    axes.set_xlim(0, max([*values, 1e-9]) * 1.25)
    axes.tick_params(axis="y", left=False)
    if len(drawn) > NAMED_BARS:
        axes.set_yticks([])
        return
    axes.set_yticks(range(len(drawn)), [one.name for one in drawn], fontsize=8)
    for place, value in enumerate(values):
        axes.annotate(f"{value:.3g}", (value, place), xytext=(3, 0), textcoords="offset points", va="center", fontsize=8)
