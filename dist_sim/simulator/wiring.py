"""`connect` between devices and neurons: what a rule says of generators, recorders and meters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from dist_sim.errors import ConnectError, UnknownNameError
from dist_sim.kernels import build
from dist_sim.nest.devices import CurrentGenerator, Meter, RateGenerator, SpikeRecorder, WeightRecorder
from dist_sim.nest.neurons import NESTNeuron
from dist_sim.nest.neurons.shape import Shape, receptor_of, recordables_of
from dist_sim.nest.synapses import Synapse
from dist_sim.network.connection import Connection, on_host
from dist_sim.network.rules import Rule, all_to_all, explicit_edges, fixed_outdegree, fixed_total_number, one_to_one
from dist_sim.simulator.arguments import read_delay, read_receptor, read_weight, refuse_weights
from dist_sim.simulator.assembly import Sampling
from dist_sim.simulator.nodes import Node, NodeView
from dist_sim.simulator.stimuli import Stimulus

# The targets of a recorder's connection have no global ids; these key what a rule draws for them, where no neuron is.
_RECORDER_IDS = 1 << 31


@dataclass(frozen=True, kw_only=True)
class Call:
    """One call of `connect`, as far as it is the same for all kinds.

    Attributes:
        number: of the call, a key of random numbers; models: of all neurons, in order of first use.
    """

    pre: NodeView
    post: NodeView
    receptor_type: int | None
    rule: Rule
    weight: Any
    delay: Any
    multapses: bool
    number: int
    where: str
    dt: float
    seed: int
    backend: str
    models: Sequence[type[NESTNeuron]]

    def edges(self, pre: np.ndarray, post: np.ndarray, weight: build.Draw, delay: build.Draw) -> Connection:
        """The edges of the call from devices, or to them: they belong to no model."""
        edges = Connection(
            pre_ids=pre, post_ids=post, group=-1, rule=self.rule, weight=weight, delay=delay, autapses=True,
            multapses=self.multapses, stream=self.number, where=self.where,
        )  # fmt: skip
        edges.check(self.dt)
        return edges

    def pairs(self, pre: np.ndarray, post: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Source and place in `post` of each edge to or from a recorder, in order of `post`."""
        if self.weight is not None or self.delay is not None:
            name = "weight" if self.weight is not None else "delay"
            raise ConnectError(
                f"{self.where}: a {name} means nothing between neurons and a recorder, which takes down what is at its own time. "
                f"Leave {name}=... out."
            )
        one = build.Draw(kind=build.CONSTANT, a=1.0)
        edges = self.edges(pre, post, one, build.Draw(kind=build.CONSTANT, a=self.dt))
        if isinstance(self.rule, all_to_all):
            return np.tile(pre, len(post)), np.repeat(np.arange(len(post)), len(pre))
        drawn = build.draw_values(
            on_host(edges, np.arange(len(post)), seed=self.seed, backend=self.backend), seed=self.seed, dt=self.dt
        )
        return drawn.source, drawn.target


def stimulus(call: Call) -> Stimulus:
    """From generators to neurons of any models.

    Raises:
        ConnectError: what a generator cannot do. UnitError: a weight in the unit of something else.
    """
    device = call.pre.node.device
    # The weight of a current is a factor.
    current = isinstance(device, CurrentGenerator)
    models = neurons_of(call.post, call.where)
    receptor, unit = (0, None) if current else unit_of(call.post, call.receptor_type, call.weight, call.where)
    if not current:
        refuse_senders(call.pre, call.post, receptor, None, call.where)
    if isinstance(device, RateGenerator):
        raise ConnectError(
            f"{call.where}: a {call.pre.node.model.__name__} gives a rate, and {models[0].__name__} takes none: there are no "
            "rate neurons yet."
        )
    deaf = [model.__name__ for model in models if current and not model.current_ports]
    if deaf:
        raise ConnectError(f"{call.where}: a {deaf[0]} takes no currents. Give it spikes.")
    weight = read_weight(call.weight, unit, call.where)
    for model in models if not current else ():
        refuse_weights(model, receptor, weight, call.where)
    delay = read_delay(call.delay, call.where)
    if delay.kind != build.CONSTANT:
        raise ConnectError(f"{call.where}: a generator reaches all its targets after one delay; give one number.")
    edges = call.edges(call.pre.ids, call.post.ids, weight, delay)
    return Stimulus(
        node=call.pre.node, edges=edges, groups=tuple(call.models.index(model) for model in models), receptor=receptor
    )


