"""From a description to a network on devices: layout, quanta, tables, neurons, drives, recorders."""

from __future__ import annotations

import socket
import warnings
import zlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any

import numpy as np
from jax.sharding import Mesh

from dist_sim.errors import ConnectError
from dist_sim.kernels.neurons import NEURON_STREAMS, prepare
from dist_sim.nest.declared import Parameter
from dist_sim.nest.devices import Meter, TrainGenerator
from dist_sim.nest.neurons import NESTNeuron
from dist_sim.nest.neurons.shape import Shape, channels_of, counts_of, mergeable, receptor_unit, routes_of, settable
from dist_sim.nest.neurons.text import neuron_text
from dist_sim.network import Backend, Channels, Connection, Projection
from dist_sim.network.channels import quantum_for
from dist_sim.network.distributions import bounds, smallest_size, typical_size
from dist_sim.partition.layout import NOWHERE, Ids, Layout, span
from dist_sim.partition.mesh import local_positions
from dist_sim.partition.processes import own_cores, processes_of
from dist_sim.partition.share import Share
from dist_sim.run.session import current_session
from dist_sim.simulator.entries import Entries, entries_of
from dist_sim.simulator.network import Meter as Sampler
from dist_sim.simulator.network import Network
from dist_sim.simulator.nodes import Node
from dist_sim.simulator.parameters import values_of
from dist_sim.simulator.population import Population
from dist_sim.simulator.stimuli import Drawn, Stimulus, add_bounds, draw_stimuli, stimulus_inputs

# What a synaptic event costs relative to the update of a neuron, and a rate [Hz] to expect: for placements that balance work.
_EVENT_COST, _EXPECTED_RATE = 3.0, 5.0
_SEVERAL = 16  # spikes in a step to leave room for, of each neuron that can send several
_LOG_BYTES = 2**25  # of the log of spikes of a chunk, on all devices together


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """Meters connected to neurons of one model.

    Attributes:
        ids: (k,) of the neurons; number: (k,) which of the meters samples each.
        order: (k,) place among all that the meters sample.
    """

    meter: Node
    group: int
    ids: np.ndarray
    number: np.ndarray
    order: np.ndarray


@dataclass(frozen=True, kw_only=True)
class Description:
    """Everything that `create` and `connect` said, and how to run it.

    Attributes:
        backend: of the step; builder: that which draws connections and tables.
        recorded: per spike_recorder, the number of one of them and global ids of what it records, as often as it does.
    """

    dt: float
    seed: int
    precision: int
    mesh: Mesh
    placement: Any
    exchange: Any
    backend: str
    builder: str
    chunk: int | None
    nodes: Sequence[Node]
    num_ids: int
    connections: Sequence[Connection]
    stimuli: Sequence[Stimulus]
    recorded: Mapping[Node, Sequence[tuple[int, np.ndarray]]]
    sampled: Sequence[Sampling]

    @property
    def models(self) -> list[type[NESTNeuron]]:
        """Neuron models in order of first use: the groups."""
        return list(dict.fromkeys(n.model for n in self.nodes if n.is_neuron))

    def axes_of(self, model: type[NESTNeuron]) -> dict[str, int]:
        """Entries of each axis of lists: those of the neuron that has most."""
        counts = {axis: max(n.axes[axis] for n in self.nodes_of(model)) for axis in model.axes()}
        return counts | {e.axis: len(e.weights) for e in self.entries if e.model is model}

    def nodes_of(self, model: type) -> list[Node]:
        return [n for n in self.nodes if issubclass(n.model, model)]

    @cached_property
    def trains(self) -> dict[Node, list[np.ndarray]]:
        """Of each node of generators that send all targets the same: per generator, the steps of its spikes."""
        numbered = [(number, n, n.device) for number, n in enumerate(self.nodes) if isinstance(n.device, TrainGenerator)]
        return {node: device.trains(self.seed, number) for number, node, device in numbered}

    @cached_property
    def entries(self) -> Sequence[Entries]:
        """Synapses that have entries of their own in their targets."""
        found = []
        for group, model in enumerate(self.models):
            for receptor in (r for r in model.receptors.values() if r.weights is not None):
                its = [c for c in self.connections if c.group == group and c.receptor == receptor.port]
                found.append(entries_of(model, receptor, its, seed=self.seed, dt=self.dt, backend=self.builder))
        return found

    @cached_property
    def events(self) -> tuple[np.ndarray, np.ndarray]:
        """Steps and ids (n,) of all spikes of those generators, generator by generator."""
        of_all = [(node.first_id + k, train) for node, trains in self.trains.items() for k, train in enumerate(trains)]
        ids, number = (np.array(column, dtype=np.int64) for column in ([i for i, _ in of_all], [len(t) for _, t in of_all]))
        return np.concatenate([np.zeros(0, np.int64), *(train for _, train in of_all)]), np.repeat(ids, number)

    @cached_property
    def bounded(self) -> Sequence[Connection]:
        """The connections as they are built, those of each entry on their own; each with how many spikes its sources can send in
        one step: neurons one, generators what they hold."""
        own = {(self.models.index(e.model), e.receptor.port) for e in self.entries}
        built = [c for c in self.connections if (c.group, c.receptor) not in own]
        built += [c for e in self.entries for c in e.connections]
        steps, ids = self.events
        begins = np.flatnonzero((np.diff(steps, prepend=-1) != 0) | (np.diff(ids, prepend=-1) != 0))
        at_once, ids = np.diff(begins, append=len(steps)), ids[begins]
        stretches = {n: slice(*np.searchsorted(ids, [n.first_id, n.first_id + n.size])) for n in self.trains}
        most = {node: int(at_once[stretch].max(initial=1)) for node, stretch in stretches.items()}
        most |= {n: _SEVERAL for n in self.nodes if n.is_neuron and n.model.several_spikes}
        several = [(node.first_id, node.first_id + node.size, n) for node, n in most.items() if n > 1]
        if not several:
            return built
        found = []
        for c in built:
            there = [n for first, last, n in several if ((c.pre_ids >= first) & (c.pre_ids < last)).any()]
            found.append(replace(c, at_once=max(there)) if there else c)
        return found


