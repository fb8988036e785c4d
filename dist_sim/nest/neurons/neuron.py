"""The contract of a NEST-named neuron model, and what the exactly solvable ones share."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P

from dist_sim.core import HiddenState, Module, ParamState
from dist_sim.errors import ParameterError
from dist_sim.nest.parameter import Parameter
from dist_sim.network.tables import Channels
from dist_sim.partition.mesh import NEURON, joined, sharded, spread
from dist_sim.partition.processes import processes_of

# What the leaky integrate-and-fire models have in common, with NEST's defaults; V_m is the initial value.
MEMBRANE: Mapping[str, Parameter] = {
    "E_L": Parameter("mV", -70.0),
    "C_m": Parameter("pF", 250.0, positive=True),
    "tau_m": Parameter("ms", 10.0, positive=True),
    "t_ref": Parameter("ms", 2.0, at_least=0.0),
    "V_th": Parameter("mV", -55.0),
    "V_reset": Parameter("mV", -70.0),
    "I_e": Parameter("pA", 0.0),
    "V_m": Parameter("mV", "E_L"),
    # Of the trace that depresses plastic synapses that end on the neuron.
    "tau_minus": Parameter("ms", 20.0, positive=True),
}

LONGEST = 1e6  # ms of refractoriness: as steps of 1 us it still fits 32 bits


class NESTNeuron(Module):
    """All neurons of one model in a network, in padded global order; a process makes the part of its own devices.

    A model declares its `parameters` (V_m and the like are initial values), the unit of its input, whether negative weights have
    a channel of their own, and its recordables; it writes `build`, `update` and `recorded`.

    Args:
        values: every parameter, (n,) float64 bare numbers, n = devices of this process * block; `refractory_steps`; `padding`,
            1 where there is no neuron.
        dt: step, ms.
        channels: where its input lies in the input vector.
        dtype: of the states.
        mesh: the states are spread over its axis `neuron`.
        backend: of the kernels.
    """

    parameters: ClassVar[Mapping[str, Parameter]]
    recordables: ClassVar[tuple[str, ...]]
    input_unit: ClassVar[str]
    signed_channels: ClassVar[bool] = True

    def __init__(self, values: Mapping[str, np.ndarray], *, dt: float, channels: Channels, dtype: Any, mesh: Mesh, backend: str):
        super().__init__()
        self.dt, self.channels, self.dtype, self.mesh, self.backend = dt, channels, np.dtype(dtype), mesh, backend
        self.p: dict[str, Any] = {}
        self.build(values)

    @classmethod
    def check(cls, values: Mapping[str, np.ndarray]) -> None:
        """Raises ParameterError where parameters do not fit each other; values are (n,) of a whole population."""
        if (values["t_ref"] > LONGEST).any():
            longest = values["t_ref"].max()
            raise ParameterError(f"{cls.__name__}(t_ref={longest:g} ms): t_ref can be at most {LONGEST:g} ms. Is the unit right?")
        if (values["V_reset"] >= values["V_th"]).any():
            worst = np.argmax(values["V_reset"] >= values["V_th"])
            raise ParameterError(
                f"{cls.__name__}(V_reset={values['V_reset'][worst]:g} mV): "
                f"V_reset must be below V_th={values['V_th'][worst]:g} mV. "
                "The neuron would spike at every step."
            )

    @classmethod
    def mergeable(cls, values: Mapping[str, np.ndarray]) -> bool:
        """Whether both channels have the same dynamics, so that one of their sum does."""
        return False

    @abstractmethod
    def build(self, values: Mapping[str, np.ndarray]) -> None:
        """Makes the states and derives what the step needs."""

    def init_state(self) -> None:
        """Nothing: `build` makes the states, for one copy of the network. Without a `batch_size`, one is refused."""

    @abstractmethod
    def update(self, arriving: jax.Array, current: jax.Array) -> jax.Array:
        """One step.

        Args:
            arriving: (threads, devices * size) integers, the input that arrives at the end of the step.
            current: (1,) or (n,) pA, injected during the step.

        Returns:
            Spikes as bits, (n / 32,) uint32.
        """

    @abstractmethod
    def recorded(self, name: str) -> jax.Array:
        """A recordable in its unit's bare numbers, (n,)."""

    # ---- shared ----

    def parameter(self, values: np.ndarray, dtype: Any = None) -> ParamState:
        """A parameter of the step: (1,) if all neurons have the same, else (n,)."""
        dtype = self.dtype if dtype is None else dtype
        apart = (values != values[0]).any()
        told = processes_of(self.mesh).gather(np.array([values[0], apart], dtype=np.float64))
        if not told[:, 1].any() and (told[:, 0] == values[0]).all():
            whole = sharded(self.mesh)
            return ParamState(spread(jnp.asarray(values[:1].astype(dtype)), whole), sharding=whole)
        return ParamState(joined(self.mesh, values.astype(dtype)), sharding=sharded(self.mesh, NEURON))

    def state(self, values: np.ndarray, dtype: Any = None) -> HiddenState:
        """A state (n,) or (channels, n)."""
        axis, value = values.ndim - 1, values.astype(self.dtype if dtype is None else dtype)
        return HiddenState(joined(self.mesh, value, axis), sharding=sharded(self.mesh, *(None,) * axis, NEURON))

    def linear_membrane(self, values: Mapping[str, np.ndarray]) -> dict[str, Any]:
        """What the linear models share; potentials relative to E_L."""
        padding = values["padding"] > 0
        from_rest = {name: values[name] - values["E_L"] for name in ("V_th", "V_reset", "V_m")}
        lower = values["V_min"] - values["E_L"] if "V_min" in values else np.full_like(values["E_L"], -np.inf)
        # The padding is refractory for longer than a simulation can last: it never spikes.
        self.V = self.state(np.where(padding, from_rest["V_reset"], from_rest["V_m"]))
        self.refractory = self.state(np.where(padding, np.iinfo(np.int32).max, 0), np.int32)
        self.E_L = self.parameter(values["E_L"])
        return {
            "V_th": self.parameter(from_rest["V_th"]),
            "V_reset": self.parameter(from_rest["V_reset"]),
            "V_min": self.parameter(lower),
            "I_e": self.parameter(values["I_e"]),
            "refractory_steps": self.parameter(values["refractory_steps"], np.int32),
        }

    def step(self, kernel: Any, arriving: jax.Array, parameters: Any, current: jax.Array, *states: HiddenState) -> jax.Array:
        """Runs a kernel on every device's block and writes the states."""

        def run(arriving, p, *values):
            return kernel(arriving, p, *values, offset=self.channels.offset, quantum=self.channels.quantum, backend=self.backend)

        p = {name: [s.value for s in v] if isinstance(v, list) else v.value for name, v in parameters.items()} | {
            "current": current
        }
        values = [s.value for s in states]
        specs = jax.tree.map(lambda a: P(NEURON) if a.shape[0] > 1 else P(), p)
        state_specs = tuple(P(*(None,) * (v.ndim - 1), NEURON) for v in values)
        island = jax.shard_map(
            run,
            mesh=self.mesh,
            in_specs=(P(None, NEURON), specs, *state_specs),
            out_specs=(*state_specs, P(NEURON)),
            check_vma=False,
        )
        *new, bits = island(arriving, p, *values)
        for state, value in zip(states, new, strict=True):
            state.value = value
        return bits


def gain(x: np.ndarray, order: int) -> np.ndarray:
    r"""The integral of s^(order-1) exp(x s) over s from 0 to 1: exact where two time constants meet (x = 0).

    Propagators of the membrane under exponential (order 1) and alpha-shaped (order 2) currents are this function of
    x = h (1/tau_m - 1/tau_syn).
    """
    x = np.asarray(x, dtype=np.float64)
    near = np.abs(x) < 0.5
    safe = np.where(near, 1.0, x)
    far = np.expm1(safe) / safe if order == 1 else (safe * np.exp(safe) - np.expm1(safe)) / safe**2
    series, term = np.zeros_like(x), np.ones_like(x)
    for k in range(24):
        series += term / (k + order)
        term = term * x / (k + 1)
    return np.where(near, series, far)
