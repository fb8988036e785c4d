"""How fast this machine runs the kernels that a network needs: measured on two smaller networks of the same kind."""

from __future__ import annotations

import gc
import time
from dataclasses import dataclass, replace
from typing import Any, final

import jax
import jax.numpy as jnp
import numpy as np

from dist_sim.core import LongTermState, Module, ShortTermState
from dist_sim.kernels import stdp
from dist_sim.nest.assembly import Description, assemble
from dist_sim.nest.finite import check_finite
from dist_sim.nest.forecast import WHOLE_BYTES, Forecast, forecast
from dist_sim.nest.machines import Machine, cpu
from dist_sim.nest.network import Network
from dist_sim.nest.neurons import NESTNeuron
from dist_sim.nest.piece import piece
from dist_sim.partition.layout import NOWHERE
from dist_sim.partition.mesh import NEURON, joined, local_positions, sharded
from dist_sim.run.loop import ChunkedLoop
from dist_sim.run.memory import held_bytes, peak_bytes
from dist_sim.run.progress import Phases
from dist_sim.run.recording import Recording

_MOST_SYNAPSES = 16_000_000  # of the larger network: 128 MB, which no cache of a few cores holds
_LARGEST = 0.5  # of the network itself: it is foretold, not run
_SECONDS, _REPEATS = 0.2, 9
# Steps whose spikes are dealt, before they come again: so many that synapses are not found in the cache, where a run would not
# find them, and that targets of plastic synapses spike as irregularly as in a run.
_MOST_PATTERNS, _PATTERN_BITS = 2048, 2**28
_BUILD = ("plan", "connect", "neurons")  # phases whose time follows the size
_SMALLEST = 256  # neurons


@final
@dataclass(frozen=True, kw_only=True)
class _Timed:
    """Of one small network: s of a step without and with spikes; s in all until it could run, and of that what follows its size;
    bytes at most while it is built, and held when it is; at most while it compiles, held afterwards, and at most while it runs,
    on top of what it held before."""

    silent_s: float
    active_s: float
    ready_s: float
    build_s: float
    building: int
    held: int
    compiling: int
    compiled: int
    running: int


def measured_here(d: Description, *, rate: float) -> Machine:
    """A device of this machine (and of the mesh of the description), as it runs the kernels of this network.

    The kernels are timed in the compiled step of two networks that are built for it, visits of the host included: one of a few
    neurons, for what a step costs whatever its size, and one of the same in-degrees with up to 16 million synapses and half of
    the neurons. Spikes are dealt at random, as many in a step as the whole network is expected to have. On several processes each
    of them calls it.

    Args:
        rate: mean rate to expect of the neurons, Hz.
    """
    sharing, at_first = len(local_positions(d.mesh)), held_bytes()
    guess = replace(cpu(1), sharing=sharing)
    whole = forecast(d, d.mesh.size, guess, rate=rate)
    fraction = min(_LARGEST, _MOST_SYNAPSES / max(1.0, whole.synapses))
    parts = piece(d, min(fraction / 4, _SMALLEST / whole.neurons)), piece(d, fraction)
    less, more = (forecast(x, d.mesh.size, guess, rate=rate) for x in parts)
    chance = min(0.5, max(rate, 1.0) * d.dt * 1e-3 * whole.neurons / more.neurons)
    small, large = (_timed(x, chance) for x in parts)
    local = more.local - less.local
    latency = min(30e-6, small.silent_s * more.interval / 2)
    sent_s = (more.exchange_bytes - less.exchange_bytes) / guess.bandwidth / more.interval
    shared = sharing * more.local
    return replace(
        guess,
        neuron_ns=max(0.0, large.silent_s - small.silent_s - sent_s) / max(1, local) * 1e9,
        event_ns=max(0.0, large.active_s - large.silent_s) / max(1.0, more.fullest * chance) * 1e9,
        poisson_ns=0.0,  # with the neurons
        word_ns=0.0,
        step_us=(small.silent_s - latency * np.log2(d.mesh.size) / more.interval) * 1e6,
        # What the first network takes, the second does not take again.
        synapse_ns=large.build_s / max(1.0, more.fullest) * 1e9,
        build_s=small.ready_s,  # the first one, as a run has no other
        latency_us=latency * 1e6,
        process_bytes=at_first + max(0, small.held - _foretold_bytes(less, sharing)),
        compile_bytes=small.compiling,
        run_bytes=max(0, small.compiled + large.running - sharing * more.arrays["while a chunk runs"]),
        building_bytes=max(0, large.building - _foretold_bytes(more, sharing)) / shared,
        own_bytes=max(0, large.held - _foretold_bytes(more, sharing)) / shared,
        source=f"measured here, on {more.neurons:,} neurons and {more.synapses:,.0f} synapses of the same kind",
        measured=True,
    )


def _foretold_bytes(f: Forecast, sharing: int) -> int:
    """Of a process, for the States on its devices and what it keeps of the whole network."""
    return sharing * (f.device_bytes - f.arrays["while a chunk runs"]) + WHOLE_BYTES * f.neurons


