"""What `connect` and the Simulator are given, read and checked: rules, weights, delays, directions, names."""

from __future__ import annotations

import inspect
from collections.abc import Collection, Mapping, Sequence
from functools import cache
from typing import Any

import brainunit as u
import numpy as np

from dist_sim import units
from dist_sim.errors import ConnectError, ParameterError, UnknownNameError
from dist_sim.kernels import build
from dist_sim.nest.devices import WeightRecorder
from dist_sim.nest.neurons import NESTNeuron
from dist_sim.nest.neurons.shape import Shape, receptor_of, receptor_types, receptor_unit
from dist_sim.nest.synapses import SYNAPSES, Synapse
from dist_sim.network.distributions import Distribution, as_draw, bounds
from dist_sim.network.rules import RULES, Rule, all_to_all
from dist_sim.simulator.nodes import Node, NodeView

ARGUMENTS = ("rule", "weight", "delay", "synapse", "receptor_type", "allow_autapses", "allow_multapses")  # of connect


def read_receptor(model: type[NESTNeuron], nodes: Sequence[Node], receptor_type: int | None, where: str) -> tuple[int, Any]:
    """The receptor type of a connection to nodes of one model, and the unit of its weights."""
    shape = Shape(axes=tuple((axis, min(n.axes[axis] for n in nodes)) for axis in nodes[0].axes))
    ports = receptor_types(model, shape)
    if receptor_type is None:
        if 0 not in ports and len(ports) > 1:
            raise ConnectError(f"{where}: a {model.__name__} has receptors {_listed(ports)}; say receptor_type=...")
        receptor_type = 0 if 0 in ports else min(ports, default=0)
    if isinstance(receptor_type, bool) or not isinstance(receptor_type, int | np.integer) or int(receptor_type) not in ports:
        types = "receptor " if len(ports) == 1 else "receptors "
        allowed = f"has {types}{_listed(ports)}" if ports else "receives no spikes"
        signs = " alone, and routes weights by sign" if ports == [0] else ""
        raise ConnectError(f"{where}: receptor_type={receptor_type}: a {model.__name__} {allowed}{signs}.")
    return int(receptor_type), receptor_unit(model, int(receptor_type))


def _listed(ports: Sequence[int]) -> str:
    return f"{ports[0]} to {ports[-1]}" if len(ports) > 3 else ", ".join(map(str, ports))


def refuse_weights(model: type[NESTNeuron], receptor: int, weight: build.Draw, where: str) -> None:
    least = receptor_of(model, receptor).at_least
    if least is not None and bounds(weight)[0] < least:
        raise ConnectError(
            f"{where}: a weight of {bounds(weight)[0]:g}; receptor {receptor} of a {model.__name__} takes at least {least:g}."
        )


def named(what: str, given: Any, known: Mapping[str, Any], method: str) -> Any:
    if not isinstance(given, str):
        if isinstance(given, type) or not hasattr(given, method):
            names = ", ".join(sorted(known))
            raise ParameterError(f"Simulator({what}={given!r:.60}): needs a name ({names}) or an object of dist_sim.partition.")
        return given
    if given not in known:
        raise UnknownNameError(what, given, known, where="Simulator")
    return known[given]


def read_rule(rule: Any, options: Mapping[str, Any], where: str) -> Rule:
    if rule is None:
        rule = all_to_all
    if isinstance(rule, str):
        if rule not in RULES:
            raise UnknownNameError("rule", rule, RULES, where=where)
        rule = RULES[rule]
    if isinstance(rule, type) and issubclass(rule, Rule):
        known = _options(rule)
        for name in options:
            if name not in known:
                raise UnknownNameError("argument", name, [*known, *ARGUMENTS], where=f"{where}: rule {rule.name}")
        try:
            return rule(**options)
        except TypeError as error:
            raise ConnectError(f"{where}: rule {rule.name}: {str(error).removeprefix(rule.__name__ + '.__init__() ')}.") from None
    if options:
        raise UnknownNameError("argument", next(iter(options)), ARGUMENTS, where=where)
    if not isinstance(rule, Rule):
        raise ConnectError(f"{where}: rule={rule!r} is not a connection rule. Known: {', '.join(sorted(RULES))}.")
    return rule


@cache
def _options(rule: type[Rule]) -> tuple[str, ...]:
    return tuple(inspect.signature(rule).parameters)


def read_weight(weight: Any, unit: Any, where: str) -> build.Draw:
    if unit is None:
        # The weight of a current is a factor.
        if weight is None:
            return build.Draw(kind=build.CONSTANT, a=1.0)
        if isinstance(weight, u.Quantity | Distribution) or np.ndim(weight) or not np.isfinite(weight):
            raise ConnectError(f"{where}: the weight of a current is one finite number without unit; got {weight}.")
        return build.Draw(kind=build.CONSTANT, a=float(weight))
    return as_draw(units.quantity(1.0, unit) if weight is None else weight, unit, f"{where}: weight")


def read_delay(delay: Any, where: str) -> build.Draw:
    return as_draw(1.0 * u.ms if delay is None else delay, "ms", f"{where}: delay")


def read_synapse(synapse: Any, where: str) -> Synapse:
    """A synapse model as `connect` takes it: an object, a class or a name, or a mapping with NEST's names as its `syn_spec`."""
    options: dict[str, Any] = {}
    if isinstance(synapse, Mapping):
        options = dict(synapse)
        synapse = options.pop("synapse_model", "static_synapse")
    if isinstance(synapse, Synapse):
        return synapse
    name = synapse.__name__ if isinstance(synapse, type) else synapse
    if not isinstance(name, str) or name not in SYNAPSES:
        raise UnknownNameError("synapse", name, SYNAPSES, where=where)
    for option in options:
        if option not in (known := SYNAPSES[name].names()) and f"{option}_" not in known:
            raise UnknownNameError("parameter", option, known, where=f"{where}: {name}")
    return SYNAPSES[name](**options)


def read_recorder(recorder: Any, own: Collection[Node], where: str) -> str | None:
    """The name of the weight_recorder of a connection, None for none; of one of several, also its number."""
    if recorder is None:
        return None
    if not isinstance(recorder, NodeView) or len(recorder.nodes) != 1 or not issubclass(recorder.node.model, WeightRecorder):
        raise ConnectError(f"{where}: weight_recorder={recorder!r:.60}: what create(ds.weight_recorder) returned is needed.")
    if recorder.node not in own:
        raise ConnectError(f"{where}: the weight_recorder {recorder.name} was created by another Simulator.")
    if len(recorder) != 1:
        raise ConnectError(f"{where}: {len(recorder)} weight_recorders; a synapse has one. Choose it: {recorder.name}[0].")
    return watcher(recorder.node, int(recorder.ids[0]))


def watcher(recorder: Node, number: int) -> str:
    """How a connection calls one of some weight_recorders."""
    return recorder.name if recorder.size == 1 else f"{recorder.name}[{number}]"


def either(name: str, given: Any, of_synapse: Any, where: str) -> Any:
    """A weight or delay that may stand in `connect` or in the synapse model, but not in both."""
    if given is not None and of_synapse is not None:
        raise ConnectError(f"{where}: {name} is given twice, as {name}=... and in synapse=... Give it once.")
    return of_synapse if given is None else given
