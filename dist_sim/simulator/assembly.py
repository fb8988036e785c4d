"""From a description to a network on devices: layout, quanta, tables, neurons, drives, recorders."""

from __future__ import annotations

import os
import socket
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from jax.sharding import Mesh

from dist_sim import kernels, units
from dist_sim.core import LongTermState
from dist_sim.errors import ConnectError
from dist_sim.kernels import build
from dist_sim.kernels.poisson import count_tables
from dist_sim.nest.devices import Meter, dc_generator, poisson_generator, spike_generator
from dist_sim.nest.neurons import NESTNeuron
from dist_sim.nest.parameter import Parameter
from dist_sim.network import Backend, Channels, Connection, PoissonDrive, Projection, poisson_inputs
from dist_sim.network.connection import on_host
from dist_sim.network.tables import quantum_for
from dist_sim.partition.layout import NOWHERE, Ids, Layout, span
from dist_sim.partition.mesh import NEURON, joined, local_positions, sharded
from dist_sim.partition.processes import processes_of
from dist_sim.partition.share import Share
from dist_sim.simulator.network import Current, Network
from dist_sim.simulator.network import Meter as Sampler
from dist_sim.simulator.nodes import Node
from dist_sim.simulator.parameters import values_of

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
    drives = [drive for k in d.drives for drive in poisson_drives(k, d, share)]
    number_drives(drives, share)
    channels = input_channels(d, values, share, drives)
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
            tau_minus=partial(_tau_minus, d),
        )
    with phases.phase("neurons"):
        dtype = np.float64 if backend.wide else np.float32
        populations = [
            model(
                values[g] | {"padding": share.of_group(g, share.ids) == NOWHERE},
                dt=d.dt,
                channels=channels[g],
                dtype=dtype,
                mesh=d.mesh,
                backend=d.backend,
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
    """Parameters and initial values of some neurons of a model, by global id: (n,) each."""
    values = _drawn_at(d, model, model.parameters, ids)
    values["refractory_steps"] = units.steps_up(values["t_ref"], d.dt).astype(np.float64)
    return values


def values_of_share(d: Description, share: Share, group: int) -> dict[str, np.ndarray]:
    """Those of a share's neurons of one model, in padded order; the padding has those of the model's first neuron."""
    ids = share.of_group(group, share.ids)
    return values_at(d, d.models[group], np.where(ids == NOWHERE, share.layout.groups[group][0], ids))


def _drawn_at(d: Description, model: type, known: Mapping[str, Parameter], ids: np.ndarray) -> dict[str, np.ndarray]:
    values = {name: np.zeros(len(ids)) for name in known}
    order = np.argsort(ids, kind="stable")
    ascending = ids[order]
    for n in d.nodes_of(model):
        chosen = order[slice(*np.searchsorted(ascending, [n.first_id, n.first_id + n.size]))]
        for name, of_node in values_of(known, n.draws, ids[chosen], n.first_id, d.seed).items():
            values[name][chosen] = of_node
    return values


def _tau_minus(d: Description, ids: np.ndarray) -> np.ndarray:
    """(n,) ms, of neurons by global id, of any model."""
    of_models = (_drawn_at(d, m, {"tau_minus": m.parameters["tau_minus"]}, ids)["tau_minus"] for m in d.models)
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


def input_channels(
    d: Description, values: Sequence[Mapping[str, np.ndarray]], share: Share, drives: Sequence[PoissonDrive]
) -> list[Channels]:
    """How many input channels each model has, and the quantum of its weights, from what its neurons could at most receive in
    one step: known from the description alone, hence the same on every placement. Each process bounds its own neurons; the
    largest of all bounds counts."""
    bound = np.zeros(share.num_slots)
    for c in d.connections:
        mean = c.mean_indegree()
        bound[share.find(c.post_ids)[1]] += (mean + 8.0 * mean**0.5 + 16.0) * c.largest_weight()
    for drive in drives:
        largest = {m: float(count_tables(np.array([m])).largest[0]) for m in np.unique(drive.mean) if m > 0}
        bound[drive.place] += np.array([largest.get(m, 0.0) for m in drive.mean]) * np.abs(drive.weight)
    bounds = [share.of_group(g, bound).max(initial=0.0) for g in range(len(d.models))]
    merging = [float(not model.mergeable(v)) for model, v in zip(d.models, values, strict=True)]
    bounds, apart = share.processes.gather(np.array([bounds, merging])).max(axis=0)
    channels, offset = [], 0
    for g, model in enumerate(d.models):
        seen = any(name.startswith("I_syn") for s in d.sampled if s.group == g for name in _device(s.meter, Meter).record_from)
        count = 2 if model.signed_channels and (seen or apart[g] > 0) else 1
        channels.append(Channels(count=count, offset=offset, quantum=quantum_for(float(bounds[g]), d.precision == 64)))
        offset += count * share.layout.block[g]
    return channels


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


def _sampler(s: Sampling, d: Description, layout: Layout, populations: Sequence[NESTNeuron], chunk: int) -> Sampler:
    device = _device(s.meter, Meter)
    place = layout.positions(s.group, s.ids)
    return Sampler(populations[s.group], device.record_from, place, device.interval, chunk // device.interval + 2)
