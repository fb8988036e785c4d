"""From a description to a network on devices: layout, quanta, tables, neurons, drives, recorders."""

from __future__ import annotations

import os
import socket
import warnings
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from jax.sharding import Mesh

from dist_sim import kernels
from dist_sim.core import LongTermState
from dist_sim.errors import ConnectError
from dist_sim.kernels import build
from dist_sim.kernels.neurons import NEURON_STREAMS
from dist_sim.kernels.poisson import count_tables
from dist_sim.nest.declared import Parameter
from dist_sim.nest.devices import Meter, dc_generator, poisson_generator, spike_generator
from dist_sim.nest.neurons import NESTNeuron
from dist_sim.nest.neurons.text import Shape, channels_of, counts_of, mergeable, receptor_unit, routes_of, settable
from dist_sim.network import Backend, Channels, Connection, PoissonDrive, Projection, poisson_inputs
from dist_sim.network.channels import quantum_for
from dist_sim.network.connection import on_host
from dist_sim.network.distributions import smallest_size, typical_size
from dist_sim.partition.layout import NOWHERE, Ids, Layout, span
from dist_sim.partition.mesh import NEURON, joined, local_positions, sharded
from dist_sim.partition.processes import processes_of
from dist_sim.partition.share import Share
from dist_sim.simulator.network import Current, Network
from dist_sim.simulator.network import Meter as Sampler
from dist_sim.simulator.nodes import Node
from dist_sim.simulator.parameters import values_of
from dist_sim.simulator.population import Population

# What a synaptic event costs relative to the update of a neuron, and a rate [Hz] to expect: for plans that balance work.
_EVENT_COST, _EXPECTED_RATE = 3.0, 5.0
_LOG_BYTES = 2**25  # of the log of spikes of a chunk, on all devices together


@dataclass(frozen=True, kw_only=True)
class Drive:
    """Poisson generators connected to neurons; `edges.pre_ids` are their numbers."""

    generator: Any
    edges: Connection


@dataclass(frozen=True, kw_only=True)
class DirectCurrent:
    """Current generators connected to neurons; `edges.pre_ids` are their numbers."""

    generator: Any
    edges: Connection


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """A meter connected to neurons of one model."""

    meter: Node
    group: int
    ids: np.ndarray


@dataclass(frozen=True, kw_only=True)
class Description:
    """Everything that `create` and `connect` said, and how to run it."""

    dt: float
    seed: int
    precision: int
    mesh: Mesh
    plan: Any
    exchange: Any
    backend: str
    chunk: int | None
    nodes: Sequence[Node]
    num_ids: int
    connections: Sequence[Connection]
    drives: Sequence[Drive]
    currents: Sequence[DirectCurrent]
    recorded: Mapping[Node, np.ndarray]
    sampled: Sequence[Sampling]

    @property
    def models(self) -> list[type[NESTNeuron]]:
        """Neuron models in order of first use: the groups."""
        return list(dict.fromkeys(n.model for n in self.nodes if n.is_neuron))

    def axes_of(self, model: type[NESTNeuron]) -> dict[str, int]:
        """Entries of each axis of lists: those of the neuron that has most."""
        return {axis: max(n.axes[axis] for n in self.nodes_of(model)) for axis in model.axes()}

    def nodes_of(self, model: type) -> list[Node]:
        return [n for n in self.nodes if n.model is model]


def assemble(d: Description, phases: Any) -> Network:
    """Builds the network, each device's synapses on their own, and on the process that has the device.

    Raises:
        ConnectError, ParameterError: what only the whole network can tell.
    """
    if d.backend == "cpp":
        with phases.phase("kernels"):
            kernels.load()
    with phases.phase("plan"):
        layout = layout_on(d, d.mesh.size)
        share = Share(layout=layout, devices=local_positions(d.mesh), processes=processes_of(d.mesh))
    # Of this process's neurons alone.
    values = [values_of_share(d, share, group) for group in range(len(d.models))]
    shapes = shapes_of(d, values, share)
    drives = [drive for k in d.drives for drive in poisson_drives(k, d, share)]
    number_drives(drives, share)
    channels = input_channels(d, shapes, share, drives)
    backend = Backend(name=d.backend, threads=_threads(d.mesh), wide=d.precision == 64)
    with phases.phase("connect") as progress:
        generators = [steps for node in d.nodes_of(spike_generator) for steps in _device(node, spike_generator).steps]
        projection = Projection(
            d.connections,
            layout,
            d.mesh,
            channels,
            exchange=d.exchange,
            external_steps=generators,
            seed=d.seed,
            dt=d.dt,
            backend=backend,
            watch=progress.update,
            of_targets=partial(_of_targets, d),
            counted={g: m.binary for g, m in enumerate(d.models) if m.several_spikes or m.binary},
        )
    with phases.phase("neurons"):
        dtype = np.float64 if backend.wide else np.float32
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
        return Network(
            layout,
            d.mesh,
            populations,
            projection,
            poisson_inputs(drives, share, d.mesh, channels, seed=d.seed, backend=backend),
            [_current(k, d, share, dtype) for k in d.currents],
            [_sampler(s, d, layout, populations, chunk) for s in d.sampled],
            chunk,
        )


