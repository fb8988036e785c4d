"""Connections whose spikes bring what their senders release: what the synapses are told of the senders."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import brainunit as u

from dist_sim.errors import ConnectError
from dist_sim.nest.neurons import NESTNeuron
from dist_sim.nest.neurons.shape import receptor_of, receptor_unit, settable
from dist_sim.network.connection import Connection
from dist_sim.simulator.assembly import Description, values_at


def with_releases(d: Description) -> Description:
    """The description, whose synapses to such receptors are carried by the laws of what their senders release.

    Raises:
        ConnectError: senders of one connection that release differently.
    """
    models = d.models
    laws = {to: receptor_of(models[to[0]], to[1]).released_by for to in {(c.group, c.receptor) for c in d.connections}}
    known: dict[Any, Mapping[str, float]] = {}
    found = []
    for c in d.connections:
        if (law := laws[c.group, c.receptor]) is None:
            found.append(c)
            continue
        model = models[c.group]
        # Connections from the same view share its ids.
        key = (model, c.receptor, id(c.pre_ids))
        if key not in known:
            known[key] = _of_senders(d, model, law.reads, c)
        changing = law.by(known[key]).changing(c.weight, receptor_unit(model, c.receptor), c.where)
        found.append(replace(c, plasticity=replace(changing, released=True)))
    return replace(d, connections=tuple(found))


def _of_senders(d: Description, model: type[NESTNeuron], names: tuple[str, ...], c: Connection) -> dict[str, float]:
    """Parameters and initial values that all senders of a connection have."""
    values = values_at(d, model, c.pre_ids, names)
    for name in names:
        low, high, unit = values[name].min(), values[name].max(), settable(model)[name].unit
        if low != high:
            unit = "" if u.have_same_dim(unit, u.UNITLESS) else f" {unit}"
            raise ConnectError(
                f"{c.where}: receptor_type={c.receptor} of a {model.__name__} needs senders of one {name}; these have {low:g} to "
                f"{high:g}{unit}. Connect neurons that differ by calls of their own."
            )
    return {name: float(values[name][0]) for name in names}
