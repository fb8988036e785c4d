"""The same State program gives the same values in dist_sim, in brainstate, and on a mesh of devices.

The programs are random nestings of transforms: see core.nodes. Left out is what is meant to differ: loops over functions
without arguments, and compiled functions that a changed environment should compile again.
"""

from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from core.nodes import KINDS, Node
from core.programs import Outcome, Program, outcome, programs
from core.worlds import LANED
from hypothesis import HealthCheck, given, settings
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P
from reference.compiled import hastily

import dist_sim

SHAPE = (4, 8)
"""Of the programs on a mesh: both axes divide."""

every_kind = pytest.mark.parametrize("kind", KINDS, ids=[kind.transform for kind in KINDS])


@pytest.fixture(scope="module", autouse=True)
def compile_fast():
    """The values do not hang on what XLA optimizes, most of the time does."""
    with hastily():
        yield


def each_program(kind: type[Node], count: int, visit: Callable[[Program], None]) -> None:
    """Visits programs around one kind of transform, the same ones at every call with the same count."""

    @settings(max_examples=count, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
    @given(programs(kind))
    def run(program: Program) -> None:
        visit(program)

    run()


def differences(ours: Outcome, theirs: Outcome) -> str:
    """What is not the same, in one line for each value; empty when all is."""
    assert ours.values.keys() == theirs.values.keys()
    lines = []
    for name, value in ours.values.items():
        wanted = theirs.values[name]
        assert np.isfinite(wanted).all(), name
        if value.dtype != wanted.dtype or not np.allclose(value, wanted, rtol=1e-6, atol=1e-6):
            lines.append(f"{name}: {value.dtype} {value.tolist()} is not {wanted.dtype} {wanted.tolist()}")
    return "\n".join(lines)


@pytest.fixture(scope="module")
def brainstate():
    return pytest.importorskip("brainstate")


def same_in(other: Any, program: Program) -> None:
    different = differences(outcome(dist_sim, program), outcome(other, program))
    assert not different, different


@every_kind
def test_programs_give_the_values_of_brainstate(brainstate, kind):
    each_program(kind, 3, partial(same_in, brainstate))


@pytest.mark.slow
@every_kind
def test_more_programs_give_the_values_of_brainstate(brainstate, kind):
    each_program(kind, 20, partial(same_in, brainstate))


# On a mesh


@pytest.fixture(scope="module")
def mesh():
    devices = jax.devices()
    if len(devices) < 8:
        pytest.skip("needs 8 devices")
    return Mesh(np.array(devices[:8]).reshape(2, 4), ("batch", "neuron"), axis_types=(AxisType.Auto,) * 2)


def same_on(mesh: Mesh, program: Program) -> None:
    sharding = NamedSharding(mesh, P("batch", "neuron"))
    split, whole = outcome(dist_sim, program, SHAPE, sharding), outcome(dist_sim, program, SHAPE)
    different = differences(split, whole)
    assert not different, different
    for name, state in split.world.states.items():
        wanted = None if name == "count" else NamedSharding(mesh, P(*(None,) * LANED.get(name, 0), *sharding.spec))
        assert state.sharding == wanted, name
        for leaf in jax.tree.leaves(state.value) if wanted else ():
            assert leaf.sharding.is_equivalent_to(wanted, leaf.ndim), (name, leaf.sharding)


@every_kind
def test_programs_give_the_same_on_a_mesh(mesh, kind):
    each_program(kind, 2, partial(same_on, mesh))


@pytest.mark.slow
@every_kind
def test_more_programs_give_the_same_on_a_mesh(mesh, kind):
    each_program(kind, 5, partial(same_on, mesh))


# The programs find what is broken


def broken(transform: str, fault: Callable[..., Any]) -> Any:
    """dist_sim with another version of one transform: `fault(states, right, *args, **options)`, with all States there are."""
    made: list[Any] = []

    def kind(cls: type) -> Callable[..., Any]:
        def make(*args: Any, **options: Any) -> Any:
            made.append(cls(*args, **options))
            return made[-1]

        return make

    right = {name: getattr(dist_sim.transform, name) for name in (kind.transform for kind in KINDS)}
    kinds = {name: kind(getattr(dist_sim, name)) for name in ("HiddenState", "ParamState", "ShortTermState", "LongTermState")}
    transforms = SimpleNamespace(**right | {transform: partial(fault, made, right[transform])})
    return SimpleNamespace(transform=transforms, environ=dist_sim.environ, **kinds)


def write_back(states: list[Any], values: list[Any]) -> None:
    for state, value in zip(states, values, strict=True):
        if state.value is not value:
            state.value = value


def drops_the_last_write(states: list[Any], right: Callable[..., Any], f: Any, *xs: Any, **options: Any) -> Any:
    before = [state.value for state in states]
    ys = right(f, *xs, **options)
    write_back(states, before)
    right(f, *(x[1:] if options.get("reverse") else x[:-1] for x in xs), **options)
    return ys


def stacks_backwards(states: list[Any], right: Callable[..., Any], *args: Any, **options: Any) -> Any:
    carry, ys = right(*args, **options)
    return carry, ys[::-1]


def takes_the_other_branch(states: list[Any], right: Callable[..., Any], pred: Any, yes: Any, no: Any, *operands: Any) -> Any:
    return right(pred, no, yes, *operands)


def wraps_the_index(states: list[Any], right: Callable[..., Any], index: Any, branches: Any, *operands: Any) -> Any:
    return right(index % len(branches), branches, *operands)


def steps_once_more(states: list[Any], right: Callable[..., Any], cond: Any, body: Any, init: Any) -> Any:
    return right(cond, body, body(init))


def loses_writes(states: list[Any], right: Callable[..., Any], f: Any, **options: Any) -> Any:
    transformed = right(f, **options)

    def call(*args: Any) -> Any:
        before = [state.value for state in states]
        out = transformed(*args)
        write_back(states, before)
        return out

    return call


def writes_twice(states: list[Any], right: Callable[..., Any], f: Any, **options: Any) -> Any:
    transformed = right(f, **options)

    def call(*args: Any) -> Any:
        transformed(*args)
        return transformed(*args)

    return call


def forgets_a_gradient(states: list[Any], right: Callable[..., Any], f: Any, **options: Any) -> Any:
    transformed = right(f, **options)

    def call(*args: Any) -> Any:
        leaves, tree = jax.tree.flatten(transformed(*args))
        return tree.unflatten([*leaves[:-1], jnp.zeros_like(leaves[-1])])

    return call


FAULTS = [
    ("for_loop", drops_the_last_write),
    ("checkpointed_for_loop", drops_the_last_write),
    ("scan", stacks_backwards),
    ("cond", takes_the_other_branch),
    ("switch", wraps_the_index),
    ("while_loop", steps_once_more),
    ("jit", loses_writes),
    ("remat", writes_twice),
    ("grad", writes_twice),
    ("grad", forgets_a_gradient),
    ("vmap", loses_writes),
]


@pytest.mark.parametrize(("transform", "fault"), FAULTS, ids=[f"{name} {fault.__name__}" for name, fault in FAULTS])
def test_programs_find_what_is_broken(transform, fault):
    (kind,) = (kind for kind in KINDS if kind.transform == transform)
    examples: list[Program] = []
    each_program(kind, 6, examples.append)
    for program in examples:
        if differences(outcome(broken(transform, fault), program), outcome(dist_sim, program)):
            return
    pytest.fail(f"no program finds a {transform} that {fault.__name__.replace('_', ' ')}")