def recorded(call: Call) -> list[tuple[int, np.ndarray]]:
    """What each of some spike_recorders records: its number, and global ids, as often as it does."""
    numbers = call.post.ids
    if isinstance(call.rule, all_to_all):
        call.pairs(call.pre.ids[:0], numbers[:0])
        return [(int(number), call.pre.ids) for number in numbers]
    source, place = call.pairs(call.pre.ids, _RECORDER_IDS + numbers)
    return [(int(number), source[place == k]) for k, number in enumerate(numbers) if (place == k).any()]


def sampled(call: Call, before: Sequence[Sampling]) -> list[Sampling]:
    """What meters sample, one entry for each model.

    Args:
        before: what is sampled already.
    """
    models, meter = neurons_of(call.post, call.where), call.pre.node
    device = meter.device
    assert isinstance(device, Meter)
    for model in models:
        for name in device.record_from:
            if name not in (known := _recordables(model, call.post)):
                raise UnknownNameError("recordable", name, known, where=f"{call.where}: {model.__name__}")
    if not device.record_from:
        given = list(_recordables(models[0], call.post))
        raise ConnectError(f"{call.where}: the multimeter records nothing. Create it with record_from={given}.")
    number, place = call.pairs(call.pre.ids, call.post.ids)
    order = np.lexsort((place, number))
    number, ids = number[order], call.post.ids[place[order]]
    first = sum(len(s.ids) for s in before if s.meter is meter)
    found = []
    for node in call.post.nodes:
        chosen = np.flatnonzero((ids >= node.first_id) & (ids < node.first_id + node.size))
        if len(chosen):
            group = call.models.index(node.model)
            found.append(Sampling(meter=meter, group=group, ids=ids[chosen], number=number[chosen], order=first + chosen))
    return found


def _recordables(model: type[NESTNeuron], post: NodeView) -> Mapping[str, Any]:
    """Those that all nodes of the model have."""
    nodes = [n for n in post.nodes if n.model is model]
    return recordables_of(model, Shape(axes=tuple((axis, min(n.axes[axis] for n in nodes)) for axis in nodes[0].axes)))


def by_model(c: Connection, post: NodeView, models: Sequence[type[NESTNeuron]]) -> list[Connection]:
    """A connection to neurons of several models as one to each: the same synapses, which are drawn by the ids of their targets.

    Raises:
        ConnectError: a rule that draws for all targets together.
    """
    if len(of := {node.model for node in post.nodes}) == 1:
        return [replace(c, group=models.index(of.pop()))]
    group = np.empty(len(c.post_ids), np.int64)
    for node in post.nodes:
        group[(c.post_ids >= node.first_id) & (c.post_ids < node.first_id + node.size)] = models.index(node.model)
    present = np.unique(group)
    if len(present) <= 1:
        return [replace(c, group=int(present[0]) if len(present) else models.index(post.nodes[0].model))]
    if isinstance(c.rule, fixed_outdegree | fixed_total_number):
        raise ConnectError(
            f"{c.where}: {c.rule.name} draws its targets from all of them together, which must be neurons of one model; got "
            f"{', '.join(sorted(models[g].__name__ for g in present))}. Connect one model at a time."
        )

    parts = []
    for g in present:
        rows = np.flatnonzero(group == g)
        pre, rule, chosen = c.pre_ids, c.rule, rows
        if isinstance(rule, one_to_one):
            pre = pre[rows]
        elif isinstance(rule, explicit_edges):
            chosen = np.flatnonzero(group[rule.post] == g)
            rule = explicit_edges(rule.pre[chosen], np.searchsorted(rows, rule.post[chosen]))
        weight, delay = (_rows(draw, chosen, group, c.rule) for draw in (c.weight, c.delay))
        parts.append(replace(c, pre_ids=pre, post_ids=c.post_ids[rows], group=int(g), rule=rule, weight=weight, delay=delay))
    return parts


def _rows(draw: build.Draw, rows: np.ndarray, group: np.ndarray, rule: Rule) -> build.Draw:
    """Some rows of an array of weights or delays, of targets or, in explicit_edges, of edges."""
    if draw.values is None:
        return draw
    number = len(rule.post) if isinstance(rule, explicit_edges) else len(group)
    values = draw.values.reshape(number, -1)[rows]
    shape = values.shape if len(draw.shape) > 1 else (values.size,)
    return replace(draw, values=np.ascontiguousarray(values.reshape(-1)), shape=shape)


def neurons_of(post: NodeView, where: str) -> list[type[NESTNeuron]]:
    """The models of the targets, in order."""
    for node in post.nodes:
        if not node.is_neuron:
            raise ConnectError(f"{where}: the targets must be neurons; {node.name} is a {node.model.__name__}.")
    return list(dict.fromkeys(n.model for n in post.nodes))


