from __future__ import annotations

from typing import Any, final

import brainunit as u
import jax
import jax.numpy as jnp
import numpy as np

from dist_sim import units
from dist_sim.core import HiddenState, LongTermState, Module, ShortTermState, State, environ
from dist_sim.errors import ParameterError
from dist_sim.kernels import build
from dist_sim.kernels.decays import decays
from dist_sim.network.sparse import Sparse
from dist_sim.network.sparse_plastic import STEP


@final
class Plastic(Module):
    """Sparse connectivity whose synapses change with the spikes of both of their neurons, by a model of NEST's family.

    It is what a projection takes as `comm`; with `stp=` there, what short-term plasticity releases is what the synapses weight.

        comm = ds.nn.EventFixedProb(800, 200, 0.1, ds.init.Uniform(0.1, 0.5, unit=u.nS))
        stdp = ds.stdp_synapse(lambda_=0.005, Wmax=1 * u.nS)
        ds.AlignPostProj(comm=ds.nn.Plastic(comm, stdp, post=E, tau_minus=20 * u.ms), syn=..., out=..., post=E)

    The spikes that it is called with meet those that the targets have then. In a step in which both neurons of a synapse spike,
    the target's comes first, and enters its traces after the source's, as in NEST. The delay of a projection lies before the
    synapse, as an axon's, and is rounded to steps; in the Simulator, as in NEST, it lies behind the synapse. A spike that is a
    number other than 1 acts as one spike, and what is passed on is times the number. Equal on any mesh; it has no derivative.

    Args:
        comm: `EventFixedProb`, `EventFixedNumConn` or `SparseLinear`, without delays of its own or a bias. Its weights are where
            the synapses start; where there is one for all, each synapse gets its own.
        synapse: `ds.stdp_synapse(...)`, `ds.tsodyks2_synapse(...)` or another one that changes and takes no random numbers; its
            weights (Wmax) in the unit of those of `comm`.
        post: the targets, whose `get_spike()` gives (*in_size) what is not 0 at spikes; or a function that does.
        name: of the Module.
        taus: time constants [time] >= 0 of the traces of the targets, by NEST's names: `tau_minus=20 * u.ms`.

    States: weight, that of `comm`; those of `synapse.variables` in `variables`, (num_targets, largest in-degree) by name, rows as
        of the weights; now, the steps so far; last (num_sources,) and last_post (num_targets,), the steps of the last spikes, -1
        for none; traces (num_targets, traces) just after them. Made for the dt at hand.
    Raises:
        ParameterError: something else than is asked for above, with a reason; a batch; called at another dt than the States were
            made for, or before.
        UnitError: a weight in another unit than those of `comm`, a time constant that is no time.
    Source: that of the synapse model.
    """

    def __init__(self, comm: Any, synapse: Any, post: Any, name: str | None = None, **taus: Any) -> None:
        super().__init__(name)
        model = type(synapse).__name__
        self._where = where = f"Plastic({model})"
        if not isinstance(getattr(comm, "synapses", None), Sparse):
            raise ParameterError(
                f"{where}: comm={comm!r:.60} has no synapses that could change. Give EventFixedProb, EventFixedNumConn or "
                "SparseLinear."
            )
        if not hasattr(synapse, "changing"):
            raise ParameterError(f"{where}: {synapse!r:.60} is no synapse model. Give one: ds.stdp_synapse(Wmax=1 * u.nS).")
        if comm.on_the_way is not None:
            raise ParameterError(f"{where}: the synapses of comm have delays. Give the projection one delay, or none.")
        if len(comm.in_size) > 1 and not hasattr(comm, "conn_num"):
            raise ParameterError(f"{where}: comm has the in_size {comm.in_size}; needs sources along one axis.")
        if not callable(getattr(post, "get_spike", post)):
            raise ParameterError(f"{where}: post={post!r:.60} has no spikes. Give the population that comm leads to.")
        for what in ("weight", "delay", "weight_recorder"):
            if getattr(synapse, what) is not None:
                raise ParameterError(
                    f"{where}: {model}({what}=...) is the Simulator's. Weights are those of comm; a delay, the projection's."
                )
        self.comm, self.post = comm, post
        self.in_size, self.out_size = comm.in_size, comm.out_size
        weights = self._weights()
        unit, bare = u.get_unit(weights), np.asarray(u.get_mantissa(weights))
        own = np.concatenate([comm.synapses.of_synapses(bare, d) for d in comm.synapses.incoming])
        if "Wmax" in synapse.parameters and "Wmax" not in synapse.given:
            raise ParameterError(f"{where}: give the largest weight, in the unit of the weights, {unit}: {model}(Wmax=...).")
        same = len(own) > 0 and own.min() == own.max()
        drawn = build.Draw(kind=build.CONSTANT, a=float(own[0])) if same else build.Draw(kind=build.ARRAY, values=own)
        changing = synapse.changing(drawn, unit, where)
        if changing is None:
            raise ParameterError(f"{where}: its synapses do not change. Give comm itself.")
        if changing.uniforms:
            raise ParameterError(f"{where}: it draws random numbers at spikes, which the Simulator has: ds.Simulator.")
        self.text = changing.model.text(bare.dtype, 0)
        self._parameters, self._initial = changing.parameters, changing.initial
        self._taus = self._checked(taus, changing.model.target_taus())
        self._sources = comm.synapses.sources()
        self._dt = 0.0

    @property
    def weight(self) -> State:
        """That of `comm`."""
        return self.comm.weight

    def init_state(self, batch_size: int | None = None) -> None:
        if batch_size is not None:
            raise ParameterError(
                f"{self._where}: its weights belong to one network, and not to a batch. Lay networks side by side by vmap."
            )
        table, dtype, self._dt = self.comm.synapses.table, self.text.dtype, _dt()
        numbers = [self._dt if name == "dt" else self._parameters[name] for name in self.text.parameters]
        taus = [*(self._parameters[name] for name in self.text.decays), *self._taus.values()]
        decay = decays(np.array(taus), self._dt, dtype.type)
        self._bits = decay.bits
        self.constants = LongTermState(tuple(jnp.asarray(a, dtype) for a in (np.array(numbers), decay.fine, decay.coarse)))
        rows, targets = (table.num_targets, table.width), table.num_targets
        self.variables = {
            name: HiddenState(jnp.full(rows, self._initial[name], dtype), axes=("neuron", None))
            for name in self.text.variables[1:]
        }
        self.now = ShortTermState(jnp.zeros((), jnp.int32))
        self.last = ShortTermState(jnp.full(table.num_sources, -1, jnp.int32))
        self.last_post = ShortTermState(jnp.full(targets, -1, jnp.int32), axes=("neuron",))
        self.traces = ShortTermState(jnp.zeros((targets, max(1, self.text.stored)), dtype), axes=("neuron", None))

    def update(self, spikes: jax.Array) -> Any:
        """One step: what arrives, (*out_size) in the unit of the weights. `spikes`: (*in_size) booleans or numbers."""
        if not np.isclose(self._dt, _dt()):
            made = f"were made for dt={self._dt:g} ms; now it is {_dt():g} ms" if self._dt else "are not there yet"
            raise ParameterError(f"{self._where}: the States of the synapses {made}. Call init_all_states.")
        flat, synapses = self.comm.of_sources(spikes), self.comm.synapses
        targets = synapses.table.num_targets
        posts = jnp.asarray(self.post.get_spike() if hasattr(self.post, "get_spike") else self.post()) != 0
        if flat.ndim != 1 or posts.size != targets:
            raise ParameterError(
                f"{self._where}: spikes have the shape {spikes.shape}, those of post {posts.shape}; needs {self.in_size} and "
                f"{self.out_size}."
            )
        dtype, weights = self.text.dtype, self._weights()
        variables = [self.variables[name] for name in self.text.variables[1:]]
        onto, self.last.value, self.last_post.value, self.traces.value, changed, *others = STEP.bind(
            self.now.value, flat if flat.dtype == bool else flat.astype(dtype), posts.reshape(-1), synapses.pointers.value,
            synapses.synapses.value, self._sources.value, *self.constants.value, jnp.zeros(targets, dtype), self.last.value,
            self.last_post.value, self.traces.value, u.get_mantissa(weights), *(v.value for v in variables),
            text=self.text, table=synapses.table, bits=self._bits, blocked=False,
        )  # fmt: skip
        unit = u.get_unit(weights)
        self._set_weights(u.maybe_decimal(u.Quantity(changed, unit=unit)))
        for variable, value in zip(variables, others, strict=True):
            variable.value = value
        self.now.value += 1
        return u.maybe_decimal(u.Quantity(onto.reshape(self.out_size), unit=unit))

    def _weights(self) -> Any:
        """(num_targets, largest in-degree), a row per target."""
        value = self.comm.weight.value
        if isinstance(value, dict):
            if "bias" in value:
                raise ParameterError(f"{self._where}: comm has a bias. Give it none: what arrives is that of spikes alone.")
            return value["weight"]
        if not u.math.ndim(value):
            self.comm.synapses.weigh()
            rows = self.comm.synapses.table.num_targets, self.comm.synapses.width
            self.comm.weight = type(self.comm.weight)(u.math.broadcast_to(value, rows), axes=("neuron", None))
        return self.comm.weight.value

    def _set_weights(self, weights: Any) -> None:
        self.comm.weight.value = {"weight": weights} if isinstance(self.comm.weight.value, dict) else weights

    def _checked(self, taus: dict[str, Any], wanted: tuple[str, ...]) -> dict[str, float]:
        """Time constants of the traces [ms], in their order."""
        if missing := [tau for tau in wanted if tau not in taus]:
            raise ParameterError(
                f"{self._where}: give {' and '.join(missing)}, of the traces of the targets' spikes: {missing[0]}=20 * u.ms."
            )
        if unknown := [tau for tau in taus if tau not in wanted]:
            known = ", ".join(wanted) or "none"
            raise ParameterError(f"{self._where}: has no {', '.join(unknown)}; time constants of traces are: {known}.")
        found = {tau: float(units.magnitude(taus[tau], u.ms, f"{self._where}: {tau}")) for tau in wanted}
        if not all(np.isfinite(tau) and tau >= 0 for tau in found.values()):
            raise ParameterError(f"{self._where}: {found} ms; time constants are at least 0, and finite.")
        return found


def _dt() -> float:
    return float(environ.get_dt().to_decimal(u.ms))
