"""Generators that stimulate neurons, as Modules: one for each connection and neuron model.

What a generator gives is a function of (seed, stream, global id of the target, step). The edges of a neuron are numbered; the
k-th ones of all neurons are a layer, and layers are taken one after the other: the order of a sum is the same on any placement.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, final

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P

from dist_sim.core import HiddenState, LongTermState, Module
from dist_sim.kernels import draws
from dist_sim.kernels.philox import key_words, philox4x32
from dist_sim.kernels.scalar.guarded import uncontracted
from dist_sim.network.arguments import everywhere
from dist_sim.network.channels import Channels
from dist_sim.partition.layout import NOWHERE
from dist_sim.partition.mesh import NEURON, joined, sharded
from dist_sim.partition.share import Share

STIMULUS_STREAMS = 1 << 31  # synapses have the streams from 0, parameters those from 1 << 30
# Purposes of random words; those of the native Poisson numbers are 0.
_OWN, COMMON = 1, 1 << 30
_UNROLLED = 8  # layers up to which the step is written out


@dataclass(frozen=True, kw_only=True)
class Targets:
    """One layer of targets, as a generator sees them: it writes no loop and asks for numbers by what they are.

    Attributes:
        ids: (n,) uint32 global ids; device: (n,) int32 which of the devices sends to each.
        stream: (n,) uint32 which of the edges of its target each is.
        devices: how many there are; number: of the node among all nodes.
        first: (devices,) int32 first step in which each is active.
        key: (2,) uint32 of the seed, see `key_words`.
        dtype: of floating-point numbers.
    """

    ids: jax.Array
    device: jax.Array
    stream: jax.Array
    devices: int
    number: int
    first: jax.Array
    key: jax.Array
    dtype: Any

    def of(self, values: jax.Array) -> jax.Array:
        """What is known of each device (devices, ...), for each target: (n, ...), or (1, ...) of a single device."""
        return values if self.devices == 1 else values[self.device]

    def words(self, step: jax.Array, purpose: int | jax.Array = 0) -> tuple[jax.Array, ...]:
        """Four random words (n,) of each target in a step; `step` is () or (n,) int32. `purpose`: of several draws in a step, or
        (draws, 1), for words (draws, n)."""
        at = jnp.asarray(step).astype(jnp.uint32)
        return philox4x32(self.key[0], self.key[1], self.ids, at, jnp.uint32(_OWN + purpose), self.stream)

    def common_words(self, step: jax.Array, purpose: int = 0) -> tuple[jax.Array, ...]:
        """Four random words (devices,) of each device in a step, the same for all its targets."""
        device, at = jnp.arange(self.devices, dtype=jnp.uint32), jnp.asarray(step).astype(jnp.uint32)
        stream = jnp.uint32(STIMULUS_STREAMS + self.number)
        return philox4x32(self.key[0], self.key[1], device, at, jnp.uint32(COMMON + purpose), stream)

    def normal(self, step: jax.Array) -> jax.Array:
        """(n,) standard normal numbers, of each target in a step."""
        return draws.normal(self.words(step)[0], self.dtype)


@dataclass(frozen=True, kw_only=True)
class Edges:
    """Edges from the devices of one node to neurons of a share, (k,) each.

    Attributes:
        place: of the target in the share; layer: number of the edge among those of its target and connection.
        device: which of the devices; weight: in the unit of the input, or a factor.
        stream: number of the edge among all of its target.
    """

    place: np.ndarray
    layer: np.ndarray
    device: np.ndarray
    weight: np.ndarray
    stream: np.ndarray


@dataclass(frozen=True, kw_only=True)
class Sender:
    """What sends along edges.

    Attributes:
        law: a generator as `dist_sim.nest.devices` has them: `numbers()` and, in the step, `current`, `counts` or `advance`.
        number: of the node; devices: how many; delay: steps.
        first, last: (devices,) steps between which each is active.
    """

    structure: ClassVar[tuple[str, ...]] = ("law", "number", "devices")

    law: Any
    number: int
    devices: int
    delay: int
    first: np.ndarray
    last: np.ndarray


class _Input(Module):
    """Edges of one connection to the neurons of one model, in their padded global order."""

    structure = ("sender", "group", "layers", "mesh", "dtype")

    def __init__(
        self, sender: Sender, edges: Edges, group: int, layers: int, share: Share, mesh: Mesh, *, seed: int, dtype: Any
    ) -> None:
        super().__init__()
        self.sender, self.group, self.layers, self.mesh = sender, group, layers, mesh
        self.dtype = np.dtype(dtype)
        self.key, self.delay = everywhere(mesh, key_words(seed)), everywhere(mesh, np.array(sender.delay, np.int32))
        place, chosen = places_in_group(share, group, edges.place)
        self.edges = Edges(
            place=place, layer=edges.layer[chosen], device=edges.device[chosen], weight=edges.weight[chosen],
            stream=edges.stream[chosen],
        )  # fmt: skip
        ids = share.of_group(group, share.ids)
        self.num_local = len(ids)
        self.ids = self._spread(np.where(ids == NOWHERE, 0, ids).astype(np.uint32))
        self.device, self.stream = (
            self._layered(values, empty, dtype)
            for values, empty, dtype in ((self.edges.device, -1, np.int32), (self.edges.stream, 0, np.uint32))
        )
        kinds = {"f": self.dtype, "i": np.int32, "u": np.uint32, "b": np.bool_}
        given = {"first": sender.first, "last": sender.last, **sender.law.numbers()}
        arrays = {name: np.asarray(values) for name, values in given.items()}
        self.p = {name: everywhere(mesh, values.astype(kinds[values.dtype.kind])) for name, values in arrays.items()}

    def _layered(self, values: np.ndarray, empty: float, dtype: Any) -> LongTermState:
        """(layers, n): of each edge in its layer, `empty` where there is none."""
        table = np.full((self.layers, self.num_local), empty, dtype)
        table[self.edges.layer, self.edges.place] = values
        return self._spread(table)

    def _spread(self, own: np.ndarray) -> LongTermState:
        axis = own.ndim - 1
        return LongTermState(joined(self.mesh, own, axis), sharding=sharded(self.mesh, *(None,) * axis, NEURON))

    def _targets(
        self, key: jax.Array, p: Mapping[str, jax.Array], ids: jax.Array, device: jax.Array, stream: jax.Array, step: jax.Array
    ) -> tuple[Targets, jax.Array]:
        """A layer's targets, and whether anything is sent to each in a step: (n,) bool."""
        to = Targets(
            ids=ids, device=jnp.maximum(device, 0), stream=stream, devices=self.sender.devices, number=self.sender.number,
            first=p["first"], key=key, dtype=self.dtype,
        )  # fmt: skip
        return to, (device >= 0) & (step >= to.of(p["first"])) & (step < to.of(p["last"]))

    def _over_layers(self, add: Callable[[Any, Any], Any], total: Any, layered: tuple) -> Any:
        if self.layers <= _UNROLLED:
            for k in range(self.layers):
                total = add(total, tuple(values[k] for values in layered))
            return total
        return jax.lax.scan(lambda carry, row: (add(carry, row), None), total, layered)[0]