def assemble(d: Description, phases: Any) -> Network:
    """Builds the network, each device's synapses on their own, and on the process that has the device.

    Raises:
        ConnectError, ParameterError: what only the whole network can tell.
    """
    with phases.phase("placement"):
        layout = layout_on(d, d.mesh.size)
        share = Share(layout=layout, devices=local_positions(d.mesh), processes=processes_of(d.mesh))
    # Of this process's neurons alone.
    values = [values_of_share(d, share, group) for group in range(len(d.models))]
    shapes, dtype = shapes_of(d, values, share), np.dtype(np.float64 if d.precision == 64 else np.float32)
    with phases.phase("kernels"):
        prepare([neuron_text(model, shape, dtype) for model, shape in zip(d.models, shapes, strict=True)], backend=d.backend)
    stimuli = draw_stimuli(d, share)
    channels = input_channels(d, shapes, share, stimuli)
    backend = Backend(name=d.backend, builder=d.builder, threads=_threads(d.mesh), wide=d.precision == 64)
    with phases.phase("connect") as progress:
        projection = Projection(
            d.bounded,
            layout,
            d.mesh,
            channels,
            exchange=d.exchange,
            external_steps=[steps for trains in d.trains.values() for steps in trains],
            seed=d.seed,
            dt=d.dt,
            backend=backend,
            watch=progress.update,
            of_targets=partial(_of_targets, d),
            counted={g: m.binary for g, m in enumerate(d.models) if m.several_spikes or m.binary},
        )
    with phases.phase("neurons"):
        populations = [
            Population(
                model,
                shapes[g],
                values[g],
                share.of_group(g, share.ids),
                dt=d.dt,
                channels=channels[g],
                dtype=dtype,
                mesh=d.mesh,
                backend=d.backend,
                seed=d.seed,
                stream=NEURON_STREAMS,
                recorded=recorded_names(d, g),
            )
            for g, model in enumerate(d.models)
        ]
        chunk = chunk_steps(d, layout)
        drives, currents = stimulus_inputs(d, stimuli, share, d.mesh, channels, backend)
        return Network(
            layout,
            d.mesh,
            populations,
            projection,
            drives,
            currents,
            _samplers(d, layout, populations, chunk),
            chunk,
        )