def refuse_direction(source: Node, target: Node, where: str) -> None:
    """Raises ConnectError for a pair that cannot be connected, and says which way round it could."""

    def turned(allowed: bool) -> str:
        return f" Say connect({target.name}, {source.name})." if allowed else " Connect it with neurons."

    if issubclass(source.model, WeightRecorder) or issubclass(target.model, WeightRecorder):
        raise ConnectError(
            f"{where}: a weight_recorder is given to synapses: connect(pre, post, synapse=ds.stdp_synapse(weight_recorder=...))."
        )
    if issubclass(source.model, SpikeRecorder):
        raise ConnectError(f"{where}: a {source.model.__name__} receives.{turned(target.has_spikes)}")
    if issubclass(target.model, Meter):
        raise ConnectError(f"{where}: a meter asks the neurons.{turned(source.is_neuron)}")
    if issubclass(target.model, SpikeRecorder):
        if not source.has_spikes:
            sends = source.device is not None and not issubclass(source.model, Meter | CurrentGenerator | RateGenerator)
            hint = "It sends every target a train of its own." if sends else "It has no spikes."
            raise ConnectError(f"{where}: a {source.model.__name__} cannot be recorded by a {target.model.__name__}. {hint}")
    elif target.device is not None:
        raise ConnectError(f"{where}: a {target.model.__name__} sends and cannot be a target.{turned(source.is_neuron)}")


def refuse_senders(pre: NodeView, post: NodeView, receptor: int, synapse: Synapse | None, where: str) -> None:
    """Raises ConnectError where a receptor takes what neurons of the target's model release, and the senders or the synapses are
    others; where it is not for those neurons; where it has states for each static synapse, and there is none; or where what a
    neuron of two states sends would be taken for spikes, or spikes for that."""
    for model in neurons_of(post, where):
        name, taking = model.__name__, receptor_of(model, receptor)
        for node in pre.nodes:
            binary, relays = (getattr(node.model, trait, False) for trait in ("binary", "relays"))
            if binary != model.binary and not (relays or model.relays):
                two, other = (node.name, name) if binary else (name, node.name)
                raise ConnectError(
                    f"{where}: {two} has two states and sends their changes, {other} sends or takes spikes. Put parrot_neuron "
                    "neurons between them, if that is what is meant."
                )
        here = f"{where}: receptor_type={receptor} of a {name}"
        if taking.own_port is not None and any(node.model is model for node in pre.nodes):
            raise ConnectError(f"{here} is not for {name} neurons. Give receptor_type={taking.own_port}, as in NEST.")
        if taking.weights is not None:
            if synapse is None:
                raise ConnectError(
                    f"{here} has states for each synapse, and what {pre.name} sends goes along none. Connect it with "
                    f"parrot_neuron neurons, and these with {post.name}."
                )
            if synapse.on_pre is not None:
                raise ConnectError(
                    f"{here} takes static synapses, whose weights stay; got {type(synapse).__name__}. Leave synapse=... out."
                )
        if taking.released_by is None:
            continue
        others = sorted({r.port for r in model.receptors.values() if r.released_by is None})
        for node in pre.nodes:
            if node.model is not model:
                raise ConnectError(
                    f"{here} takes what {name} neurons release; {node.name} is a {node.model.__name__}. "
                    f"Connect {name} neurons, or use receptor_type={' or '.join(map(str, others))}."
                )
        if synapse is not None and synapse.on_pre is not None:
            raise ConnectError(
                f"{here} takes static synapses, for what a spike brings is what its sender releases; got "
                f"{type(synapse).__name__}. Leave synapse=... out."
            )


def unit_of(post: NodeView, receptor_type: int | None, weight: Any, where: str) -> tuple[int, Any]:
    """The receptor type of a connection, and the unit of its weights.

    Raises:
        ConnectError: not all targets have the receptor, or there are several units and a weight is given.
    """
    models = neurons_of(post, where)
    found = [read_receptor(m, [n for n in post.nodes if n.model is m], receptor_type, where) for m in models]
    names = ", ".join(sorted(model.__name__ for model in models))
    if len(set(port for port, _ in found)) > 1:
        raise ConnectError(f"{where}: the targets have no receptor type in common ({names}). Connect one model at a time.")
    units = sorted({str(unit) for _, unit in found})
    if len(units) > 1 and weight is not None:
        raise ConnectError(
            f"{where}: the targets take weights in {' and in '.join(units)} ({names}). Connect one model at a time."
        )
    return found[0]