@final
class _Dealing(Module):
    """Neurons that are updated, and others' spikes in their place: bits that were dealt beforehand, pattern after pattern.

    Their own spikes pass a mask that lets none through. Without it nothing that is sent would follow from what has arrived: the
    compiler would be free to take in spikes before it delivers others, and would copy what both work on, as it does not in a run.
    """

    def __init__(self, neurons: NESTNeuron, patterns: LongTermState):
        super().__init__()
        self.neurons, self.patterns, self.dtype = neurons, patterns, neurons.dtype
        everywhere = sharded(neurons.mesh)
        self.next = ShortTermState(jnp.zeros((), jnp.int32, device=everywhere), sharding=everywhere)
        self.mask = LongTermState(jnp.zeros((), jnp.uint32, device=everywhere), sharding=everywhere)

    def update(self, arriving: jax.Array, current: jax.Array) -> jax.Array:
        own = self.neurons(arriving, current)
        number, patterns = self.next.value, self.patterns.value
        self.next.value = (number + 1) % len(patterns)
        return own & self.mask.value | jax.lax.dynamic_index_in_dim(patterns, number, keepdims=False)


def _timed(d: Description, chance: float) -> _Timed:
    """Builds a network and times its step; `chance` is that of a neuron to spike in a step."""
    phases, before = Phases(show=False), held_bytes()
    peak_bytes()
    with jax.enable_x64(d.precision == 64):
        begin = time.perf_counter()
        network = assemble(d, phases)
        ready_s = time.perf_counter() - begin
        building, held = peak_bytes(), held_bytes()
        neurons = deal(network, d, chance)
        loop = ChunkedLoop(network, network.chunk, overflow=network.projection.overflow)
        dealt = held_bytes()
        peak_bytes()
        begin = time.perf_counter()
        loop.compile(0)
        check_finite(network, d, 0, 0)
        ready_s += time.perf_counter() - begin
        compiling, compiled = peak_bytes() - dealt, held_bytes() - dealt
        run = _Run(d, network, loop)
        active_s = run.step_s()
        running = run.peak - dealt - compiled
        for population in neurons:
            population.patterns.value = jnp.zeros_like(population.patterns.value)
        silent_s = run.step_s()
    del network, loop, neurons, population, run
    gc.collect()  # what is measured next is not to lie beside this
    return _Timed(
        silent_s=silent_s, active_s=active_s, ready_s=ready_s, build_s=sum(phases.seconds[name] for name in _BUILD),
        building=building - before, held=held - before, compiling=compiling, compiled=compiled, running=running,
    )  # fmt: skip


def deal(network: Network, d: Description, chance: float) -> list[_Dealing]:
    """Puts dealt spikes in the place of the neurons' own; `chance` is that of a neuron to spike in a step."""
    neurons: Any = [_Dealing(p, _dealt(network, group, d, chance)) for group, p in enumerate(network.populations)]
    network.populations = neurons
    return neurons


def _dealt(network: Network, group: int, d: Description, chance: float) -> LongTermState:
    """(patterns, devices * block / 32) bits of the neurons of one model: who spikes."""
    layout, deal = network.layout, np.random.default_rng([d.seed, group])
    block, first = layout.block[group], layout.first[group]
    ids = np.concatenate([layout.ids_on(int(device))[first : first + block] for device in network.projection.local])
    places = np.flatnonzero(ids != NOWHERE)
    count = max(1, min(_MOST_PATTERNS, _PATTERN_BITS // (len(network.projection.local) * layout.slots_per_device)))
    bits = np.zeros((count, len(ids) // 8), dtype=np.uint8)
    for row in bits:
        spikes = deal.choice(places, deal.binomial(len(places), chance)) if len(places) else places
        np.bitwise_or.at(row, spikes >> 3, np.left_shift(1, spikes & 7).astype(np.uint8))
    where = sharded(d.mesh, None, NEURON)
    return LongTermState(joined(d.mesh, bits.view(np.uint32), axis=1), sharding=where)


@final
class _Run:
    """Steps of a network, one stretch after the other, with what the host does between chunks.

    Attributes:
        peak: bytes of the process at most in the stretch that came first.
    """

    def __init__(self, d: Description, network: Network, loop: ChunkedLoop):
        self.description, self.network, self.loop, self.step = d, network, loop, 0
        self.at_once = stdp.PERIOD if network.projection.plastic is not None else network.chunk

    def step_s(self) -> float:
        """Time of a step: the median of some stretches, after a first one, in which buffers grow."""
        times, count = [], self.at_once
        peak_bytes()
        for _ in range(1 + _REPEATS):
            recording = Recording(None, self.description.dt, processes=self.network.projection.processes)
            begin = time.perf_counter()
            for first, last in self.loop.run(self.step, self.step + count):
                self._visit(recording, first, last)
            times.append((time.perf_counter() - begin) / count)
            self.step += count
            if len(times) == 1:
                self.peak = peak_bytes()
                fitting = max(1, min(100, round(_SECONDS / times[0] / self.at_once)))
                (count,) = self.network.projection.processes.largest([self.at_once * fitting])
        return float(np.median(times[1:]))

    def _visit(self, recording: Recording, first: int, last: int) -> None:
        network = self.network
        check_finite(network, self.description, first, last)
        steps, slots = network.spikes(first, last)
        ids = network.layout.ids_of(slots)
        network.projection.synapses_of(slots)
        order = np.lexsort((ids, steps))
        recording.append(first, last, steps[order], ids[order])
