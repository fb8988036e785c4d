"""How fast this machine runs the kernels that a network needs: measured on two smaller networks of the same kind."""

from __future__ import annotations

import gc
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, final

import jax
import jax.numpy as jnp
import numpy as np

from dist_sim.core import LongTermState, Module, ShortTermState, transform
from dist_sim.forecast.forecast import WHOLE_BYTES, Forecast, forecast
from dist_sim.forecast.machines import Machine, cpu
from dist_sim.forecast.scaled import scaled
from dist_sim.kernels import plastic
from dist_sim.partition.layout import NOWHERE
from dist_sim.partition.mesh import NEURON, joined, local_positions, sharded
from dist_sim.run.loop import ChunkedLoop
from dist_sim.run.memory import held_bytes, peak_bytes
from dist_sim.run.progress import Phases
from dist_sim.run.recording import Recording
from dist_sim.simulator.assembly import Description, assemble
from dist_sim.simulator.finite import Finite
from dist_sim.simulator.network import Network
from dist_sim.simulator.population import Population

_MOST_SYNAPSES = 16_000_000  # of the larger network: 128 MB, which no cache of a few cores holds
_LARGEST = 0.5  # of the network itself: it is foretold, not run
_SECONDS, _ROUNDS = 0.2, 9
# Steps whose spikes are dealt, before they come again: so many that synapses are not found in the cache, where a run would not
# find them, and that targets of plastic synapses spike as irregularly as in a run.
_MOST_PATTERNS, _PATTERN_BITS = 2048, 2**28
_BUILD = ("placement", "connect", "neurons")  # phases whose time follows the size
_SMALLEST = 256  # neurons


@final
@dataclass(frozen=True, kw_only=True)
class _Built:
    """One small network: s in all until it could run, and of that what follows its size; bytes at most while it is built, and
    held when it is; at most while it compiles, held afterwards, and at most while it runs, on top of what it held before."""

    run: _Run
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
    parts = scaled(d, min(fraction / 4, _SMALLEST / whole.neurons)), scaled(d, fraction)
    less, more = (forecast(x, d.mesh.size, guess, rate=rate) for x in parts)
    chance = min(0.5, max(rate, 1.0) * d.dt * 1e-3 * whole.neurons / more.neurons)
    small, large = (_built(x, chance) for x in parts)
    silent_s, grown_s, spiking_s = _compared(small.run, large.run)
    local = more.local - less.local
    latency = min(30e-6, silent_s * more.interval / 2)
    sent_s = (more.exchange_bytes - less.exchange_bytes) / guess.bandwidth / more.interval
    shared = sharing * more.local
    return replace(
        guess,
        neuron_ns=max(0.0, grown_s - sent_s) / max(1, local) * 1e9,
        event_ns=max(0.0, spiking_s) / max(1.0, more.fullest * chance) * 1e9,
        poisson_ns=0.0,  # with the neurons
        word_ns=0.0,
        step_us=(silent_s - latency * np.log2(d.mesh.size) / more.interval) * 1e6,
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

    structure = ("dtype", "model", "text")

    def __init__(self, neurons: Population, patterns: LongTermState):
        super().__init__()
        self.neurons, self.patterns = neurons, patterns
        self.dtype, self.model, self.text = neurons.dtype, neurons.model, neurons.text
        everywhere = sharded(neurons.mesh)
        self.next = ShortTermState(jnp.zeros((), jnp.int32, device=everywhere), sharding=everywhere)
        self.mask = LongTermState(jnp.zeros((), jnp.uint32, device=everywhere), sharding=everywhere)

    def update(self, step: jax.Array, arriving: jax.Array, currents: jax.Array) -> tuple[jax.Array, jax.Array]:
        own, number = self.neurons(step, arriving, currents)
        at, patterns = self.next.value, self.patterns.value
        self.next.value = (at + 1) % len(patterns)
        bits = own & self.mask.value | jax.lax.dynamic_index_in_dim(patterns, at, keepdims=False)
        return bits, jnp.ones_like(number)


def _compared(small: _Run, large: _Run) -> tuple[float, float, float]:
    """s of a step of the small network without spikes; that the large one takes more; and that spikes take there.

    Medians over rounds in which all are timed one after the other: a machine that is slower for a while is so for all of them.
    """
    rounds = []
    for _ in range(_ROUNDS):
        silent, grown, spiking = small.step_s(spiking=False), large.step_s(spiking=False), large.step_s(spiking=True)
        rounds.append((silent, grown - silent, spiking - grown))
    silent_s, grown_s, spiking_s = np.median(rounds, axis=0)
    return float(silent_s), float(grown_s), float(spiking_s)


def _built(d: Description, chance: float) -> _Built:
    """Builds a network and runs it; `chance` is that of a neuron to spike in a step."""
    gc.collect()
    phases, before = Phases(show=False), held_bytes()
    peak_bytes()
    with jax.enable_x64(d.precision == 64):
        begin = time.perf_counter()
        network = assemble(d, phases)
        ready_s = time.perf_counter() - begin
        building, held = peak_bytes(), held_bytes()
        run = _Run(d, network, deal(network, d, chance))
        dealt = held_bytes()
        transform.forget_programs()  # what compiling takes is measured
        peak_bytes()
        begin = time.perf_counter()
        run.loop.compile(0)
        run.finite.check(0, 0)
        ready_s += time.perf_counter() - begin
        compiling, compiled = peak_bytes(), held_bytes()
    running = run.begin()
    return _Built(
        run=run, ready_s=ready_s, build_s=sum(phases.seconds[name] for name in _BUILD), building=building - before,
        held=held - before, compiling=compiling - dealt, compiled=compiled - dealt, running=running - compiled,
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
    """Steps of a network, one stretch after the other, with what the host does between chunks."""

    def __init__(self, d: Description, network: Network, neurons: Sequence[_Dealing]):
        self.description, self.network, self.neurons, self.step = d, network, neurons, 0
        self.loop = ChunkedLoop(network, network.chunk, overflow=network.projection.overflow)
        self.finite = Finite(network, d)
        self.dealt = [n.patterns.value for n in neurons]
        self.count = plastic.PERIOD if network.projection.plastic else network.chunk

    def begin(self) -> int:
        """A first stretch, in which buffers grow; bytes of the process at most. The next ones have as many steps as fit into a
        fraction of a second."""
        peak_bytes()
        first = self.step_s(spiking=True)
        fitting = max(1, min(100, round(_SECONDS / first / self.count)))
        (self.count,) = self.network.projection.processes.largest([self.count * fitting])
        return peak_bytes()

    def step_s(self, *, spiking: bool) -> float:
        """Time of a step in one stretch, with the dealt spikes or without."""
        d = self.description
        with jax.enable_x64(d.precision == 64):
            for neurons, bits in zip(self.neurons, self.dealt, strict=True):
                neurons.patterns.value = bits if spiking else jnp.zeros_like(bits)
            recording = Recording(None, d.dt, processes=self.network.projection.processes)
            begin = time.perf_counter()
            for first, last in self.loop.run(self.step, self.step + self.count):
                self._visit(recording, first, last)
            self.step += self.count
        return (time.perf_counter() - begin) / self.count

    def _visit(self, recording: Recording, first: int, last: int) -> None:
        network = self.network
        self.finite.check(first, last)
        steps, slots, _ = network.spikes(first, last)
        ids = network.layout.ids_of(slots)
        network.projection.synapses_of(slots)
        order = np.lexsort((ids, steps))
        recording.append(first, last, steps[order], ids[order])
