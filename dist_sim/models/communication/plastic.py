from __future__ import annotations

from typing import Any, final

import brainunit as u
import jax
import jax.numpy as jnp
import numpy as np

from dist_sim import units
from dist_sim.core import HiddenState, Module, ShortTermState, State, environ
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
        self._where = where = f"Plastic({type(synapse).__name__})"
        _check_parts(comm, synapse, post, where)
        self.comm, self.post = comm, post
        self.in_size, self.out_size = comm.in_size, comm.out_size
        comm.synapses.for_changing()
        if not isinstance(comm.weight.value, dict) and not u.math.ndim(comm.weight.value):
            rows = comm.synapses.table.num_targets, comm.synapses.width
            comm.weight = type(comm.weight)(u.math.broadcast_to(comm.weight.value, rows), axes=("neuron", None))
        unit, bare = u.get_unit(self._weights()), np.asarray(u.get_mantissa(self._weights()))
        changing = synapse.changing(_given(comm.synapses, bare), unit, where)
        if changing is None:
            raise ParameterError(f"{where}: its synapses do not change. Give comm itself.")
        if changing.uniforms:
            raise ParameterError(f"{where}: it draws random numbers at spikes, which the Simulator has: ds.Simulator.")
        if "Wmax" in synapse.parameters and "Wmax" not in synapse.given:
            raise ParameterError(f"{where}: give the largest weight, in the unit of the weights: Wmax=... {unit}.")
        self.text = changing.model.text(bare.dtype, 0)
        self._parameters, self._initial = changing.parameters, changing.initial
        self._taus = _checked(taus, changing.model.target_taus(), where)
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
        self._constants = tuple(a.astype(dtype) for a in (np.array(numbers), decay.fine, decay.coarse))
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
            synapses.synapses.value, synapses.sources.value, *self._constants, jnp.zeros(targets, dtype), self.last.value,
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
        return value["weight"] if isinstance(value, dict) else value

    def _set_weights(self, weights: Any) -> None:
        self.comm.weight.value = {"weight": weights} if isinstance(self.comm.weight.value, dict) else weights


def _check_parts(comm: Any, synapse: Any, post: Any, where: str) -> None:
    """Raises ParameterError where they are not what `Plastic` takes."""
    if not isinstance(getattr(comm, "synapses", None), Sparse):
        known = "EventFixedProb, EventFixedNumConn or SparseLinear"
        raise ParameterError(f"{where}: comm={comm!r:.60} has no synapses that could change. Give {known}.")
    if not hasattr(synapse, "changing"):
        raise ParameterError(f"{where}: {synapse!r:.60} is no synapse model. Give one: ds.stdp_synapse(Wmax=1 * u.nS).")
    if comm.on_the_way is not None:
        raise ParameterError(f"{where}: the synapses of comm have delays. Give the projection one delay, or none.")
    if isinstance(comm.weight.value, dict) and "bias" in comm.weight.value:
        raise ParameterError(f"{where}: comm has a bias. Give it none: what arrives is that of spikes alone.")
    if not callable(getattr(post, "get_spike", post)):
        raise ParameterError(f"{where}: post={post!r:.60} has no spikes. Give the population that comm leads to.")
    for what in ("weight", "delay", "weight_recorder"):
        if getattr(synapse, what) is not None:
            raise ParameterError(f"{where}: {what}=... is the Simulator's. Weights are those of comm; a delay, the projection's.")


def _given(synapses: Sparse, weights: np.ndarray) -> build.Draw:
    """The weights (num_targets, largest in-degree) of the synapses that there are."""
    own = np.concatenate([synapses.of_synapses(weights, d) for d in synapses.incoming])
    if len(own) and own.min() == own.max():
        return build.Draw(kind=build.CONSTANT, a=float(own[0]))
    return build.Draw(kind=build.ARRAY, values=own)


def _checked(taus: dict[str, Any], wanted: tuple[str, ...], where: str) -> dict[str, float]:
    """Time constants of the traces [ms], in their order."""
    if missing := [tau for tau in wanted if tau not in taus]:
        named = " and ".join(missing)
        raise ParameterError(f"{where}: give {named}, of the traces of the targets' spikes: {missing[0]}=20 * u.ms.")
    if unknown := [tau for tau in taus if tau not in wanted]:
        known = ", ".join(wanted) or "none"
        raise ParameterError(f"{where}: has no {', '.join(unknown)}; time constants of traces are: {known}.")
    found = {tau: float(units.magnitude(taus[tau], u.ms, f"{where}: {tau}")) for tau in wanted}
    if not all(np.isfinite(tau) and tau >= 0 for tau in found.values()):
        raise ParameterError(f"{where}: {found} ms; time constants are at least 0, and finite.")
    return found


def _dt() -> float:
    return float(environ.get_dt().to_decimal(u.ms))
