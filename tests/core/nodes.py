"""What random programs are made of: reads and writes of States, and transforms around more of that.

Every node turns one array x into another. Its values lie in [-1, 1] and it does not enlarge errors: results may be compared
closely, whatever the nesting.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from core.worlds import LANED, LANES, OPERATIONS, PARAMETERS, WHOLE, World
from hypothesis import strategies as st


class Scope(NamedTuple):
    """What a node may do where it stands."""

    depth: int  # transforms that may still be nested here
    readable: tuple[str, ...] = WHOLE
    writable: tuple[str, ...] = WHOLE
    lanes: tuple[tuple[str, int], ...] = tuple(LANED.items())  # axes of lanes that are left in here
    vmaps: int = 0  # around it
    reversible: bool = False  # something around takes gradients

    def inside(self, **changes: Any) -> Scope:
        return self._replace(depth=self.depth - 1, **changes)


class Node:
    """One step of a program: takes x, gives x. `draw` makes one that fits where it shall stand."""

    transform = ""
    """What the library must have for it."""

    def __call__(self, world: World, x: jax.Array) -> jax.Array:
        raise NotImplementedError

    @staticmethod
    def draw(draw: Callable, scope: Scope) -> Node:
        raise NotImplementedError

    def nodes(self) -> Iterator[Node]:
        """This node and all nodes inside it."""
        yield self
        for field in fields(self):  # pyright: ignore[reportArgumentType]
            yield from nodes_of(getattr(self, field.name))


Body = tuple[Node, ...]


def nodes_of(value: Any) -> Iterator[Node]:
    if isinstance(value, Node):
        yield from value.nodes()
    elif isinstance(value, tuple):
        for item in value:
            yield from nodes_of(item)


@dataclass(frozen=True)
class Read(Node):
    """x = operation(x, State)."""

    state: str
    operation: str

    def __call__(self, world: World, x: jax.Array) -> jax.Array:
        return OPERATIONS[self.operation](x, world.read(self.state), world.lib.environ.get("dt"))

    @staticmethod
    def draw(draw: Callable, scope: Scope) -> Node:
        return Read(draw(st.sampled_from(scope.readable)), draw(st.sampled_from(sorted(OPERATIONS))))


@dataclass(frozen=True)
class Write(Node):
    """State = operation(State, x); with `blind`, State = x: the same array, and not read before."""

    state: str
    operation: str
    blind: bool

    def __call__(self, world: World, x: jax.Array) -> jax.Array:
        if self.blind:
            world.write(self.state, x)
        else:
            old = jnp.broadcast_to(world.read(self.state), x.shape)
            world.write(self.state, OPERATIONS[self.operation](old, x, world.lib.environ.get("dt")))
        return x

    @staticmethod
    def draw(draw: Callable, scope: Scope) -> Node:
        if not scope.writable:
            return Read.draw(draw, scope)
        operation = draw(st.sampled_from(sorted(OPERATIONS)))
        return Write(draw(st.sampled_from(scope.writable)), operation, draw(st.integers(0, 3)) == 0)


@dataclass(frozen=True)
class Jit(Node):
    body: Body
    transform = "jit"

    def __call__(self, world: World, x: jax.Array) -> jax.Array:
        if id(self) not in world.compiled:
            world.compiled[id(self)] = world.lib.transform.jit(lambda x: world.run(self.body, x))
        return world.compiled[id(self)](x)

    @staticmethod
    def draw(draw: Callable, scope: Scope) -> Node:
        return Jit(draw(bodies(scope.inside())))


@dataclass(frozen=True)
class ForLoop(Node):
    body: Body
    length: int
    reverse: bool
    unroll: int
    transform = "for_loop"

    def __call__(self, world: World, x: jax.Array) -> jax.Array:
        def step(one: jax.Array, other: jax.Array) -> jax.Array:
            return world.run(self.body, 0.6 * x + 0.2 * one - 0.1 * other)

        options = {"reverse": self.reverse, "unroll": self.unroll}
        return folded(world.lib.transform.for_loop(step, *inputs(self.length), **options))

    @staticmethod
    def draw(draw: Callable, scope: Scope) -> Node:
        return ForLoop(draw(bodies(scope.inside())), draw(st.integers(1, 4)), draw(st.booleans()), draw(st.integers(1, 2)))


@dataclass(frozen=True)
class CheckpointedForLoop(Node):
    body: Body
    length: int
    base: int
    transform = "checkpointed_for_loop"

    def __call__(self, world: World, x: jax.Array) -> jax.Array:
        def step(one: jax.Array, other: jax.Array) -> jax.Array:
            return world.run(self.body, 0.6 * x + 0.2 * one - 0.1 * other)

        return folded(world.lib.transform.checkpointed_for_loop(step, *inputs(self.length), base=self.base))

    @staticmethod
    def draw(draw: Callable, scope: Scope) -> Node:
        return CheckpointedForLoop(draw(bodies(scope.inside())), draw(st.integers(1, 5)), draw(st.integers(2, 3)))


@dataclass(frozen=True)
class Scan(Node):
    body: Body
    length: int
    reverse: bool
    transform = "scan"

    def __call__(self, world: World, x: jax.Array) -> jax.Array:
        def step(carry: jax.Array, one: jax.Array) -> tuple[jax.Array, jax.Array]:
            y = world.run(self.body, 0.7 * carry + 0.3 * one)
            return 0.5 * carry + 0.5 * y, y

        carry, ys = world.lib.transform.scan(step, x, inputs(self.length)[0], reverse=self.reverse)
        return 0.5 * carry + 0.5 * folded(ys)

    @staticmethod
    def draw(draw: Callable, scope: Scope) -> Node:
        return Scan(draw(bodies(scope.inside())), draw(st.integers(1, 4)), draw(st.booleans()))


@dataclass(frozen=True)
class WhileLoop(Node):
    body: Body
    steps: int
    tested: str
    transform = "while_loop"

    def __call__(self, world: World, x: jax.Array) -> jax.Array:
        def goes_on(carry: tuple[Any, jax.Array]) -> jax.Array:
            return (carry[0] < self.steps) & (world.read(self.tested).mean() < 0.63)

        def step(carry: tuple[Any, jax.Array]) -> tuple[Any, jax.Array]:
            return carry[0] + 1, world.run(self.body, carry[1])

        return world.lib.transform.while_loop(goes_on, step, (0, x))[1]

    @staticmethod
    def draw(draw: Callable, scope: Scope) -> Node:
        return WhileLoop(draw(bodies(scope.inside())), draw(st.integers(0, 3)), draw(st.sampled_from(scope.readable)))


@dataclass(frozen=True)
class Cond(Node):
    tested: str | None
    threshold: float
    yes: Body
    no: Body
    transform = "cond"

    def __call__(self, world: World, x: jax.Array) -> jax.Array:
        tested = x if self.tested is None else world.read(self.tested)
        branches = (lambda x: world.run(self.yes, x)), (lambda x: world.run(self.no, x))
        return world.lib.transform.cond(tested.mean() > self.threshold, *branches, x)

    @staticmethod
    def draw(draw: Callable, scope: Scope) -> Node:
        tested = draw(st.sampled_from((None, *scope.readable)))
        threshold = draw(st.sampled_from((-0.517, -0.0513, 0.0521, 0.511)))
        return Cond(tested, threshold, draw(bodies(scope.inside())), draw(bodies(scope.inside())))


@dataclass(frozen=True)
class Switch(Node):
    """Which branch, the count says, or x; now and then beyond the last one."""

    counted: bool
    branches: tuple[Body, ...]
    transform = "switch"

    def __call__(self, world: World, x: jax.Array) -> jax.Array:
        number = 10.0 * world.read("count") + 0.5 if self.counted else 7.13 * jnp.abs(x.mean())
        index = number.astype(jnp.int32) % (len(self.branches) + 1)
        return world.lib.transform.switch(index, [lambda x, body=body: world.run(body, x) for body in self.branches], x)

    @staticmethod
    def draw(draw: Callable, scope: Scope) -> Node:
        return Switch(draw(st.booleans()), tuple(draw(bodies(scope.inside())) for _ in range(draw(st.integers(1, 3)))))


@dataclass(frozen=True)
class Grad(Node):
    body: Body
    parameters: tuple[str, ...]
    form: str
    argument: bool
    has_aux: bool
    return_value: bool
    transform = "grad"

    def __call__(self, world: World, x: jax.Array) -> jax.Array:
        def loss(x: jax.Array) -> Any:
            y = world.run(self.body, x)
            total = sum([jnp.sin(world.read(name)).sum() for name in self.parameters], y.sum())
            return (total, 0.5 * y) if self.has_aux else total

        named = {name: world.states[name] for name in self.parameters}
        states = {"dict": named, "list": list(named.values()), "one": next(iter(named.values()), None)}[self.form]
        options: dict[str, Any] = {"argnums": 0} if self.argument else {}
        if named:
            options["grad_states"] = states
        found = world.lib.transform.grad(loss, has_aux=self.has_aux, return_value=self.return_value, **options)(x)
        # The leaves of a gradient, with whatever unit, then the loss, then the auxiliary output.
        for leaf in jax.tree.leaves(found):
            # A loss is a sum: its rounding grows with its size.
            x = 0.5 * x + 0.5 * jnp.sin(leaf if leaf.ndim else leaf / x.size)
        return x

    @staticmethod
    def draw(draw: Callable, scope: Scope) -> Node:
        parameters = draw(st.sampled_from(((), *((name,) for name in PARAMETERS), PARAMETERS)))
        forms = ("dict", "list", "one") if len(parameters) == 1 else ("dict", "list")
        return Grad(
            draw(bodies(scope.inside(reversible=True))),
            parameters,
            draw(st.sampled_from(forms)),
            draw(st.booleans()) or not parameters,
            draw(st.booleans()),
            draw(st.booleans()),
        )


@dataclass(frozen=True)
class Remat(Node):
    body: Body
    transform = "remat"

    def __call__(self, world: World, x: jax.Array) -> jax.Array:
        return world.lib.transform.remat(lambda x: world.run(self.body, x))(x)

    @staticmethod
    def draw(draw: Callable, scope: Scope) -> Node:
        return Remat(draw(bodies(scope.inside())))


@dataclass(frozen=True)
class Vmap(Node):
    """Lanes share the States that are not split among them, which they only read."""

    body: Body
    split: tuple[str, ...]
    in_axis: int
    out_axis: int
    transform = "vmap"

    def __call__(self, world: World, x: jax.Array) -> jax.Array:
        written = {node.state for node in nodes_of(self.body) if isinstance(node, Write)}
        options: dict[str, Any] = {}
        if self.split:
            options["in_states"] = {0: [world.states[name] for name in self.split]}
        if written:
            options["out_states"] = {0: [world.states[name] for name in self.split if name in written]}

        def lane(x: jax.Array, one: jax.Array) -> jax.Array:
            return world.run(self.body, 0.7 * x + 0.3 * one)

        mapped = world.lib.transform.vmap(lane, in_axes=(self.in_axis, 0), out_axes=self.out_axis, **options)
        ys = mapped(jnp.stack([x, -0.5 * x], axis=self.in_axis), inputs(LANES)[0])
        return folded(jnp.moveaxis(ys, self.out_axis, 0))

    @staticmethod
    def draw(draw: Callable, scope: Scope) -> Node:
        split = tuple(name for name, left in scope.lanes if left and draw(st.booleans()))
        lanes = {name: left - (name in split) for name, left in scope.lanes}
        whole = [name for name in split if lanes[name] == 0]
        inside = scope.inside(
            readable=(*scope.readable, *whole),
            # A State that some vmap around does not split is shared by its lanes.
            writable=tuple(name for name in whole if LANED[name] == scope.vmaps + 1),
            lanes=tuple(lanes.items()),
            vmaps=scope.vmaps + 1,
        )
        return Vmap(draw(bodies(inside)), split, draw(st.integers(0, 1)), draw(st.integers(0, 1)))


KINDS: tuple[type[Node], ...] = (Jit, ForLoop, Scan, Cond, Switch, WhileLoop, CheckpointedForLoop, Grad, Vmap, Remat)
"""The transforms that programs are made of."""


def inputs(length: int) -> tuple[jax.Array, jax.Array]:
    return jnp.linspace(-1.0, 0.8, length), jnp.linspace(0.5, -0.9, length)


def folded(ys: jax.Array) -> jax.Array:
    """One array from stacked ones; which of them lies where makes a difference."""
    weights = 0.5 ** np.arange(1, len(ys) + 1)
    return jnp.tensordot(jnp.asarray(weights / weights.sum(), ys.dtype), ys, 1)


@st.composite
def bodies(draw: Callable, scope: Scope) -> Body:
    """Reads and writes, and around one transform in every body that may have one."""
    touches = [draw(st.sampled_from((Read, Write, Write))).draw(draw, scope) for _ in range(draw(st.integers(1, 2)))]
    kinds = [kind for kind in KINDS if not (scope.reversible and kind is WhileLoop)]
    if scope.depth > 0 and draw(st.integers(0, 2)):
        touches.insert(draw(st.integers(0, len(touches))), draw(st.sampled_from(kinds)).draw(draw, scope))
    return tuple(touches)
