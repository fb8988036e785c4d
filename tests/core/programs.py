"""Random State programs from nested transforms, which any library of this kind can run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import brainunit as u
import jax
import jax.numpy as jnp
import numpy as np
from core.nodes import Body, Node, Scope, bodies
from core.worlds import World
from hypothesis import strategies as st
from jax.sharding import NamedSharding


@dataclass(frozen=True)
class Program:
    body: Body
    compiled: bool


@st.composite
def programs(draw: Callable, kind: type[Node]) -> Program:
    """Programs that end with this transform at the top: two at the top at most, and others inside them, three deep."""
    scope = Scope(depth=3)
    return Program((*draw(bodies(scope)), kind.draw(draw, scope)), draw(st.integers(0, 2)) < 2)


def outcome(lib: Any, program: Program, shape: tuple[int, ...] = (3,), sharding: NamedSharding | None = None) -> Outcome:
    """Runs a program, a compiled one twice."""
    world = World(lib, shape, sharding)
    x = jnp.asarray(0.8 * np.cos(np.arange(np.prod(shape))).reshape(shape), jnp.float32)
    found: dict[str, Any] = {}
    with lib.environ.context(dt=0.1 * u.ms):
        run = lib.transform.jit(partial(world.run, program.body)) if program.compiled else partial(world.run, program.body)
        for call in range(2 if program.compiled else 1):
            x = run(x)
            found[f"x after call {call}"] = np.asarray(x)
    for name, state in world.states.items():
        leaves, tree = jax.tree.flatten(state.value)
        found |= {f"{name}, leaf {n}, {tree}": np.asarray(leaf) for n, leaf in enumerate(leaves)}
    return Outcome(found, world)


class Outcome(NamedTuple):
    """All values at the end by name (units are part of the names), and the world that holds them."""

    values: dict[str, np.ndarray]
    world: World
