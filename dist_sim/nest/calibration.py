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
from dist_sim.nest.forecast import WHOLE_BYTES, forecast
from dist_sim.nest.machines import Machine, cpu
from dist_sim.nest.neurons import NESTNeuron
from dist_sim.nest.piece import piece
from dist_sim.partition.mesh import NEURON, joined, local_positions, sharded
from dist_sim.partition.processes import Processes
from dist_sim.run.loop import ChunkedLoop
from dist_sim.run.progress import Phases
from dist_sim.run.summary import peak_rss_bytes

_MOST_SYNAPSES = 16_000_000  # of the larger network: 128 MB, which no cache of a few cores holds
_LARGEST = 0.5  # of the network itself: it is foretold, not run
_PATTERNS, _SECONDS, _REPEATS, _FEWEST = 32, 0.2, 3, 100
_BUILD = ("plan", "connect", "neurons")  # phases whose time follows the size
_SMALLEST = 256  # neurons


@final
@dataclass(frozen=True, kw_only=True)
class _Timed:
    """Of one small network: s of a step without and with spikes; s in all until it could run, and of that what follows its size;
    largest memory so far."""

    silent_s: float
    active_s: float
    ready_s: float
    build_s: float
    peak: int


def measured_here(d: Description, *, rate: float) -> Machine:
    """A device of this machine (and of the mesh of the description), as it runs the kernels of this network.

    The kernels are timed in the compiled step of two networks that are built for it: one of a few neurons, for what a step costs
    whatever its size, and one of the same in-degrees with up to 16 million synapses and half of the neurons. Spikes are dealt at
    random, as many in a step as the whole network is expected to have. On several processes each of them calls it.

    Args:
        rate: mean rate to expect of the neurons, Hz.
    """
    sharing, at_first = len(local_positions(d.mesh)), peak_rss_bytes()
    guess = replace(cpu(1), sharing=sharing)
    whole = forecast(d, d.mesh.size, guess, rate=rate)
    fraction = min(_LARGEST, _MOST_SYNAPSES / max(1.0, whole.synapses))
    parts = piece(d, min(fraction / 4, _SMALLEST / whole.neurons)), piece(d, fraction)
    less, more = (forecast(x, d.mesh.size, guess, rate=rate) for x in parts)
    chance = min(0.5, max(rate, 1.0) * d.dt * 1e-3 * whole.neurons / more.neurons)
    before = peak_rss_bytes()
    small, large = (_timed(x, chance) for x in parts)
    local = more.local - less.local
    latency = min(30e-6, small.silent_s * more.interval / 2)
    grown = small.peak - before - sharing * less.device_bytes  # by what a process needs for any network
    rest = large.peak - before - max(0, grown) - sharing * more.device_bytes - WHOLE_BYTES * more.neurons
    return replace(
        guess,
        neuron_ns=max(0.0, large.silent_s - small.silent_s) / max(1, local) * 1e9,
        event_ns=max(0.0, large.active_s - large.silent_s) / max(1.0, more.fullest * chance) * 1e9,
        poisson_ns=0.0,  # with the neurons
        word_ns=0.0,
        step_us=(small.silent_s - latency * np.log2(d.mesh.size) / more.interval) * 1e6,
        # What the first network takes, the second does not take again.
        synapse_ns=large.build_s / max(1.0, more.fullest) * 1e9,
        build_s=small.ready_s,  # the first one, as a run has no other
        latency_us=latency * 1e6,
        process_bytes=at_first + max(0, grown),
        own_bytes=max(0.0, rest / (sharing * more.local)),
        source=f"measured here, on {more.neurons:,} neurons and {more.synapses:,.0f} synapses of the same kind",
        measured=True,
    )


@final
class _Dealing(Module):
    """Neurons that are updated, and others' spikes in their place: bits that were dealt beforehand, pattern after pattern."""

    def __init__(self, neurons: NESTNeuron, patterns: LongTermState):
        super().__init__()
        self.neurons, self.patterns, self.dtype = neurons, patterns, neurons.dtype
        everywhere = sharded(neurons.mesh)
        self.next = ShortTermState(jnp.zeros((), jnp.int32, device=everywhere), sharding=everywhere)

    def update(self, arriving: jax.Array, current: jax.Array) -> jax.Array:
        self.neurons(arriving, current)
        number = self.next.value
        self.next.value = (number + 1) % _PATTERNS
        return jax.lax.dynamic_index_in_dim(self.patterns.value, number, keepdims=False)


def _timed(d: Description, chance: float) -> _Timed:
    """Builds a network and times its step; `chance` is that of a neuron to spike in a step."""
    phases, deal, begin = Phases(show=False), np.random.default_rng(d.seed), time.perf_counter()
    with jax.enable_x64(d.precision == 64):
        network = assemble(d, phases)
        check_finite(network, d, 0, 0)
        own = len(local_positions(d.mesh))
        where = sharded(d.mesh, None, NEURON)
        dealt = []
        for block in network.layout.block:
            bits = np.zeros((_PATTERNS, own * block // 8), dtype=np.uint8)
            for row in bits:
                spikes = deal.choice(own * block, deal.binomial(own * block, chance))
                np.bitwise_or.at(row, spikes >> 3, np.left_shift(1, spikes & 7).astype(np.uint8))
            dealt.append(LongTermState(joined(d.mesh, bits.view(np.uint32), axis=1), sharding=where))
        neurons: list[Any] = [_Dealing(p, bits) for p, bits in zip(network.populations, dealt, strict=True)]
        network.populations = neurons
        loop = ChunkedLoop(network, network.chunk, overflow=network.projection.overflow)
        loop.compile(0)
        ready_s, peak = time.perf_counter() - begin, peak_rss_bytes()
        at_once = stdp.PERIOD if network.projection.plastic is not None else _FEWEST
        step, active_s = _step_s(loop, 0, at_once, network.projection.processes)
        for state in dealt:
            state.value = jnp.zeros_like(state.value)
        _, silent_s = _step_s(loop, step, at_once, network.projection.processes)
    del network, loop, dealt, neurons
    gc.collect()  # what is measured next is not to lie beside this
    build_s = sum(phases.seconds[name] for name in _BUILD)
    return _Timed(silent_s=silent_s, active_s=active_s, ready_s=ready_s, build_s=build_s, peak=peak)


def _step_s(loop: ChunkedLoop, step: int, at_once: int, processes: Processes) -> tuple[int, float]:
    """Runs on from `step`; the step reached, and the shortest time of one. After a first run, in which buffers grow."""
    times, count = [], at_once
    for _ in range(1 + _REPEATS):
        begin = time.perf_counter()
        for _ in loop.run(step, step + count):
            pass
        times.append((time.perf_counter() - begin) / count)
        step += count
        if len(times) == 1:
            (count,) = processes.largest([at_once * max(1, min(100, round(_SECONDS / times[0] / at_once)))])
    return step, min(times[1:])
