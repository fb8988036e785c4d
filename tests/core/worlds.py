"""The States that a random program lives on, in one library, and the arithmetic it does with them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import brainunit as u
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

LANES = 2
"""Size of the mapped axis of every vmap."""

WHOLE = ("V", "h", "w", "E", "trace", "count")
PARAMETERS = ("w", "E")
LANED = {"lanes": 1, "rows": 1, "grid": 2}
"""States with axes of lanes, and how many: they can be touched where vmaps split them all."""

OPERATIONS: dict[str, Callable[..., jax.Array]] = {
    "sin": lambda a, b, dt: 0.5 * jnp.sin(a) + 0.5 * jnp.sin(b),
    "tanh": lambda a, b, dt: jnp.tanh(0.5 * a + 0.4 * b),
    "mix": lambda a, b, dt: 0.5 * a - 0.4 * b + 0.1,
    "product": lambda a, b, dt: jnp.sin(a) * jnp.cos(b),
    "larger": lambda a, b, dt: 0.9 * jnp.maximum(a, b),
    "decay": lambda a, b, dt: a + (b - a) * (dt / (1.0 * u.ms)),
    "roll": lambda a, b, dt: 0.4 * a + 0.5 * jnp.roll(jnp.broadcast_to(b, a.shape), 1, axis=-1),
    "mean": lambda a, b, dt: 0.4 * a + 0.5 * b.mean(),
}


class World:
    """One library's States for one run of a program.

    Args:
        shape: of x and of every State, but for the count and the axis of lanes.
        sharding: of x's axes; States that have them lie that way.
    """

    def __init__(self, lib: Any, shape: tuple[int, ...], sharding: NamedSharding | None) -> None:
        self.lib = lib
        self.compiled: dict[int, Callable[..., Any]] = {}

        def values(phase: float, lanes: int = 0) -> jax.Array:
            full = (*(LANES,) * lanes, *shape)
            return jnp.asarray(0.9 * np.sin(phase + np.arange(np.prod(full))).reshape(full), jnp.float32)

        def state(kind: str, value: Any, lanes: int | None = 0) -> Any:
            if sharding is None or lanes is None:
                return getattr(lib, kind)(value)
            spec = PartitionSpec(*(None,) * lanes, *sharding.spec)
            return getattr(lib, kind)(value, sharding=NamedSharding(sharding.mesh, spec))

        self.states = {
            "V": state("HiddenState", values(0.1) * u.mV),
            "h": state("HiddenState", values(0.2)),
            "w": state("ParamState", values(0.3)),
            "E": state("ParamState", values(0.4) * u.mV),
            "trace": state("ShortTermState", {"a": values(0.5), "b": [values(0.6)]}),
            "count": state("LongTermState", jnp.int32(0), None),
            "lanes": state("HiddenState", values(0.7, 1), 1),
            "rows": state("HiddenState", values(0.8, 1) * u.mV, 1),
            "grid": state("ParamState", values(0.9, 2), 2),
        }

    def read(self, name: str) -> jax.Array:
        """A State as bare numbers."""
        value = self.states[name].value
        if name == "trace":
            return 0.5 * value["a"] - 0.4 * value["b"][0]
        if name == "count":
            return 0.1 * (value % 7).astype(jnp.float32)
        return value.to_decimal(u.mV) if name in ("V", "E", "rows") else value

    def write(self, name: str, new: jax.Array) -> None:
        if name == "trace":
            self.states[name].value = {"a": new, "b": [-0.5 * new]}
        elif name == "count":
            # What is written is left aside: counting finds a write that happens twice or never.
            self.states[name].value = self.states[name].value + 1
        else:
            self.states[name].value = new * u.mV if name in ("V", "E", "rows") else new

    def run(self, body: tuple[Callable[[World, jax.Array], jax.Array], ...], x: jax.Array) -> jax.Array:
        for node in body:
            x = node(self, x)
        return x
