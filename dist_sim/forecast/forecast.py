"""What a network will take on a number of devices: bytes, and a time per step, from its description alone.

Nothing of the network's size is put on a device: the layout's blocks, the expected in-degrees and the shapes that `Projection`,
`Network` and the neuron models give their States say what they will be.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, final

import numpy as np

from dist_sim.errors import DeviceError
from dist_sim.forecast.launches import launches
from dist_sim.forecast.machines import Machine
from dist_sim.kernels.backend import BLOCK
from dist_sim.kernels.plastic import SynapseText
from dist_sim.nest.devices import Meter
from dist_sim.nest.neurons.shape import Shape
from dist_sim.network import Channels, Connection
from dist_sim.network.drive import layers
from dist_sim.network.rules import (
    explicit_edges,
    fixed_indegree,
    fixed_outdegree,
    fixed_total_number,
    one_to_one,
    pairwise_poisson,
)
from dist_sim.network.tables import families, first_capacity, history_slots
from dist_sim.partition.layout import Layout
from dist_sim.partition.mesh import local_devices, neuron_mesh
from dist_sim.partition.share import Share
from dist_sim.simulator.assembly import (
    Description,
    Sampling,
    chunk_steps,
    input_channels,
    layout_on,
    shapes_of,
    values_at,
)
from dist_sim.simulator.population import Population
from dist_sim.simulator.stimuli import draw_stimuli

# Per neuron of the whole network a process keeps its device, its source slot, and the ids that the script has of it.
WHOLE_BYTES = 24
_MOST_SYNAPSES = 2**32 - 2
_KEPT = 32  # spikes of a target that changing synapses listen to
_REPEATING = (fixed_indegree, fixed_outdegree, fixed_total_number, pairwise_poisson)


@final
@dataclass(frozen=True, kw_only=True)
class Forecast:
    """Of one number of devices.

    Attributes:
        arrays: name -> bytes of it on the fullest device; `process`: bytes of the process of one device (or of as many as share
            one on this machine), with those of the device where these are the host's.
        local: neurons on a device, with the padding.
        synapses: of the whole network, expected; `fullest`: on the device that has most.
        interval: steps between two exchanges; `exchange_bytes`: that a device receives in each.
        launches: kernels of a step, where they were counted; else 0.
        build_s, step_s: seconds to build the network, and of a step.
    """

    devices: int
    arrays: Mapping[str, int]
    process: int
    neurons: int
    local: int
    synapses: float
    fullest: float
    interval: int
    exchange_bytes: int
    launches: int
    build_s: float
    step_s: float

    @property
    def device_bytes(self) -> int:
        """On the fullest device."""
        return sum(self.arrays.values())

    def check(self, machine: Machine, kind: str) -> None:
        """Raises DeviceError if the network does not fit on devices of this kind."""
        name, largest = max(self.arrays.items(), key=lambda item: item[1])
        where = f"{self.devices:,} x {kind}"
        if self.fullest > _MOST_SYNAPSES:
            raise DeviceError(
                f"{where}: {self.fullest:,.0f} synapses on one device; a table holds {_MOST_SYNAPSES:,}. Use more devices."
            )
        needed = self.process if machine.host else self.device_bytes
        shared = f" process with {machine.sharing}" if machine.host and machine.sharing > 1 else ""
        if needed > machine.memory:
            raise DeviceError(
                f"{where}: {needed / 2**30:,.1f} GiB are needed on one{shared}, which has {machine.memory / 2**30:,.1f} GiB. The "
                f"largest part is {name} with {largest / 2**30:,.1f} GiB. Use more devices, or a smaller network."
            )


def forecast(d: Description, devices: int, machine: Machine, *, rate: float) -> Forecast:
    """What a network takes.

    Args:
        devices: how many; `machine`: of which kind.
        rate: that the neurons are expected to have, Hz.
    """
    layout = layout_on(d, devices)
    wide = d.precision == 64
    limits = [c.delay_bounds(d.dt) for c in d.connections]
    min_delay = min((low for low, _ in limits), default=1)
    num_delays = max((high for _, high in limits), default=1) - min_delay + 1
    targets = [np.bincount(layout.owner[c.post_ids], weights=_degrees(c), minlength=devices) for c in d.connections]
    per_device = np.sum(targets, axis=0) if targets else np.zeros(devices)
    device = int(np.argmax(per_device))
    share = Share(layout=layout, devices=np.array([device]))
    values = [values_at(d, model, _typical(d, model)) for model in d.models]
    shapes = shapes_of(d, values, share)
    stimuli = draw_stimuli(d, share)
    drives = [drive for s in stimuli for drive in s.drives]
    channels = input_channels(d, shapes, share, stimuli)
    rows = _rows(d, layout, device, [t[device] for t in targets])

    local, words = layout.slots_per_device, layout.slots_per_device // 32
    sources = -(-(layout.num_slots + len(layout.external_ids)) // 32)
    slots = history_slots(min_delay, num_delays)
    integer = 8 if wide else 4
    outside = sum(len(steps) for trains in d.trains.values() for steps in trains)
    stimulated = sum(
        (int(s.edges.layer.max(initial=-1)) + 1) * sum(layout.block[group] for group in s.stimulus.groups)
        for s in stimuli
        if s.edges is not None
    )
    num_layers = len(layers(drives))
    chunk = chunk_steps(d, layout)
    states = _state_bytes(d, shapes, values, channels)
    texts = _changing_texts(d)
    changing, fixed, changed, heard = _changing_bytes(d, texts, layout, device, [t[device] for t in targets], integer)
    pointers = (rows * num_delays + 1) * 4
    fullest = float(per_device.max(initial=0))
    arrays = {
        "synapses": (fullest - changing) * 2 * integer,
        "plastic synapses": fixed + changed + len(texts) * (pointers + local * 4),
        "spikes that plastic synapses wait for": heard,
        "runs of synapses": pointers,
        "known sources": 2 * sources * 4,
        "spikes in flight": first_capacity(int(rows), slots) * 4 + slots * 8 + (min_delay * words + 8) * 4,
        "spikes from outside": outside * 8,
        "neurons": sum(fixed + per_neuron * block for (fixed, per_neuron), block in zip(states, layout.block, strict=True)),
        "Poisson input": num_layers * local * (12 + integer),
        "other stimuli": stimulated * (16 + integer),
        "log of spikes": chunk * words * 4,
        "samples": sum(_sample_bytes(s, chunk, integer) for s in d.sampled),
    }  # fmt: skip
    bytes_of = {name: int(size) for name, size in arrays.items()}
    # While a chunk runs, what it began with is kept, and the input vector is summed.
    begun = ("spikes in flight", "log of spikes", "neurons", "spikes that plastic synapses wait for")
    written = sum(bytes_of[name] for name in begun) + int(changed)
    size = sum(c.count * b for c, b in zip(channels, layout.block, strict=True))
    bytes_of["while a chunk runs"] = written + size * integer
    neurons = sum(map(len, layout.groups))
    exchange_bytes = min_delay * d.exchange.bytes_per_step(layout.num_slots, devices) if devices > 1 else 0
    # Where a device has memory of its own, synapses are built on the host all the same.
    running = bytes_of["while a chunk runs"] if machine.host else 0
    there = sum(bytes_of.values()) - running if machine.host else bytes_of["synapses"] + bytes_of["plastic synapses"]
    kept = local * machine.own_bytes
    above = max(  # a process has its peak while it builds, compiles or runs
        machine.sharing * local * machine.building_bytes,
        machine.sharing * kept + machine.compile_bytes,
        machine.sharing * (kept + running) + machine.run_bytes,
    )
    kernels = 0
    if machine.kernel_us:
        parts = dict(models=len(d.models), devices=devices, drives=num_layers)
        kernels = launches(machine.platform, machine.backend, **parts, changing=[*texts.values()])
    step_ns = (
        local * (machine.neuron_ns + num_layers * machine.poisson_ns)
        + layout.num_slots / 32 * machine.word_ns
        + fullest * rate * d.dt * 1e-3 * machine.event_ns
        + (machine.step_us + kernels * machine.kernel_us) * 1e3
        + (machine.latency_us * 1e3 * np.log2(devices) + exchange_bytes / machine.bandwidth * 1e9) / min_delay
    )
    return Forecast(
        devices=devices,
        arrays=bytes_of,
        process=int(machine.process_bytes + neurons * WHOLE_BYTES + machine.sharing * there + above),
        neurons=neurons,
        local=local,
        synapses=float(per_device.sum()),
        fullest=fullest,
        interval=min_delay,
        exchange_bytes=exchange_bytes,
        launches=kernels,
        build_s=machine.build_s + fullest * machine.synapse_ns * 1e-9,
        step_s=float(step_ns) * 1e-9,
    )


def _sample_bytes(s: Sampling, chunk: int, real: int) -> int:
    meter = s.meter.device
    assert isinstance(meter, Meter)
    return len(s.ids) * ((chunk // meter.interval + 2) * len(meter.record_from) * real + 4)


def _degrees(c: Connection) -> np.ndarray:
    """(num_post,) expected synapses of each target."""
    if isinstance(c.rule, explicit_edges):
        return np.bincount(c.rule.post, minlength=len(c.post_ids)).astype(np.float64)
    return np.full(len(c.post_ids), c.mean_indegree())


def _rows(d: Description, layout: Layout, device: int, synapses: Sequence[float]) -> float:
    """Expected number of sources that have synapses on a device; `synapses`: there, of each connection."""
    absent = np.zeros(d.num_ids)  # logarithm of the probability that a source has none
    for c, count in zip(d.connections, synapses, strict=True):
        if not count:
            continue
        here = layout.owner[c.post_ids] == device
        if isinstance(c.rule, one_to_one):
            absent[c.pre_ids[here]] = -np.inf
        elif isinstance(c.rule, explicit_edges):
            absent[c.pre_ids[c.rule.pre[here[c.rule.post]]]] = -np.inf
        else:
            repeating = c.multapses and isinstance(c.rule, _REPEATING)
            # Draws with replacement, or one chance for each target.
            draws, chance = (count, 1 / len(c.pre_ids)) if repeating else (here.sum(), count / here.sum() / len(c.pre_ids))
            with np.errstate(divide="ignore"):
                absent[c.pre_ids] += draws * np.log1p(-min(1.0, chance))
    return float((1 - np.exp(absent)).sum())


def _state_bytes(
    d: Description, shapes: Sequence[Shape], values: Sequence[Mapping[str, np.ndarray]], channels: Sequence[Channels]
) -> list[tuple[int, float]]:
    """Of each model: bytes whatever its size, and bytes per neuron, read from a small part of it."""
    found = []
    mesh = neuron_mesh(local_devices(d.mesh)[:1])
    dtype = np.float64 if d.precision == 64 else np.float32
    for model, shape, given, channel in zip(d.models, shapes, values, channels, strict=True):
        size = len(given["tau_minus"])
        quantum = np.repeat(channel.quantum[:, :1], size, axis=1)
        if (channel.quantum != channel.quantum[:, :1]).any():
            quantum[:, 1:] *= 2
        neurons = Population(
            model, shape, given, np.arange(size), dt=d.dt, channels=replace(channel, quantum=quantum), dtype=dtype, mesh=mesh,
            backend=d.backend, seed=0, stream=0,
        )  # fmt: skip
        values_there = [s.value for s in neurons.states().values()]
        split = [v for v in values_there if v.shape and v.shape[-1] in (size, size // 32, size // 128)]
        each = sum(v.nbytes for v in split) / size
        found.append((sum(v.nbytes for v in values_there) - int(each * size), each))
    return found


def _typical(d: Description, model: type) -> np.ndarray:
    """Ids of some neurons of a model, of which each parameter that differs among all differs too: a parameter that all share is
    stored once. A multiple of the padding."""
    ids = []
    for n in d.nodes_of(model):
        apart = [int(np.argmax(v.values != v.values[0])) for v in n.draws.values() if v.values is not None]
        ids += [n.first_id, n.first_id + n.size - 1, *(n.first_id + k for k in apart)]
    return np.resize(np.unique(ids), -(-len(ids) // BLOCK) * BLOCK)


def _changing_texts(d: Description) -> dict[str, SynapseText]:
    """Of each family of synapses that change."""
    dtype = np.dtype(np.float64 if d.precision == 64 else np.float32)
    found = {}
    for family in families(d.connections):
        kinds = [c.plasticity for c in d.connections if c.family == family and c.plasticity is not None]
        found[family] = kinds[0].model.text(dtype, max(k.uniforms for k in kinds))
    return found


def _changing_bytes(
    d: Description, texts: Mapping[str, SynapseText], layout: Layout, device: int, targets: Sequence[Any], integer: int
) -> tuple[float, float, float, float]:
    """Of synapses that change on a device: how many, bytes of them that stay and that change, bytes of their targets."""
    count = fixed = changed = heard = 0.0
    for family, text in texts.items():
        mine = [(c, float(t)) for c, t in zip(d.connections, targets, strict=True) if c.family == family]
        number = sum(t for _, t in mine)
        ids = np.unique(np.concatenate([c.post_ids[layout.owner[c.post_ids] == device] for c, _ in mine]))
        count += number
        fixed += number * 12  # target, kind, place
        changed += number * (len(text.variables) * integer + 4)  # and the last spike
        kept = _KEPT if text.listens else 1
        heard += len(ids) * (kept * (4 + text.stored * integer) + 4 * (4 + len(text.traces)) + integer)
    return count, fixed, changed, heard
