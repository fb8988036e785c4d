"""From generators and their connections to what the step adds to the input of neurons."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from jax.sharding import Mesh

from dist_sim.core import Module
from dist_sim.kernels import build
from dist_sim.kernels.poisson import count_tables
from dist_sim.nest.devices import CurrentGenerator, Generator, OccupationGenerator, SteadyPoissonGenerator
from dist_sim.network import Backend, Channels, Connection, PoissonDrive, poisson_inputs
from dist_sim.network.connection import on_host
from dist_sim.network.stimulus import STIMULUS_STREAMS, CountInput, CurrentInput, Edges, Sender, places_in_group
from dist_sim.partition.share import Share
from dist_sim.simulator.nodes import Node

if TYPE_CHECKING:
    from dist_sim.simulator.assembly import Description

# Layers of Poisson trains on one neuron up to which each is a kernel of its own; more are one loop, of the same numbers.
_KERNELS = 64


@dataclass(frozen=True, kw_only=True)
class Stimulus:
    """Generators connected to neurons of the models `groups`, to a type of their receptors; `edges.pre_ids` are their numbers, or
    their global ids."""

    node: Node
    edges: Connection
    groups: tuple[int, ...]
    receptor: int = 0

    @property
    def device(self) -> Generator:
        assert isinstance(self.node.device, Generator)
        return self.node.device


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """A stimulus to the neurons of a share: drives for the kernels, or edges of any generator."""

    stimulus: Stimulus
    number: int
    drives: Sequence[PoissonDrive]
    edges: Edges | None


def draw_stimuli(d: Description, share: Share) -> list[Drawn]:
    """The edges of all stimuli, each numbered by how many its neuron had before, in order of the script: its random stream."""
    seen = np.zeros(share.num_slots, dtype=np.int64)
    number_of = {node: number for number, node in enumerate(d.nodes)}
    found = []
    for k in d.stimuli:
        drives, edges = _drawn(k, d, share)
        for drive in drives:
            drive.order[:] = seen[drive.place]
            seen[drive.place] += 1
        if edges is not None:
            edges.stream[:] = STIMULUS_STREAMS + seen[edges.place] + edges.layer
            np.add.at(seen, edges.place, 1)
        found.append(Drawn(stimulus=k, number=number_of[k.node], drives=drives, edges=edges))
    return found


def _drawn(k: Stimulus, d: Description, share: Share) -> tuple[list[PoissonDrive], Edges | None]:
    local, place = share.find(k.edges.post_ids)
    drawn = build.draw_values(on_host(k.edges, local, seed=d.seed, backend=d.builder), seed=d.seed, dt=d.dt)
    device, slot = drawn.source - max(k.node.first_id, 0), drawn.slot.astype(np.int64)
    if isinstance(k.device, SteadyPoissonGenerator):
        alike = k.edges.weight.kind == build.CONSTANT
        (most,) = share.processes.largest([0 if alike else slot.max(initial=0)])
        if most < _KERNELS:
            return _poisson_drives(k, d, share, place[drawn.target], device, slot, drawn.weight, alike), None
    stream = np.zeros(len(slot), np.int64)
    return [], Edges(place=place[drawn.target], layer=slot, device=device, weight=drawn.weight, stream=stream)


def _poisson_drives(
    k: Stimulus, d: Description, share: Share, place: np.ndarray, device: np.ndarray, slot: np.ndarray, weight: np.ndarray,
    alike: bool,
) -> list[PoissonDrive]:  # fmt: skip
    """One drive of each neuron at a time. Trains of one weight and window add up to one train."""
    generator = k.device
    assert isinstance(generator, SteadyPoissonGenerator)
    windows = np.stack(generator.active, axis=1)
    mean = generator.mean[device]
    group_of = np.searchsorted(share.layout.first, place % share.layout.slots_per_device, side="right") - 1
    drives = []
    for first, last in np.unique(windows, axis=0).tolist():
        within = (windows[device] == (first, last)).all(axis=1) & (mean > 0)
        if alike:
            total = np.bincount(place[within], mean[within], minlength=share.num_slots)
            there = np.flatnonzero(total)
            parts = [(there, total[there], np.full(len(there), k.edges.weight.a))]
            groups = [np.searchsorted(share.layout.first, there % share.layout.slots_per_device, side="right") - 1]
        else:
            numbers = [within & (slot == number) for number in range(int(slot.max(initial=-1)) + 1)]
            parts, groups = [(place[c], mean[c], weight[c]) for c in numbers], [group_of[c] for c in numbers]
        for (at, rate, of_edge), group in zip(parts, groups, strict=True):
            drives += [
                PoissonDrive(
                    place=at[c], group=g, mean=rate[c], weight=of_edge[c], delay=k.edges.delay_bounds(d.dt)[0],
                    start=first, stop=last, order=np.zeros(int(c.sum()), np.int64), receptor=k.receptor,
                )
                for g in k.groups if (c := group == g).any()
            ]  # fmt: skip
    return drives


def add_bounds(
    bound: np.ndarray, group: int, routes: Mapping[int, tuple[int, int]], stimuli: Sequence[Drawn], share: Share
) -> None:
    """Adds the largest input in one step of each neuron of a model: `bound` (channels, slots of the share), in units of the
    input.

    Args:
        routes: receptor type -> channels of its positive and negative weights.
    """
    for s in stimuli:
        for drive in (drive for drive in s.drives if drive.group == group):
            largest = {m: float(count_tables(np.array([m])).largest[0]) for m in np.unique(drive.mean) if m > 0}
            for row in set(routes[drive.receptor]):
                bound[row, drive.place] += np.array([largest.get(m, 0.0) for m in drive.mean]) * np.abs(drive.weight)
        if s.edges is not None and group in s.stimulus.groups and not isinstance(s.stimulus.device, CurrentGenerator):
            _, chosen = places_in_group(share, group, s.edges.place)
            largest = s.stimulus.device.largest()  # pyright: ignore[reportAttributeAccessIssue]
            for row in set(routes[s.stimulus.receptor]):
                np.add.at(bound[row], s.edges.place[chosen], largest[s.edges.device[chosen]] * np.abs(s.edges.weight[chosen]))


def stimulus_inputs(
    d: Description, stimuli: Sequence[Drawn], share: Share, mesh: Mesh, channels: Sequence[Channels], backend: Backend
) -> tuple[list[Module], list[CurrentInput]]:
    """What adds spikes to the input, and what gives currents: the same Modules on every process."""
    drives = [drive for s in stimuli for drive in s.drives]
    spikes: list[Module] = [*poisson_inputs(drives, share, mesh, channels, seed=d.seed, backend=backend)]
    currents = []
    for s in stimuli:
        if s.edges is None:
            continue
        device = s.stimulus.device
        (layers,) = share.processes.largest([int(s.edges.layer.max(initial=-1)) + 1])
        first, last = device.active
        sender = Sender(
            law=device, number=s.number, devices=device.size, delay=s.stimulus.edges.delay_bounds(d.dt)[0], first=first, last=last
        )
        common: dict[str, Any] = {"seed": d.seed, "dtype": np.float64 if backend.wide else np.float32}
        for group in s.stimulus.groups if layers else ():
            if isinstance(device, CurrentGenerator):
                currents.append(CurrentInput(sender, s.edges, group, layers, share, mesh, **common))
                continue
            initial = device.initial() if isinstance(device, OccupationGenerator) else None
            spikes.append(
                CountInput(
                    sender, s.edges, group, layers, share, mesh, **common, channels=channels[group], receptor=s.stimulus.receptor,
                    integer=backend.integer,
                    initial=initial,
                )
            )  # fmt: skip
    return spikes, currents
