"""`dist-sim models [NAME]`."""

from __future__ import annotations

import inspect
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from dist_sim.commands.ends import errors_become_exit_codes
from dist_sim.commands.options import Debug
from dist_sim.errors import UnknownNameError
from dist_sim.nest.devices import DEVICES
from dist_sim.nest.neurons import NEURONS
from dist_sim.nest.page import page, summary_of
from dist_sim.nest.synapses import SYNAPSES


def models(
    name: Annotated[str | None, typer.Argument(help="One of them, to read its page.", show_default=False)] = None,
    debug: Debug = False,
) -> None:
    """List the models with NEST's names, or print the page of one: equations, parameters with units, defaults and bounds."""
    with errors_become_exit_codes(debug):
        known = {**NEURONS, **SYNAPSES, **DEVICES}
        if name is None:
            console = Console(markup=False)
            for title, kinds in (("neurons", NEURONS), ("synapses", SYNAPSES), ("devices", DEVICES)):
                table = Table(title, "", box=None, pad_edge=False)
                for row in summary_of([kinds[n] for n in sorted(kinds)]):
                    table.add_row(*map(escape, row))
                console.print(table)
            return
        if name not in known:
            raise UnknownNameError("model", name, known)
        typer.echo(page(NEURONS[name]) if name in NEURONS else f"# {name}\n\n{inspect.cleandoc(known[name].__doc__ or '')}")
