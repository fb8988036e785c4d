"""All neurons of one model in a network, on the devices that own them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, final

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P

from dist_sim.core import HiddenState, LongTermState, Module, ParamState
from dist_sim.kernels import neurons as kernels
from dist_sim.kernels.philox import key_words
from dist_sim.kernels.scalar.guarded import run as run_text
from dist_sim.nest.neurons import NESTNeuron
from dist_sim.nest.neurons.shape import Shape, recorded_state
from dist_sim.nest.neurons.text import host_parameters, neuron_text, recordable_text, start_values
from dist_sim.network.arguments import everywhere
from dist_sim.network.tables import Channels
from dist_sim.partition.layout import NOWHERE
from dist_sim.partition.mesh import NEURON, joined, sharded, spread
from dist_sim.partition.processes import processes_of


@final
class Population(Module):
    """Neurons of one model in padded global order; a process makes the part of its own devices.

    Args:
        values: what users may give, by row, (n,) float64 bare numbers, n = devices of this process * block.
        ids: (n,) global ids, `NOWHERE` where there is no neuron.
        dt: step, ms. channels: where its input lies in the input vector.
        dtype: of the states. mesh: the states are spread over its axis `neuron`. backend: of the kernels.
        seed, stream: of the random numbers of its steps.
        recorded: names that meters ask for.

    States: variables (rows, n) and counters (rows, n), in the order of `text.states` and `text.counters`.
    """

    structure = ("model", "shape", "channels", "mesh", "backend", "dtype", "stream", "text", "rows")

    def __init__(
        self, model: type[NESTNeuron], shape: Shape, values: Mapping[str, np.ndarray], ids: np.ndarray, *, dt: float,
        channels: Channels, dtype: Any, mesh: Mesh, backend: str, seed: int, stream: int, recorded: Collection[str] = (),
    ) -> None:  # fmt: skip
        super().__init__()
        self.model, self.shape, self.channels, self.mesh, self.backend = model, shape, channels, mesh, backend
        self.dtype, self.stream, self.key = np.dtype(dtype), stream, everywhere(mesh, key_words(seed))
        self.text = text = neuron_text(model, shape, self.dtype)
        rows, starts = host_parameters(model, values, dt, shape, self.dtype), start_values(model, values, dt, shape)
        n = len(ids)
        self.variables = self._state(np.array([starts[name] for name in text.states]).reshape(-1, n), self.dtype)
        begun = [np.full(n, model.counter_declarations[name].start) for name in text.counters]
        self.counters = self._state(np.array(begun).reshape(-1, n), np.int32)
        self._place_parameters(rows)
        quanta = channels.quantum if self._differ(channels.quantum) else channels.quantum[:, :1]
        self.quanta = self._parameter(quanta.astype(self.dtype))
        uses_ids = text.uniforms > 0
        self.ids = LongTermState(
            joined(
                mesh, np.where(ids == NOWHERE, 0, ids).astype(np.uint32) if uses_ids else np.zeros(len(ids) // 128, np.uint32)
            ),
            sharding=sharded(mesh, NEURON),
        )
        real = np.packbits(ids != NOWHERE, bitorder="little").view(np.uint32)
        self.real = LongTermState(joined(mesh, real), sharding=sharded(mesh, NEURON))
        self._keep_recorded(rows, recorded)

    def init_state(self) -> None:
        """Nothing: the States are made for one copy of the network. Without a `batch_size`, one is refused."""

    # ---- building ----

    def _differ(self, rows: np.ndarray) -> bool:
        """Whether some row differs between neurons, of any process."""
        processes = processes_of(self.mesh)
        gathered = np.concatenate([rows[:, :1].reshape(-1), [(rows != rows[:, :1]).any()]]).astype(np.float64)
        gathered = processes.gather(gathered)
        return bool(gathered[:, -1].any() or not ((gathered == gathered[:1]) | np.isnan(gathered)).all())

    def _state(self, values: np.ndarray, dtype: Any) -> HiddenState:
        return HiddenState(joined(self.mesh, values.astype(dtype), 1), sharding=sharded(self.mesh, None, NEURON))

    def _parameter(self, rows: np.ndarray) -> ParamState:
        """(rows, 1) or (rows, n)."""
        if rows.shape[1] == 1:
            return ParamState(spread(jnp.asarray(rows), sharded(self.mesh)), sharding=sharded(self.mesh))
        return ParamState(joined(self.mesh, rows, 1), sharding=sharded(self.mesh, None, NEURON))

    def _place_parameters(self, rows: Mapping[str, np.ndarray]) -> None:
        text, processes = self.text, processes_of(self.mesh)
        names = [*text.numbers, *text.wholes]
        first = np.array([float(rows[n][0]) for n in names])
        differs = np.array([float((rows[n] != rows[n][0]).any()) for n in names])
        gathered = processes.gather(np.stack([first, differs]))
        own = (gathered[:, 1] > 0).any(axis=0) | (gathered[:, 0] != gathered[:1, 0]).any(axis=0)
        self.rows = np.zeros(len(names), np.int32)
        n = len(rows[names[0]])

        def kind(chosen: list[int], dtype: Any) -> tuple[ParamState, ParamState]:
            for_all, each_own = [k for k in chosen if not own[k]], [k for k in chosen if own[k]]
            self.rows[for_all], self.rows[each_own] = -1 - np.arange(len(for_all)), np.arange(len(each_own))
            shared = np.array([rows[names[k]][0] for k in for_all], dtype)
            each = np.array([rows[names[k]] for k in each_own], dtype).reshape(len(each_own), n)
            everywhere = sharded(self.mesh)
            return (
                ParamState(spread(jnp.asarray(shared), everywhere), sharding=everywhere),
                ParamState(joined(self.mesh, each, 1), sharding=sharded(self.mesh, None, NEURON)),
            )

        self.shared, self.own = kind(list(range(len(text.numbers))), self.dtype)
        self.shared_whole, self.own_whole = kind(list(range(len(text.numbers), len(names))), np.int32)

    def _keep_recorded(self, rows: Mapping[str, np.ndarray], recorded: Collection[str]) -> None:
        """What recordables read of parameters, (1,) or (n,) each."""
        model = self.model
        needed = {s.relative_to for s in model.state_declarations.values() if s.relative_to is not None}
        for name in set(recorded) & set(model.derived_recordables):
            needed |= set(recordable_text(model, self.shape, self.dtype, name)[1])
        self.read = {}
        for name in sorted(needed):
            row = rows[name][None].astype(self.dtype if rows[name].dtype.kind == "f" else np.int32)
            self.read[name] = self._parameter(row if self._differ(row) else row[:, :1])

    # ---- the step ----

    def update(self, step: jax.Array, arriving: jax.Array, currents: jax.Array) -> tuple[jax.Array, jax.Array]:
        """One step.

        Args:
            arriving: (threads, devices * size) integers, the input that arrives at the end of the step.
            currents: (ports, 1 or n) pA, injected during the step.

        Returns:
            Spikes as bits, (n / 32,) uint32, and of a model that can send several in a step their number (n,) int32, else (0,).
        """
        text = self.text

        def run(step, arriving, shared, own, shared_whole, own_whole, quanta, currents, states, counters, ids, real, key):
            parameters = kernels.Parameters(
                rows=self.rows, shared=shared, own=own, shared_whole=shared_whole, own_whole=own_whole
            )
            states, counters, bits, counts = kernels.update(
                text, step, arriving, parameters, quanta, currents, states, counters, ids, key, offset=self.channels.offset,
                stream=self.stream, backend=self.backend,
            )  # fmt: skip
            return states, counters, bits & real, counts

        def where(a: jax.Array) -> P:
            return P(None, NEURON) if a.shape[1] != 1 else P()

        n, quanta = P(None, NEURON), self.quanta.value
        specs = (P(), n, P(), n, P(), n, where(quanta), where(currents), n, n, P(NEURON), P(NEURON), P())
        island = jax.shard_map(run, mesh=self.mesh, in_specs=specs, out_specs=(n, n, P(NEURON), P(NEURON)), check_vma=False)
        self.variables.value, self.counters.value, bits, counts = island(
            step, arriving, self.shared.value, self.own.value, self.shared_whole.value, self.own_whole.value, quanta, currents,
            self.variables.value, self.counters.value, self.ids.value, self.real.value, self.key.value,
        )  # fmt: skip
        return bits, counts

    def recorded(self, name: str, index: jax.Array) -> jax.Array:
        """A recordable of some neurons, by their places in padded global order, in its unit's bare numbers: (k,)."""

        def of(value: jax.Array) -> jax.Array:
            return value[0, index] if value.shape[1] != 1 else jnp.broadcast_to(value[0], index.shape)

        row, relative_to = recorded_state(self.model, self.shape, name)
        if row is not None:
            value = self.variables.value[self.text.states.index(row), index]
            return value + of(self.read[relative_to].value) if relative_to is not None else value
        # By the reference's arithmetic: what XLA makes of a formula depends on the program around it.
        text, read = recordable_text(self.model, self.shape, self.dtype, name)
        values = [of(self.read[n].value) for n in read]
        values += [*self.variables.value[:, index], *self.counters.value[:, index]]
        (value,) = run_text(text, values)
        return jnp.broadcast_to(value, index.shape)
