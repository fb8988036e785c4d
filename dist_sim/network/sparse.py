"""Sparse connectivity that can be differentiated: a table on each device of the synapses that end on its neurons."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, final

import jax
import jax.numpy as jnp
import numpy as np
from jax.ad_checkpoint import checkpoint_name
from jax.sharding import Mesh

from dist_sim import kernels
from dist_sim.core import LongTermState
from dist_sim.core.transform.loops import KEPT
from dist_sim.errors import ParameterError
from dist_sim.kernels import build
from dist_sim.network.connection import Connection, on_host
from dist_sim.network.sparse_sums import TO_TARGETS, Table
from dist_sim.partition.mesh import NEURON, neuron_mesh, sharded
from dist_sim.partition.processes import processes_of


@final
class Sparse:
    """The synapses of a connection.

    Args:
        connection: its rule and sizes; weights and delays in it are not looked at.
        weighted: every synapse has a weight of its own.
        mesh: over which its targets are spread; None for one device.

    Attributes:
        table, pointers, synapses: see :mod:`dist_sim.kernels.sparse`; the arrays have the devices along their first axis.
        sources: (devices, targets of one, width) int32, of each target the source of each synapse, -1 behind the last; made by
            `for_changing`.
        incoming: place along the mesh axis `neuron` to the synapses of its targets, for the devices of this process.
        width: the largest in-degree.
    """

    def __init__(self, connection: Connection, *, seed: int, weighted: bool, mesh: Mesh | None = None) -> None:
        mesh = neuron_mesh() if mesh is None else mesh
        backend = kernels.choose(None, mesh.devices.flat[0].platform)
        num_sources, num_targets = len(connection.pre_ids), len(connection.post_ids)
        table = Table(num_sources, num_targets, slots=1, width=0, mesh=mesh, backend=backend)
        rows = {d: _incoming(connection, d, table, seed) for d in _own_positions(mesh)}
        processes = processes_of(mesh)
        width = max(int(r.degrees.max(initial=1)) for r in rows.values())
        self.width, self._longest = processes.largest([width, max(len(r.sources) for r in rows.values())])
        self.table = table._replace(width=self.width if weighted else 0)
        self.incoming = rows
        self.pointers = _on_devices(mesh, {d: _pointers(r, num_sources) for d, r in rows.items()})
        self.synapses = self._laid_out()

    def for_changing(self) -> None:
        """Gives every synapse a weight of its own, where there was one for all, and makes `sources`."""
        if not self.table.width:
            self.table = self.table._replace(width=self.width)
            self.synapses = self._laid_out()
        parts = {}
        for d, rows in self.incoming.items():
            parts[d] = np.full((self.table.block, self.width), -1, np.int32)
            parts[d][rows.ends] = rows.sources
        self.sources = _on_devices(self.table.mesh, parts)

    def delay(self, steps: np.ndarray) -> None:
        """Gives every synapse a delay: its part of `onto_slots` is that of so many slots after the first.

        Args:
            steps: (num_targets, width) whole numbers, a row per target in order of its synapses.

        Raises:
            ParameterError: more slots than the table has numbers for.
        """
        used = [int(self.of_synapses(steps, d).max(initial=0)) for d in self.incoming]
        (slots,) = processes_of(self.table.mesh).largest([1 + max(used)])
        if slots * self.table.block >= 2**31:
            raise ParameterError(
                f"Delays of up to {slots - 1} steps for {self.table.block} targets on a device are more than a table holds. "
                "Take more devices, a larger dt, or shorter delays."
            )
        self.table = self.table._replace(slots=slots)
        self.synapses = self._laid_out(steps)

    def all_sources(self) -> np.ndarray:
        """(num_targets, width) uint32, on every process: the source of each synapse, a row per target; 0 where there is none."""
        rows = np.zeros((self.table.num_targets, self.width), np.uint32)
        for device, found in self.incoming.items():
            if _first_process(self.table.mesh, device) == jax.process_index():
                target, slot = found.ends
                rows[device * self.table.block + target, slot] = found.sources
        return processes_of(self.table.mesh).total(rows)

    def _laid_out(self, steps: np.ndarray | None = None) -> LongTermState:
        """(devices, longest, 2), or without weights (devices, longest): the synapses of each in order of (source, target)."""
        width, block = self.table.width, self.table.block
        # Rows of synapses are fetched from anywhere in memory, and what is fetched is what a step costs.
        dtype = np.uint16 if not width and self.table.slots * block <= 2**16 else np.uint32
        parts = {}
        for d, rows in self.incoming.items():
            target, slot = rows.ends
            place = target if steps is None else self.of_synapses(steps, d).astype(np.int64) * block + target
            # NumPy sorts numbers of two bytes by their digits.
            narrow = np.uint16 if self.table.num_sources <= 2**16 else np.uint32
            order = np.argsort(rows.sources.astype(narrow), kind="stable")
            columns = [place, target * width + slot] if width else [place]
            parts[d] = np.zeros((self._longest, len(columns)), dtype)
            parts[d][: len(order)] = np.stack(columns, axis=1)[order]
            parts[d] = parts[d] if width else parts[d][:, 0]
        return _on_devices(self.table.mesh, parts)

    def of_synapses(self, rows: np.ndarray, device: int) -> np.ndarray:
        """Of (num_targets, width) the values of the synapses of a device, in order of targets."""
        target, slot = self.incoming[device].ends
        return rows[device * self.table.block + target, slot]

    def to_targets(self, spikes: jax.Array, weights: jax.Array) -> jax.Array:
        """(..., num_targets): what `spikes` send; arguments as in `onto_targets`."""
        nothing = jnp.zeros((*spikes.shape[:-1], self.table.num_targets), weights.dtype)
        return self.onto_targets(nothing, spikes, weights)

    def onto_targets(self, onto: jax.Array, spikes: jax.Array, weights: jax.Array) -> jax.Array:
        """`onto` (..., num_targets) and the sum of what `spikes` (..., num_sources) send, in its place where it can be.

        Args:
            spikes: booleans, or numbers that are weighted too.
            weights: one for all; or (num_targets, width), a row per target in order of its synapses.
        """
        lead, targets = onto.shape[:-1], onto.shape[-1]
        out = self.onto_slots(onto.reshape(*lead, 1, targets), spikes, weights, np.int32(0))
        return checkpoint_name(out.reshape(onto.shape), KEPT)

    def onto_slots(self, onto: jax.Array, spikes: jax.Array, weights: jax.Array, first: Any) -> jax.Array:
        """As `onto_targets`, with (..., slots, num_targets): what a synapse sends is added so many slots after the `first`, in a
        ring, as its delay says."""
        if not self.table.num_sources:
            return onto
        flat = spikes.reshape(-1, spikes.shape[-1])
        flat = flat if flat.dtype == bool else flat.astype(onto.dtype)
        arrays = self.pointers.value, self.synapses.value, first
        assert weights.ndim == (2 if self.table.width else 0)
        w = weights.astype(onto.dtype).reshape(weights.shape or 1)
        out = TO_TARGETS.bind(onto.reshape(-1, *onto.shape[-2:]), flat, w, *arrays, table=self.table, blocked=False)
        return out.reshape(onto.shape)


class Incoming(NamedTuple):
    """The synapses of the targets of one device: `degrees` (targets,), how many each has; `sources` (n,), in order of targets."""

    degrees: np.ndarray
    sources: np.ndarray

    @property
    def ends(self) -> tuple[np.ndarray, np.ndarray]:
        """(n,) each: the target of each synapse, on its device, and its number among those of the target."""
        target = np.repeat(np.arange(len(self.degrees)), self.degrees)
        return target, np.arange(len(target)) - np.repeat(np.cumsum(self.degrees) - self.degrees, self.degrees)


def _own_positions(mesh: Mesh) -> list[int]:
    """Places along the axis `neuron` of the mesh that have a device of this process."""
    along = list(mesh.shape).index(NEURON)
    here = [at[along] for at, device in np.ndenumerate(mesh.devices) if device.process_index == jax.process_index()]
    return sorted(set(here))


def _first_process(mesh: Mesh, place: int) -> int:
    """The lowest of the processes that have a device at this place along the axis `neuron`."""
    devices = np.take(mesh.devices, [place], axis=list(mesh.shape).index(NEURON))
    return min(device.process_index for device in devices.flat)


def _on_devices(mesh: Mesh, parts: Mapping[int, np.ndarray]) -> LongTermState:
    """(devices, *shape of a part): the part of each place along the axis `neuron`."""

    def part(index: Any) -> np.ndarray:
        return parts[index[0].start or 0][None]

    shape = (mesh.shape[NEURON], *next(iter(parts.values())).shape)
    split = sharded(mesh, NEURON)
    # Given where it lies: a program over blocks leaves it as it is.
    return LongTermState(jax.make_array_from_callback(shape, split, part), sharding=split)


def _incoming(connection: Connection, device: int, table: Table, seed: int) -> Incoming:
    first = device * table.block
    local = np.arange(min(first, table.num_targets), min(first + table.block, table.num_targets))
    builder = kernels.choose_builder(table.backend, table.mesh.devices.flat[0].platform)
    drawn = on_host(connection, local, seed=seed, backend=builder)
    sources = build.draw_sources(drawn, seed=seed, backend=builder, threads=1)
    return Incoming(np.diff(drawn.offsets), sources)


def _pointers(rows: Incoming, num_sources: int) -> np.ndarray:
    """(num_sources + 1,): where the synapses of each source begin, in order of sources."""
    found = np.zeros(num_sources + 1, np.uint32)
    found[1:] = np.cumsum(np.bincount(rows.sources, minlength=num_sources))
    return found
