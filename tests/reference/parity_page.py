"""The page of what the comparisons with NEST found: `pytest -m nest tests/nest --parity-page .docs/parity.md`.

A test calls the fixture `parity` with the name of a table and a row of it; a test that failed leaves its row out of the page, and
the page says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

TABLES = {
    "neurons": """Deterministic neurons
Each model with its defaults and with every parameter changed alone, 120 ms in steps of 0.1 ms: a step of current, spikes of both
signs on every receptor, alone, together, in bursts and in the first step; where a spike brings what its sender releases, from two
neurons of the model that fire irregularly. Spikes are compared step by step. Deviations are the largest over all neurons and
steps; those of other recordables are relative to the largest value of the recordable, if that is above 1. Where V_m differs by
more than 1e-6 mV (1e-9 of models without a solver), NEST is compared with itself too, every capacitance and time constant larger
by its last bit: an exponential upstroke multiplies a rounding by exp((V_peak - V_th) / Delta_T), 7e10 with the defaults of aeif
models.""",
    "random neurons": """Neurons that spike at random
400 neurons over 600 ms; p values of two-sample Kolmogorov-Smirnov tests.""",
    "synapses": """Plastic synapses
Pairs and triplets at many intervals, and random trains with bursts. Every weight that was passed on, the last weight and every
variable: the largest relative deviation.""",
    "devices": """Devices
What is not drawn: the largest deviation in any step. What is drawn: spikes, and Fano factors of counts in 20 ms, of 60 trains
over one second.""",
}


def cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.2g}" if abs(value) < 1000 else f"{value:,.0f}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def page(rows: Mapping[str, list[dict[str, Any]]], failed: list[str]) -> str:
    """The page, in Markdown."""
    lines = [
        "# Parity with NEST",
        "",
        f"Written by the tests: dist_sim {version('dist_sim')} in double precision against NEST {version('nest-simulator')}.",
        "",
        "```bash",
        "pytest -m nest tests/nest --parity-page .docs/parity.md",
        "```",
    ]
    if failed:
        lines += ["", f"**{len(failed)} comparisons failed and are left out:** {', '.join(sorted(failed))}"]
    for table, about in TABLES.items():
        if not rows.get(table):
            continue
        title, _, text = about.partition("\n")
        names = list(rows[table][0])
        lines += ["", f"## {title}", "", text.replace("\n", " "), "", f"| {' | '.join(names)} |", f"|{' --- |' * len(names)}"]
        ordered = sorted(rows[table], key=lambda row: str(row[names[0]]))
        lines += [f"| {' | '.join(cell(row.get(n, '')) for n in names)} |" for row in ordered]
    return "\n".join(lines) + "\n"