def chunk_steps(d: Description, layout: Layout) -> int:
    """Largest number of steps between two visits of the host."""
    return d.chunk or max(1, min(1000, _LOG_BYTES // max(1, layout.num_slots // 8)))


def _device(node: Node, kind: type) -> Any:
    assert isinstance(node.device, kind)
    return node.device


def _threads(mesh: Mesh) -> int:
    """Threads of each device's kernels: its share of `--threads`; without, of the cores that this process may use, less what
    other processes of this host that may use the same ones take."""
    session = current_session()
    if session is not None and session.threads is not None:
        return min(256, max(1, session.threads // len(mesh.local_devices)))
    cores = own_cores()
    here = zlib.crc32(repr((socket.gethostname(), cores)).encode())
    sharing = int((processes_of(mesh).gather(np.array([here], np.uint32)) == here).sum())
    return min(256, max(1, len(cores) // (len(mesh.local_devices) * sharing)))


def values_at(
    d: Description, model: type[NESTNeuron], ids: np.ndarray, names: Collection[str] | None = None
) -> dict[str, np.ndarray]:
    """Parameters and initial values (None: all) of some neurons of a model by row, by global id: (n,) each."""
    known = settable(model)
    if names is not None:
        return _drawn_at(d, model, {n: known[n] for n in names}, ids)
    of_synapses = (e.values(ids) for e in d.entries if e.model is model)
    return {k: v for values in (_drawn_at(d, model, known, ids), *of_synapses) for k, v in values.items()}


def values_of_share(d: Description, share: Share, group: int) -> dict[str, np.ndarray]:
    """Those of a share's neurons of one model, in padded order; the padding has those of the model's first neuron."""
    ids = share.of_group(group, share.ids)
    return values_at(d, d.models[group], np.where(ids == NOWHERE, share.layout.groups[group][0], ids))


def _drawn_at(d: Description, model: type, known: Mapping[str, Parameter], ids: np.ndarray) -> dict[str, np.ndarray]:
    order, values = np.argsort(ids, kind="stable"), {}
    ascending, axes = ids[order], d.axes_of(model)
    for n in d.nodes_of(model):
        chosen = order[slice(*np.searchsorted(ascending, [n.first_id, n.first_id + n.size]))]
        for name, of_node in values_of(known, axes, n.axes, n.draws, ids[chosen], n.first_id, d.seed).items():
            values.setdefault(name, np.zeros(len(ids)))[chosen] = of_node
    return values


def _of_targets(d: Description, name: str, ids: np.ndarray) -> np.ndarray:
    """(n,) a parameter of neurons by global id, of any model."""
    of_models = (_drawn_at(d, m, {name: settable(m)[name]}, ids)[name] for m in d.models)
    return sum(of_models, np.zeros(len(ids)))


def layout_on(d: Description, num_devices: int) -> Layout:
    """Where the neurons lie on so many devices."""
    groups = [Ids(*(range(n.first_id, n.first_id + n.size) for n in d.nodes_of(model))) for model in d.models]
    load = np.ones(d.num_ids)
    for c in d.connections:
        load[span(c.post_ids)] += c.mean_indegree() * _EVENT_COST * _EXPECTED_RATE * d.dt * 1e-3
    neuron = np.zeros(d.num_ids, dtype=bool)
    for run in (run for ids in groups for run in ids.runs):
        neuron[run.start : run.stop] = True
    # As few bytes as hold the number of a device: every process keeps it of all neurons.
    owner = np.full(d.num_ids, NOWHERE, dtype=np.min_scalar_type(-num_devices))
    owner[neuron] = d.placement.owner(load[neuron], num_devices)
    return Layout(owner=owner, groups=groups, num_devices=num_devices)


def recorded_names(d: Description, group: int) -> set[str]:
    """What meters ask the neurons of a model for."""
    return {name for s in d.sampled if s.group == group for name in _device(s.meter, Meter).record_from}


def shapes_of(d: Description, values: Sequence[Mapping[str, np.ndarray]], share: Share) -> list[Shape]:
    """What the text of each model depends on: known from the whole network, hence the same on every placement."""
    found = []
    for g, (model, known) in enumerate(zip(d.models, values, strict=True)):
        seen = any(name.endswith("_in") for name in recorded_names(d, g))
        here = [seen or not mergeable(model, known), *(np.any(has(known)) for has in model.features.values())]
        present = share.processes.gather(np.array(here, dtype=np.float64)).max(axis=0)
        features = frozenset(name for name, there in zip(model.features, present[1:], strict=True) if there)
        found.append(Shape(axes=tuple(d.axes_of(model).items()), merged=not present[0], features=features))
    return found


def input_channels(d: Description, shapes: Sequence[Shape], share: Share, stimuli: Sequence[Drawn]) -> list[Channels]:
    """The input channels of each model, and the quanta of its neurons, from what these could at most receive in one step: known
    from the description alone, hence the same on every placement.

    Raises:
        ConnectError: a weight that the quantum of its target cannot hold.
    """
    layout, channels, offset = share.layout, [], 0
    places = {id(ids): share.find(ids)[1] for ids in {id(c.post_ids): c.post_ids for c in d.bounded}.values()}
    for g, (model, shape) in enumerate(zip(d.models, shapes, strict=True)):
        names, routes = channels_of(model, shape), routes_of(model, shape)
        bound = np.zeros((len(names), share.num_slots))
        for c in (c for c in d.bounded if c.group == g):
            mean = c.mean_indegree()
            at_most = (mean + 8.0 * mean**0.5 + 16.0) * c.largest_weight() * c.at_once
            for row in set(routes[c.receptor]):
                bound[row, places[id(c.post_ids)]] += at_most
        add_bounds(bound, g, routes, stimuli, share)
        of_devices = (
            np.stack([share.of_group(g, row) for row in bound]) if names else np.zeros((0, layout.block[g] * len(share.devices)))
        )
        quantum = quantum_for(of_devices, d.precision == 64)
        # Where nothing can arrive any quantum will do.
        most = share.processes.gather(quantum.max(axis=1, initial=0.0) if names else np.zeros(0)).max(axis=0)
        quantum = np.where(of_devices > 0, quantum, most[:, None])
        counting = frozenset(k for k, name in enumerate(names) if counts_of(model, name))
        quantum[sorted(counting)] = 1.0
        channels.append(Channels(count=len(names), offset=offset, routes=routes, counting=counting, quantum=quantum))
        offset += len(names) * layout.block[g]
    _refuse_coarse(d, channels, share, places)
    return channels


def _refuse_coarse(d: Description, channels: Sequence[Channels], share: Share, found: Mapping[int, np.ndarray]) -> None:
    """A weight that its neuron's quantum cannot hold to a thousandth is refused."""
    known: dict[Any, float] = {}
    coarsest = np.zeros(len(d.bounded))
    for k, c in enumerate(d.bounded):
        key = id(c.post_ids), c.group, c.receptor
        if key not in known:
            channel, place = channels[c.group], found[id(c.post_ids)]
            device, within = np.divmod(place, share.layout.slots_per_device)
            places = device * share.layout.block[c.group] + within - share.layout.first[c.group]
            counting = channel.routes[c.receptor][0] in channel.counting
            known[key] = 0.0 if counting else channel.quanta(c.receptor, places).max(initial=0.0)
        coarsest[k] = known[key]
    coarsest = share.processes.gather(coarsest).max(axis=0)
    for c, quantum in zip(d.bounded, coarsest, strict=True):
        size, smallest = typical_size(c.weight), smallest_size(c.weight)
        if size == 0 or smallest >= 500 * quantum:
            continue
        unit = receptor_unit(d.models[c.group], c.receptor)
        message = (
            f"{c.where}: a weight of {smallest:g} {unit} is rounded by up to {50 * quantum / smallest:.2g} %: a neuron that it "
            f"reaches can receive so much more at once that one unit of its 32-bit input stands for {quantum:.2g} {unit}. "
            f"{_cure(d, c.group)}"
        )
        if size < 500 * quantum:
            raise ConnectError(message)
        warnings.warn(message, stacklevel=2)


def _cure(d: Description, group: int) -> str:
    """What to do about a coarse quantum of a model's neurons."""
    for c in d.connections:
        initial = max(abs(x) for x in bounds(c.weight))
        if c.group == group and c.largest_weight() > 8 * initial:
            unit = receptor_unit(d.models[group], c.receptor)
            return (
                f"{c.where}: its synapses may grow from {initial:g} to {c.largest_weight():g} {unit}. Lower their Wmax, or use "
                "precision=64."
            )
    return "Use precision=64, or give the strong synapses to other neurons."


def _samplers(d: Description, layout: Layout, populations: Sequence[Population], chunk: int) -> list[Sampler]:
    """One for all meters that ask neurons of a model for the same at the same steps: what many ask for is compiled once."""
    asked: dict[Any, list[np.ndarray]] = {}
    for s in d.sampled:
        asked.setdefault(sampler_key(s), []).append(layout.positions(s.group, s.ids))
    return [
        Sampler(populations[group], names, np.concatenate(places), interval, chunk // interval + 2)
        for (group, names, interval), places in asked.items()
    ]


def sampler_key(s: Sampling) -> tuple[int, tuple[str, ...], int]:
    """What some meters ask of which model, and every how many steps."""
    device = _device(s.meter, Meter)
    return s.group, tuple(device.record_from), device.interval
