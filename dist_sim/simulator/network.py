"""The whole network as one Module: what a step does, in order."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, final

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from dist_sim.core import HiddenState, LongTermState, Module, ShortTermState, State
from dist_sim.network import Projection
from dist_sim.network.portable import distances, found_in
from dist_sim.network.stimulus import CountInput, CurrentInput
from dist_sim.partition.layout import NOWHERE, Layout
from dist_sim.partition.mesh import NEURON, from_blocks, local_part, local_positions, sharded, spread
from dist_sim.simulator.population import Population


@final
class Meter(Module):
    """Samples of states of neurons of one model.

    Args:
        index: (k,) places in padded global order.
        interval: steps between samples; samples are at the ends of steps.
        rows: samples that one chunk can hold.
    """

    structure = ("names", "interval")

    def __init__(self, neurons: Population, names: Sequence[str], index: np.ndarray, interval: int, rows: int):
        super().__init__()
        self.names, self.interval = tuple(names), interval
        self.neurons = neurons
        # Placed like everything the loop writes: a State that a run moves would have the loop compiled a second time.
        everywhere = sharded(neurons.mesh)
        self.index = LongTermState(spread(jnp.asarray(index, jnp.int32), everywhere), sharding=everywhere)
        shape = (rows, len(self.names), len(index))
        self.samples = ShortTermState(jnp.zeros(shape, neurons.dtype, device=everywhere), sharding=everywhere)

    def update(self, step: jax.Array, first: jax.Array) -> None:
        # The row of an interval is written at each of its steps; the last one, at a multiple of the interval, is what stays.
        row = step // self.interval - first // self.interval
        values = jnp.stack([self.neurons.recorded(name, self.index.value) for name in self.names])
        self.samples.value = jax.lax.dynamic_update_slice(
            self.samples.value, values[None], (row, jnp.zeros_like(row), jnp.zeros_like(row))
        )

    def complete(self, first: int, last: int) -> int:
        """Samples that the chunk [first, last) has finished."""
        return last // self.interval - first // self.interval


@final
class Network(Module):
    """Neurons of all models, their synapses, drives and currents.

    Args:
        chunk: largest number of steps between two visits of the host.

    States of its own: log (chunk, words) bits, the spikes of every step of the chunk in order of source slots.
    """

    structure = ("mesh",)

    def __init__(
        self, layout: Layout, mesh: Mesh, populations: Sequence[Population], projection: Projection, drives: Sequence[Module],
        currents: Sequence[CurrentInput], meters: Sequence[Meter], chunk: int,
    ) -> None:  # fmt: skip
        super().__init__()
        self.layout, self.mesh, self.chunk = layout, mesh, chunk
        self.populations, self.projection, self.drives, self.meters = list(populations), projection, list(drives), list(meters)
        self.currents = list(currents)
        self._devices = local_positions(mesh)
        where = sharded(mesh, None, NEURON)
        self.log = ShortTermState(
            jnp.zeros((chunk, projection.words * layout.num_devices), jnp.uint32, device=where), sharding=where
        )

    def update(self, step: jax.Array, first: jax.Array) -> None:
        """The step number `step` of a chunk that began at `first`.

        What arrives at the end of the step was emitted at least min_delay steps ago, so it is known before the neurons move; the
        spikes of this step can then be sent, and are due in a later one.
        """
        arriving = self.projection.deliver(step)
        for drive in self.drives:
            arriving = drive(step, arriving)
        spikes = [p(step, arriving, self._currents(group, step)) for group, p in enumerate(self.populations)]
        words = self.projection.send(step, spikes)
        self.log.value = jax.lax.dynamic_update_slice(self.log.value, words[None], (step - first, jnp.zeros_like(step)))
        for meter in self.meters:
            meter(step, first)

    def _current(self, group: int, step: jax.Array) -> jax.Array:
        total: Any = jnp.zeros(1, self.populations[group].dtype)
        for c in self.currents:
            if c.group == group:
                total = total + c(step)
        return total

    def _currents(self, group: int, step: jax.Array) -> jax.Array:
        """(ports, 1 or n) pA."""
        injected = self._current(group, step)[None]
        ports = self.populations[group].text.currents
        return injected if ports == 1 else jnp.concatenate([injected, *[jnp.zeros_like(injected)] * (ports - 1)])

    def spikes(self, first: int, last: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Steps and source slots of the spikes of this process's devices in the chunk [first, last), in order of steps, and how
        often each neuron spikes there: (n,) each."""
        layout, steps = self.layout, last - first
        words = local_part(self.log.value, axis=1)[:steps].reshape(steps, len(self._devices), -1)
        bits = np.ascontiguousarray(words[:, :, : layout.slots_per_device // 32])
        row, device, column = np.nonzero(bits)
        of_word = np.unpackbits(bits[row, device, column].view(np.uint8).reshape(-1, 4), axis=1, bitorder="little")
        k, bit = np.nonzero(of_word)
        row, device, slot = row[k], device[k], column[k] * 32 + bit
        number = np.ones(len(slot), dtype=np.int64)
        for c in self.projection.counted:
            mine = np.flatnonzero((slot >= c.slot) & (slot < c.slot + c.count))
            number[mine] = words[row[mine], device[mine], c.word + slot[mine] - c.slot]
        return first + row.astype(np.int64), self._devices[device] * layout.slots_per_device + slot, number

    def sent(self, slots: np.ndarray, number: np.ndarray) -> np.ndarray:
        """How many spikes of each neuron synapses pass on: one for a change of two states, which is recorded as one or two."""
        within = slots % self.layout.slots_per_device
        for c in self.projection.counted:
            if c.binary:
                number = np.where((within >= c.slot) & (within < c.slot + c.count), 1, number)
        return number

    # ---- checkpoints ----

    def portable(self, read: Callable[[State], np.ndarray], step: int) -> dict[str, np.ndarray]:
        """All that a step writes and a later one needs, when `step` is about to begin, without placement: this process's part.

        States of neurons are (..., num_neurons) in order of global ids, as `iaf_psc_exp.V`; those of `projection` and of
        `plastic.<model>` are as they say. Of one of several processes, `neurons.<model>` says which neurons of the model these
        are, as `distances`.

        Args:
            read: this process's part of the value of a State at that moment.
        """
        found = {name: read(state)[..., self._mine[group][1]] for name, group, state in self.neuron_states()}
        if self.projection.processes.count > 1:
            found |= {f"neurons.{p.model.__name__}": distances(self._mine[g][0]) for g, p in enumerate(self.populations)}
        for part, module in self._portable_parts():
            found |= {f"{part}.{name}": value for name, value in module.portable(read, step).items()}
        return found

    def restore_portable(self, parts: Iterable[Mapping[str, np.ndarray]], step: int) -> None:
        """The inverse of `portable`, on whatever devices this network lies; `parts`: of all the processes that there were."""
        states = [(name, g, state, local_part(state.value, -1).copy()) for name, g, state in self.neuron_states()]
        modules = [(part, module.restoring(step)) for part, module in self._portable_parts()]
        for saved in parts:
            there = {g: saved.get(f"neurons.{p.model.__name__}") for g, p in enumerate(self.populations)}
            for name, group, _, values in states:
                mine, places = self._mine[group]
                known, at = found_in(mine, there[group])
                values[..., places[known]] = saved[name][..., at]
            for part, module in modules:
                module.take({n.removeprefix(f"{part}."): v for n, v in saved.items() if n.startswith(f"{part}.")})
        for _, _, state, values in states:
            blocks = np.split(values, len(self.projection.local), axis=-1)
            state.reset_value(from_blocks(self.mesh, blocks, axis=values.ndim - 1))
        for _, module in modules:
            module.finish()

    @cached_property
    def _mine(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """Per model: which of its neurons, in order of ids, are this process's, and where they lie in its part of the states."""
        layout, found = self.layout, []
        for ids, first, block in zip(layout.groups, layout.first, layout.block, strict=True):
            here = np.concatenate([layout.ids_on(int(device))[first : first + block] for device in self.projection.local])
            places = np.flatnonzero(here != NOWHERE)
            starts, lengths = (np.array(column) for column in zip(*((run.start, len(run)) for run in ids.runs), strict=True))
            run = np.searchsorted(starts, here[places], side="right") - 1
            number = here[places] - starts[run] + (np.cumsum(lengths) - lengths)[run]
            order = np.argsort(number)
            found.append((number[order], places[order]))
        return found

    def neuron_states(self) -> Iterator[tuple[str, int, State]]:
        """Name, model and State of everything that has one value (or several) per neuron."""
        for group, population in enumerate(self.populations):
            for path, state in population.states(HiddenState).items():
                yield ".".join([population.model.__name__, *map(str, path)]), group, state
        for number, drive in enumerate(self.drives):
            if isinstance(drive, CountInput) and drive.keeps:
                yield f"stimulus.{number}.kept", drive.group, drive.kept

    def _portable_parts(self) -> list[tuple[str, Any]]:
        """What has other state than one value per neuron: it says itself how that goes without placement."""
        return [("projection", self.projection), *((f"plastic.{name}", p) for name, p in self.projection.plastic.items())]