def chunk_steps(d: Description, layout: Layout) -> int:
    """Largest number of steps between two visits of the host."""
    return d.chunk or max(1, min(1000, _LOG_BYTES // max(1, layout.num_slots // 8)))


def _device(node: Node, kind: type) -> Any:
    assert isinstance(node.device, kind)
    return node.device


def _threads(mesh: Mesh) -> int:
    """Threads of each device's kernels: the cores that this process may use, shared by its devices, and by the processes of this
    host that may use the same ones."""
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(os.cpu_count() or 1))
    here = zlib.crc32(repr((socket.gethostname(), cores)).encode())
    sharing = int((processes_of(mesh).gather(np.array([here], np.uint32)) == here).sum())
    return min(256, max(1, len(cores) // (len(mesh.local_devices) * sharing)))


def values_at(d: Description, model: type[NESTNeuron], ids: np.ndarray) -> dict[str, np.ndarray]:
    """Parameters and initial values of some neurons of a model by row, by global id: (n,) each."""
    return _drawn_at(d, model, settable(model), ids)


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
    owner[neuron] = d.plan.owner(load[neuron], num_devices)
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


def input_channels(d: Description, shapes: Sequence[Shape], share: Share, drives: Sequence[PoissonDrive]) -> list[Channels]:
    """The input channels of each model, and the quanta of its neurons, from what these could at most receive in one step: known
    from the description alone, hence the same on every placement.

    Raises:
        ConnectError: a weight that the quantum of its target cannot hold.
    """
    layout, channels, offset = share.layout, [], 0
    for g, (model, shape) in enumerate(zip(d.models, shapes, strict=True)):
        names, routes = channels_of(model, shape), routes_of(model, shape)
        bound = np.zeros((len(names), share.num_slots))
        for c in (c for c in d.connections if c.group == g):
            mean = c.mean_indegree()
            at_most = (mean + 8.0 * mean**0.5 + 16.0) * c.largest_weight()
            for row in set(routes[c.receptor]):
                bound[row, share.find(c.post_ids)[1]] += at_most
        for drive in (drive for drive in drives if drive.group == g):
            largest = {m: float(count_tables(np.array([m])).largest[0]) for m in np.unique(drive.mean) if m > 0}
            for row in set(routes[drive.receptor]):
                bound[row, drive.place] += np.array([largest.get(m, 0.0) for m in drive.mean]) * np.abs(drive.weight)
        bounds = (
            np.stack([share.of_group(g, row) for row in bound]) if names else np.zeros((0, layout.block[g] * len(share.devices)))
        )
        quantum = quantum_for(bounds, d.precision == 64)
        # Where nothing can arrive any quantum will do.
        most = share.processes.gather(quantum.max(axis=1, initial=0.0) if names else np.zeros(0)).max(axis=0)
        quantum = np.where(bounds > 0, quantum, most[:, None])
        counting = frozenset(k for k, name in enumerate(names) if counts_of(model, name))
        quantum[sorted(counting)] = 1.0
        channels.append(Channels(count=len(names), offset=offset, routes=routes, counting=counting, quantum=quantum))
        offset += len(names) * layout.block[g]
    _refuse_coarse(d, channels, share)
    return channels


def _refuse_coarse(d: Description, channels: Sequence[Channels], share: Share) -> None:
    """A weight that its neuron's quantum cannot hold to a thousandth is refused."""
    coarsest = np.zeros(len(d.connections))
    for k, c in enumerate(d.connections):
        channel, (_, place) = channels[c.group], share.find(c.post_ids)
        if channel.routes[c.receptor][0] not in channel.counting and len(place):
            device, within = np.divmod(place, share.layout.slots_per_device)
            places = device * share.layout.block[c.group] + within - share.layout.first[c.group]
            coarsest[k] = channel.quanta(c.receptor, places).max()
    coarsest = share.processes.gather(coarsest).max(axis=0)
    for c, quantum in zip(d.connections, coarsest, strict=True):
        size, smallest = typical_size(c.weight), smallest_size(c.weight)
        if size == 0 or smallest >= 500 * quantum:
            continue
        unit = receptor_unit(d.models[c.group], c.receptor)
        told = (
            f"{c.where}: a weight of {smallest:g} {unit} is rounded by up to {50 * quantum / smallest:.2g} %: a neuron that it "
            f"reaches can receive so much more at once that one unit of its 32-bit input stands for {quantum:.2g} {unit}. "
            "Use precision=64, or give the strong synapses to other neurons."
        )
        if size < 500 * quantum:
            raise ConnectError(told)
        warnings.warn(told, stacklevel=2)


def _edges(c: Connection, d: Description, share: Share) -> tuple[np.ndarray, build.Drawn]:
    """Places of the targets that lie in a share, and the edges from stimulating devices to them, on the host."""
    local, place = share.find(c.post_ids)
    return place, build.draw_values(on_host(c, local, seed=d.seed, backend=d.backend), seed=d.seed, dt=d.dt)


def poisson_drives(k: Drive, d: Description, share: Share) -> list[PoissonDrive]:
    """Generators and their connections as drives of the neurons of a share."""
    generator: poisson_generator = k.generator
    place, drawn = _edges(k.edges, d, share)
    slot, target, weight = drawn.slot.astype(np.int64), drawn.target, drawn.weight
    mean = generator.rate[drawn.source] * d.dt * 1e-3
    delay = k.edges.delay_bounds(d.dt)[0]
    if k.edges.weight.kind == build.CONSTANT:
        # Trains of one weight add up to one train.
        n = len(place)
        slot, target, mean = np.zeros(n, np.int64), np.arange(n), np.bincount(target, mean, minlength=n)
        weight = np.full(n, k.edges.weight.a)
    (most,) = share.processes.largest([slot.max(initial=0)])
    if most >= 256:
        raise ConnectError(f"{k.edges.where}: {most + 1} generators with different weights on one neuron; at most 256.")
    drives = []
    for number in np.unique(slot):
        chosen = (slot == number) & (mean > 0)
        if chosen.any():
            drives.append(
                PoissonDrive(
                    place=place[target[chosen]],
                    group=k.edges.group,
                    mean=mean[chosen],
                    weight=weight[chosen],
                    delay=delay,
                    start=generator.start,
                    stop=generator.stop,
                    order=np.zeros(chosen.sum(), np.int64),
                    receptor=k.edges.receptor,
                )
            )
    return drives


def number_drives(drives: Sequence[PoissonDrive], share: Share) -> None:
    """The stream of a drive is how many its neuron had before, in order of the script."""
    seen = np.zeros(share.num_slots, dtype=np.int64)
    for drive in drives:
        drive.order[:] = seen[drive.place]
        seen[drive.place] += 1


def _current(k: DirectCurrent, d: Description, share: Share, dtype: Any) -> Current:
    generator: dc_generator = k.generator
    place, drawn = _edges(k.edges, d, share)
    amplitude = np.zeros(share.num_slots)
    np.add.at(amplitude, place[drawn.target], generator.amplitude[drawn.source] * drawn.weight)
    padded = share.of_group(k.edges.group, amplitude)
    # As in NEST: the current of [start, stop) is sent one step ahead, so that it acts from start + delay on; one that starts at 0
    # cannot be sent before the first step.
    delay = k.edges.delay_bounds(d.dt)[0]
    return Current(
        group=k.edges.group,
        amplitude=LongTermState(joined(d.mesh, padded.astype(dtype)), sharding=sharded(d.mesh, NEURON)),
        start=max(generator.start, 1) + delay,
        stop=min(generator.stop + delay, 2**31 - 1),
    )


def _sampler(s: Sampling, d: Description, layout: Layout, populations: Sequence[Population], chunk: int) -> Sampler:
    device = _device(s.meter, Meter)
    place = layout.positions(s.group, s.ids)
    return Sampler(populations[s.group], device.record_from, place, device.interval, chunk // device.interval + 2)
