"""From a description to a network on devices: layout, quanta, tables, neurons, drives, recorders."""

from __future__ import annotations

import os
import socket
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jax.sharding import Mesh

from dist_sim import kernels
from dist_sim.core import LongTermState
from dist_sim.errors import ConnectError
from dist_sim.kernels import build
from dist_sim.kernels.poisson import count_tables
from dist_sim.nest.devices import Meter, dc_generator, poisson_generator, spike_generator
from dist_sim.nest.network import Current, Network
from dist_sim.nest.network import Meter as Sampler
from dist_sim.nest.neurons import NESTNeuron
from dist_sim.nest.nodes import Node
from dist_sim.nest.parameters import steps_up, values_of
from dist_sim.network import Backend, Channels, Connection, PoissonDrive, Projection, poisson_inputs
from dist_sim.network.connection import on_host
from dist_sim.network.tables import quantum_for
from dist_sim.partition.layout import NOWHERE, Layout
from dist_sim.partition.mesh import NEURON, sharded, spread
from dist_sim.partition.processes import processes_of

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
    values = [values_of_model(d, model) for model in d.models]
    with phases.phase("plan"):
        layout = layout_on(d, d.mesh.size)
    drives = [drive for k in d.drives for drive in poisson_drives(k, d)]
    number_drives(drives, d.num_ids)
    channels = input_channels(d, values, layout, drives)
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
            tau_minus=_tau_minus(d, values),
        )
    with phases.phase("neurons"):
        dtype = np.float64 if backend.wide else np.float32
        populations = [
            model(
                {name: layout.spread(g, v, fill=v[0]) for name, v in values[g].items()}
                | {"padding": layout.ids_at[g].reshape(-1) == NOWHERE},
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
            poisson_inputs(drives, layout, d.mesh, channels, seed=d.seed, backend=backend),
            [_current(k, d, layout, dtype) for k in d.currents],
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


def values_of_model(d: Description, model: type[NESTNeuron]) -> dict[str, np.ndarray]:
    """Parameters and initial values of all neurons of a model, in order of global ids."""
    parts = [values_of(model.parameters, n.draws, n.first_id + np.arange(n.size), d.seed) for n in d.nodes_of(model)]
    values = {name: np.concatenate([p[name] for p in parts]) for name in model.parameters}
    model.check(values)
    values["refractory_steps"] = steps_up(values["t_ref"], d.dt).astype(np.float64)
    return values


def _tau_minus(d: Description, values: Sequence[Mapping[str, np.ndarray]]) -> np.ndarray:
    """(num_ids,) ms; what is no neuron has none."""
    found = np.zeros(d.num_ids)
    for model, of_model in zip(d.models, values, strict=True):
        found[np.concatenate([n.first_id + np.arange(n.size) for n in d.nodes_of(model)])] = of_model["tau_minus"]
    return found


def layout_on(d: Description, num_devices: int) -> Layout:
    """Where the neurons lie on so many devices."""
    owner = np.full(d.num_ids, NOWHERE, dtype=np.int64)
    groups = [np.concatenate([n.first_id + np.arange(n.size) for n in d.nodes_of(model)]) for model in d.models]
    load = np.ones(d.num_ids)
    for c in d.connections:
        load[c.post_ids] += c.mean_indegree() * _EVENT_COST * _EXPECTED_RATE * d.dt * 1e-3
    neurons = np.sort(np.concatenate(groups))
    owner[neurons] = d.plan.owner(load[neurons], num_devices)
    return Layout(owner=owner, groups=groups, num_devices=num_devices)


def input_channels(
    d: Description, values: Sequence[Mapping[str, np.ndarray]], layout: Layout, drives: Sequence[PoissonDrive]
) -> list[Channels]:
    """How many input channels each model has, and the quantum of its weights, from what its neurons could at most receive in
    one step: known from the description alone, hence the same on every placement."""
    bound = np.zeros(d.num_ids)
    for c in d.connections:
        mean = c.mean_indegree()
        bound[c.post_ids] += (mean + 8.0 * mean**0.5 + 16.0) * c.largest_weight()
    for drive in drives:
        largest = {m: float(count_tables(np.array([m])).largest[0]) for m in np.unique(drive.mean) if m > 0}
        bound[drive.target_ids] += np.array([largest.get(m, 0.0) for m in drive.mean]) * np.abs(drive.weight)
    channels, offset = [], 0
    for g, model in enumerate(d.models):
        apart = any(name.startswith("I_syn") for s in d.sampled if s.group == g for name in _device(s.meter, Meter).record_from)
        count = 2 if model.signed_channels and (apart or not model.mergeable(values[g])) else 1
        quantum = quantum_for(float(bound[layout.groups[g]].max()), d.precision == 64)
        channels.append(Channels(count=count, offset=offset, quantum=quantum))
        offset += count * layout.block[g]
    return channels


def _edges(c: Connection, d: Description) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Source number, target position, slot and weight of every edge from a stimulating device, on the host."""
    drawn = build.draw_values(on_host(c, np.arange(len(c.post_ids)), seed=d.seed, backend=d.backend), seed=d.seed, dt=d.dt)
    return drawn.source, drawn.target, drawn.slot.astype(np.int64), drawn.weight


def poisson_drives(k: Drive, d: Description) -> list[PoissonDrive]:
    """Generators and their connections as drives of neurons."""
    generator: poisson_generator = k.generator
    source, target, slot, weight = _edges(k.edges, d)
    mean = generator.rate[source] * d.dt * 1e-3
    delay = k.edges.delay_bounds(d.dt)[0]
    ids = k.edges.post_ids
    if k.edges.weight.kind == build.CONSTANT:
        # Trains of one weight add up to one train.
        slot, target, mean = np.zeros(len(ids), np.int64), np.arange(len(ids)), np.bincount(target, mean, minlength=len(ids))
        weight = np.full(len(ids), k.edges.weight.a)
    elif len(slot) and slot.max() >= 256:
        raise ConnectError(f"{k.edges.where}: {slot.max() + 1} generators with different weights on one neuron; at most 256.")
    drives = []
    for number in np.unique(slot):
        chosen = (slot == number) & (mean > 0)
        if chosen.any():
            drives.append(
                PoissonDrive(
                    target_ids=ids[target[chosen]],
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


def number_drives(drives: Sequence[PoissonDrive], num_ids: int) -> None:
    """The stream of a drive is how many its neuron had before, in order of the script."""
    seen = np.zeros(num_ids, dtype=np.int64)
    for drive in drives:
        drive.order[:] = seen[drive.target_ids]
        seen[drive.target_ids] += 1


def _current(k: DirectCurrent, d: Description, layout: Layout, dtype: Any) -> Current:
    generator: dc_generator = k.generator
    source, target, _, weight = _edges(k.edges, d)
    amplitude = np.zeros(d.num_ids)
    np.add.at(amplitude, k.edges.post_ids[target], generator.amplitude[source] * weight)
    padded = layout.spread(k.edges.group, amplitude[layout.groups[k.edges.group]])
    # As in NEST: the current of [start, stop) is sent one step ahead, so that it acts from start + delay on; one that starts at 0
    # cannot be sent before the first step.
    delay = k.edges.delay_bounds(d.dt)[0]
    split = sharded(d.mesh, NEURON)
    return Current(
        group=k.edges.group,
        amplitude=LongTermState(spread(padded.astype(dtype), split), sharding=split),
        start=max(generator.start, 1) + delay,
        stop=min(generator.stop + delay, 2**31 - 1),
    )


def _sampler(s: Sampling, d: Description, layout: Layout, populations: Sequence[NESTNeuron], chunk: int) -> Sampler:
    device = _device(s.meter, Meter)
    place = layout.owner[s.ids] * layout.block[s.group] + layout.place[s.ids]
    return Sampler(populations[s.group], device.record_from, place, device.interval, chunk // device.interval + 2)
