"""The page of a model, made from what it declares: the documentation of its parameters is its declarations."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Sequence
from typing import Any

import brainunit as u

from dist_sim.nest.declared import Parameter
from dist_sim.nest.laws import Adaptive
from dist_sim.nest.neurons import NESTNeuron
from dist_sim.nest.neurons.shape import default_shape, recordables_of, settable


def page(model: type[NESTNeuron]) -> str:
    """A model in Markdown: what its docstring says, parameters with units, defaults and bounds, receptors, recordables, its
    law."""
    known = settable(model)
    starts = {n: p for n, p in known.items() if n in model.state_declarations}
    given = {n: p for n, p in known.items() if n not in starts}
    parts = [f"# {model.__name__}", inspect.cleandoc(model.__doc__ or "")]
    parts.append("## Parameters\n\n" + _table(("name", "unit", "default", "allowed"), (_row(n, p) for n, p in given.items())))
    if starts:
        parts.append(
            "## Initial values\n\n" + _table(("name", "unit", "default", "allowed"), (_row(n, p) for n, p in starts.items()))
        )
    signs = {1: "positive weights", -1: "negative weights", None: "all weights"}
    rows = []
    for name, receptor in model.receptors.items():
        port = f"{receptor.port} and up, one per entry of the lists" if receptor.axis is not None else str(receptor.port)
        takes = "counts spikes" if receptor.counts else signs[receptor.sign]
        if receptor.weights is not None:
            port, takes = str(receptor.port), "all weights; every synapse has states of its own"
        if receptor.released_by is not None:
            takes += f", times what their senders release: of {model.__name__} alone"
        rows.append((name, port, _unit(receptor.unit), takes))
    if rows:
        parts.append("## Receptors\n\n" + _table(("input", "receptor type", "unit of weights", "takes"), rows))
    recorded = recordables_of(model, default_shape(model))
    parts.append("## Recordables\n\n" + (", ".join(f"{n} [{_unit(unit) or '1'}]" for n, unit in recorded.items()) or "none"))
    parts.append(f"## Solved by\n\n{_law(model)}")
    return "\n\n".join(parts) + "\n"


def _row(name: str, p: Parameter) -> tuple[str, str, str, str]:
    limits = {"above": p.above, "at least": p.at_least, "below": p.below, "at most": p.at_most}
    bounds = [f"{words} {bound:g}" for words, bound in limits.items() if bound is not None]
    if p.steps:
        bounds.append("in whole steps, rounded up")
    if p.axis is not None:
        bounds.append(f"a list, as long as the others of {p.axis}")
    default = p.default if isinstance(p.default, tuple | bool) else f"{p.default:g}"
    return name, _unit(p.unit), str(list(default) if isinstance(default, tuple) else default), ", ".join(bounds)


def _unit(unit: Any) -> str:
    return "" if u.have_same_dim(unit, u.UNITLESS) else str(unit)


def _law(model: type[NESTNeuron]) -> str:
    law = model.law
    if not isinstance(law, Adaptive):
        return f"{type(law).__name__}: {(type(law).__doc__ or '').split('.')[0].strip()}."
    tolerance = law.tolerance if isinstance(law.tolerance, str) else f"{law.tolerance:g}"
    least = f"; in precision 32 at least {law.least_in_float32:g}"
    of = "|h dy/dt| + 1" if law.control == "dy" else "the states"
    return f"Adaptive: Runge-Kutta-Fehlberg 4(5), an error of at most {tolerance} in {of}{least}."


def _table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [titles, ["---"] * len(titles), *rows]
    return "\n".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in row) + " |" for row in lines)


def summary_of(models: Sequence[type[Any]]) -> list[tuple[str, str]]:
    """Name and first sentence of each."""
    texts = (inspect.cleandoc(m.__doc__ or "").split("\n\n")[0].replace("\n", " ") for m in models)
    return [(m.__name__, text.partition(". ")[0].rstrip(".")) for m, text in zip(models, texts, strict=True)]