@final
class CurrentInput(_Input):
    """Currents into the neurons of one model."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.weight = self._layered(self.edges.weight, 0.0, self.dtype)

    def update(self, step: jax.Array) -> jax.Array:
        """(n,) pA that act in `step`."""
        law, dtype = self.sender.law, self.dtype
        emitted = step - self.delay.value - 1

        def run(emitted, key, p, ids, device, stream, weight):
            def add(total, row):
                device, stream, weight = row
                to, active = self._targets(key, p, ids, device, stream, emitted)
                return total + uncontracted(jnp.where(active, weight * law.current(p, emitted, to), dtype.type(0)))

            return self._over_layers(add, jnp.zeros(ids.shape, dtype), (device, stream, weight))

        p = {name: state.value for name, state in self.p.items()}
        split = P(None, NEURON)
        specs = (P(), P(), jax.tree.map(lambda _: P(), p), P(NEURON), split, split, split)
        island = jax.shard_map(run, mesh=self.mesh, in_specs=specs, out_specs=P(NEURON), check_vma=False)
        return island(emitted, self.key.value, p, self.ids.value, self.device.value, self.stream.value, self.weight.value)


@final
class CountInput(_Input):
    """Spikes into the neurons of one model.

    Args:
        channels: of the model's input; receptor: type of the receptors; integer: dtype of the input vector.
        initial: (devices, bins) what the targets of each device begin with, if they keep something.

    States: kept (bins, layers, n).
    """

    structure = (*_Input.structure, "whole", "keeps")

    def __init__(
        self, sender: Sender, edges: Edges, group: int, layers: int, share: Share, mesh: Mesh, *, seed: int, dtype: Any,
        channels: Channels, receptor: int, integer: Any, initial: np.ndarray | None,
    ) -> None:  # fmt: skip
        super().__init__(sender, edges, group, layers, share, mesh, seed=seed, dtype=dtype)
        self.whole = getattr(sender.law, "whole", True)
        block, weight = share.layout.block[group], self.edges.weight
        positive, negative = channels.routes[receptor]
        first = channels.offset + self.edges.place % block
        self.index, self.inverted = (
            self._layered(first + block * np.where(down, negative, positive), 0, np.uint32) for down in (weight < 0, weight >= 0)
        )
        counting = positive in channels.counting
        per_quantum = np.ones(len(weight)) if counting else weight / channels.quanta(receptor, self.edges.place)
        whole = np.floor(per_quantum + 0.5)
        self.weight = self._layered(whole, 0, integer) if self.whole else self._layered(per_quantum, 0, dtype)
        self.keeps = initial is not None
        if initial is not None:
            table = np.zeros((initial.shape[1], layers, self.num_local), np.int32)
            table[:, self.edges.layer, self.edges.place] = initial[self.edges.device].T
            self.kept = HiddenState(joined(mesh, table, 2), sharding=sharded(mesh, None, None, NEURON))

    def update(self, step: jax.Array, arriving: jax.Array) -> jax.Array:
        """Adds what arrives at the end of `step` to the input (threads, devices * size)."""
        law, emitted = self.sender.law, step - self.delay.value

        def run(emitted, key, p, ids, device, stream, index, inverted, weight, arriving):
            def add(total, row):
                device, stream, index, inverted, weight = row
                to, active = self._targets(key, p, ids, device, stream, emitted)
                count = law.counts(p, emitted, to)
                if self.whole:
                    return total.at[0, index].add(jnp.where(active, weight * count.astype(total.dtype), 0))
                at = jnp.where(count < 0, inverted, index)
                amount = jnp.floor(uncontracted(weight * count) + self.dtype.type(0.5)).astype(total.dtype)
                return total.at[0, at].add(jnp.where(active, amount, 0))

            return self._over_layers(add, arriving, (device, stream, index, inverted, weight))

        def advance(emitted, key, p, ids, device, stream, index, inverted, weight, arriving, kept):
            news = []
            for k in range(self.layers):
                to, active = self._targets(key, p, ids, device[k], stream[k], emitted)
                count, new = law.advance(p, emitted, to, kept[:, k])
                arriving = arriving.at[0, index[k]].add(jnp.where(active, weight[k] * count.astype(arriving.dtype), 0))
                news.append(jnp.where(active, new, kept[:, k]))
            return arriving, jnp.stack(news, axis=1)

        p = {name: state.value for name, state in self.p.items()}
        split, vector = P(None, NEURON), P(None, NEURON)
        specs = (P(), P(), jax.tree.map(lambda _: P(), p), P(NEURON), split, split, split, split, split, vector)
        states = (self.ids, self.device, self.stream, self.index, self.inverted, self.weight)
        values: Any = (emitted, self.key.value, p, *(s.value for s in states), arriving)
        if not self.keeps:
            whole: Any = jax.shard_map(run, mesh=self.mesh, in_specs=specs, out_specs=vector, check_vma=False)
            return whole(*values)
        kept = P(None, None, NEURON)
        island: Any = jax.shard_map(advance, mesh=self.mesh, in_specs=(*specs, kept), out_specs=(vector, kept), check_vma=False)
        arriving, self.kept.value = island(*values, self.kept.value)
        return arriving


def places_in_group(share: Share, group: int, place: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Places in the padded order of a model's neurons of a share, and which of `place` (n,) they are."""
    layout = share.layout
    device, within = np.divmod(place, layout.slots_per_device)
    first, block = layout.first[group], layout.block[group]
    chosen = np.flatnonzero((within >= first) & (within < first + block))
    return device[chosen] * block + within[chosen] - first, chosen
