"""A check that fails leaves every State as it was before the outermost transform, and is raised from its call."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from dist_sim.core import State, random, transform
from dist_sim.core.transform import jit_error_if
from dist_sim.errors import CompiledError

WRAPS = {
    "eager": lambda f: f,
    "jit": transform.jit,
    "jit(jit)": lambda f: transform.jit(transform.jit(f)),
    "for_loop": lambda f: lambda: transform.for_loop(f, length=3),
    "jit(for_loop)": lambda f: transform.jit(lambda: transform.for_loop(f, length=3)),
    "while_loop": lambda f: lambda: transform.while_loop(lambda x: x < 3, lambda x: (f(), x + 1)[1], 0),
    "cond": lambda f: lambda: transform.cond(True, f, lambda: None),
    "checkpointed": lambda f: lambda: transform.checkpointed_for_loop(f, length=3),
    "jit(cached jit)": lambda f: cached(f),
}


def cached(f):
    inside = transform.jit(f)
    inside.lower()
    return transform.jit(lambda: inside())


@pytest.mark.parametrize("wrap", WRAPS)
def test_states_keep_their_values(wrap):
    a, b = State(jnp.zeros(8)), State(jnp.ones(8))

    def step():
        jit_error_if(a.value > 5, "a is {a}", a=a.value[0])
        b.value = b.value * 2
        a.value = a.value + 1

    run = WRAPS[wrap](step)
    run()
    a.value = jnp.full(8, 6.0)
    before = a.value, b.value
    with pytest.raises(CompiledError, match="a is 6.0"):
        run()
    np.testing.assert_array_equal(a.value, before[0])
    np.testing.assert_array_equal(b.value, before[1])
    a.value = jnp.zeros(8)
    run()


def test_on_a_mesh():
    mesh = Mesh(np.array(jax.devices()[:8]).reshape(2, 4), ("batch", "neuron"), axis_types=(AxisType.Auto,) * 2)
    a = State(jnp.zeros((4, 8)), sharding=NamedSharding(mesh, P("batch", "neuron")))

    @transform.jit
    def run():
        def step():
            a.value = a.value + 1
            jit_error_if(a.value.max() > 5, "a is {a}", a=a.value.max())

        transform.for_loop(step, length=3)

    run()
    with pytest.raises(CompiledError, match="a is 6.0"):
        run()
    assert (a.value == 3).all() and a.value.sharding == a.sharding


@pytest.mark.parametrize("drive", [transform.jit, lambda f: lambda: transform.for_loop(f, length=1)], ids=["jit", "for_loop"])
def test_one_source_of_random_numbers_serves_meshes_of_any_size(drive):
    source = random.RandomState(0)
    for devices in (8, 2, 1, 4):
        mesh = Mesh(np.array(jax.devices()[-devices:]), ("neuron",), axis_types=(AxisType.Auto,))
        a = State(jnp.zeros(8), sharding=NamedSharding(mesh, P("neuron")))

        def step(a=a):
            a.value = a.value + source.rand(8)

        drive(step)()
        assert a.value.sharding == a.sharding and a.value.std() > 0
        source.rand(3)
