"""Loops that keep few carries for their gradient: the values and gradients of ordinary ones, in far less memory."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from dist_sim.core import HiddenState, Module, ParamState, State, transform
from dist_sim.core.transform import checkpointed
from dist_sim.errors import CompiledError, ParameterError, StateValueError, TraceContextError


class Net(Module):
    def __init__(self, size=8, place=None):
        super().__init__()
        self.w = ParamState(jnp.linspace(0.1, 0.9, size), sharding=place)
        self.h = HiddenState(jnp.ones(size), sharding=place)
        self.count, self.calls = State(0), 0

    def update(self, x):
        self.calls += 1
        self.count.value = self.count.value + 1
        self.h.value = jnp.tanh(self.h.value * self.w.value + x)
        return self.h.value.sum()


def scanned(scan):
    def loop(f, xs, **options):
        n, ys = scan(lambda c, x: (c + 1, f(x)), 0, xs, **options)
        assert isinstance(n, jax.core.Tracer) or n == len(xs)
        return ys

    return loop


@pytest.mark.parametrize(("loop", "other"), [
    (transform.checkpointed_for_loop, transform.for_loop),
    (scanned(transform.checkpointed_scan), scanned(transform.scan)),
], ids=["for_loop", "scan"])  # fmt: skip
@pytest.mark.parametrize(("length", "base"), [(0, 2), (1, 2), (7, 2), (16, 4), (17, 4), (97, 16)])
def test_values_and_gradients_are_those_of_the_ordinary_loop(loop, other, length, base):
    xs = jnp.linspace(-1, 1, length)
    results = []
    for run in (lambda f, xs: loop(f, xs, base=base), other):
        net = Net()
        gradient = transform.grad(lambda xs, net=net, run=run: jnp.cumsum(run(net, xs)).sum(), net.w, 0, return_value=True)
        if not length:
            assert run(net, xs).shape == (0,)
            continue
        results.append((transform.jit(gradient)(xs), net.h.value))
        # The user's function is staged once (again where Python numbers are carried), however the loop is cut.
        assert net.count.value == length and net.calls <= 2
    for found, expected in zip(*map(jax.tree.leaves, results), strict=True) if results else ():
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)


def test_the_gradient_keeps_few_carries():
    def kept(loop, length):
        net = Net(size=256)
        run = transform.jit(transform.grad(lambda xs: loop(net, xs).sum(), net.w))
        return run.lower(jnp.zeros(length)).compile().memory_analysis().temp_size_in_bytes

    carry = 256 * 4
    for loop, small, large in ((transform.for_loop, 256, 4096), (transform.checkpointed_for_loop, 256, 4096)):
        before, after = kept(loop, small), kept(loop, large)
        if loop is transform.for_loop:
            assert after > 15 * before and after > large * carry
        else:
            # 48 carries instead of 4096, some of them twice, and what a number for each step needs.
            assert after < 3 * 48 * carry + 16 * large and after < 4 * before


@pytest.mark.parametrize("base", [2, 3, 16, 100])
def test_a_loop_is_cut_exactly(base):
    for length in [*range(60), 1000, 4096, 4097, 9973, 123457]:
        cuts = checkpointed._cuts(length, base)
        assert sum(map(math.prod, cuts)) == length
        assert all(factor <= base for factors in cuts for factor in factors)
        levels = math.ceil(round(math.log(max(length, 2), base), 9))
        assert all(len(factors) <= max(levels, 1) for factors in cuts)
        assert all(factors[0] >= 2 for factors in cuts[:-1])
    assert checkpointed._cuts(4096, 16) == [[16, 16, 16]] and checkpointed._cuts(1000, 16) == [[10, 10, 10]]


def test_second_derivatives_and_loops_in_loops():
    w = ParamState(0.5)

    def loss(loop, inner):
        return loop(lambda x: inner(lambda y: jnp.sin(w.value * x * y), jnp.arange(5.0)).sum(), jnp.arange(6.0)).sum()

    cut = functools.partial(transform.checkpointed_for_loop, base=2)
    expected = transform.jit(transform.hessian(lambda: loss(transform.for_loop, transform.for_loop), w))()
    np.testing.assert_allclose(transform.jit(transform.hessian(lambda: loss(cut, cut), w))(), expected, rtol=1e-5)


def test_on_a_mesh():
    if len(jax.devices()) < 8:
        pytest.skip("needs 8 devices")
    mesh = Mesh(np.array(jax.devices()[:8]).reshape(2, 4), ("batch", "neuron"), axis_types=(AxisType.Auto,) * 2)
    place = NamedSharding(mesh, P(("batch", "neuron")))
    split, alone = Net(place=place), Net()
    xs = jnp.linspace(0, 1, 23)
    for net in (split, alone):
        net.found = transform.jit(transform.grad(lambda net=net: transform.checkpointed_for_loop(net, xs, base=3).sum(), net.w))()
    np.testing.assert_allclose(split.found, alone.found, rtol=1e-6)
    assert split.found.sharding == split.h.value.sharding == split.w.value.sharding == place
    steps = transform.bounded_while_loop(lambda n: n < 7, lambda n: (split(0.1), n + 1)[1], 0, max_steps=30, base=3)
    assert steps == 7 and split.h.value.sharding == place


# bounded_while_loop


@pytest.mark.parametrize(("stop", "max_steps", "base"), [(5, 100, 2), (0, 10, 16), (100, 9, 2), (100, 20, 16), (2, 0, 2)])
def test_a_bounded_while_loop_ends_as_the_ordinary_one(stop, max_steps, base):
    def run(loop, limit):
        net = Net()
        out = loop(lambda x: (x[0] < limit) | (net.h.value[0] > 1e6), lambda x: (x[0] + 1, x[1] + net(0.1)), (0, 0.0))
        return [*out, *net.h.value, net.count.value]

    def bounded(*args):
        return transform.bounded_while_loop(*args, max_steps=max_steps, base=base)

    found = run(bounded, stop)
    np.testing.assert_allclose(found, run(transform.while_loop, min(stop, max_steps)), rtol=1e-6)
    assert found[-1] == min(stop, max_steps)


def test_a_bounded_while_loop_has_a_gradient():
    # Newton's root: d sqrt(a) / da.
    a, x = ParamState(2.0), HiddenState(1.0)

    def root():
        x.value = jnp.float32(1.0)

        def improve(n):
            x.value = 0.5 * (x.value + a.value / x.value)
            return n + 1

        steps = transform.bounded_while_loop(lambda n: abs(x.value**2 - a.value) > 1e-6, improve, 0, max_steps=50, base=4)
        return x.value, steps

    slope, steps = transform.jit(transform.grad(root, a, has_aux=True))()
    np.testing.assert_allclose(slope, 0.5 / np.sqrt(2), rtol=1e-4)
    assert 3 <= steps < 8


def test_what_is_refused():
    net = Net()
    for call, error, match in (
        (lambda: transform.checkpointed_for_loop(net, jnp.ones(3), base=1), ParameterError, "base=1"),
        (lambda: transform.checkpointed_for_loop(net, jnp.ones(3), length=4), ParameterError, "differ"),
        (lambda: transform.checkpointed_for_loop(net), ParameterError, "neither"),
        (lambda: transform.bounded_while_loop(lambda n: n < 1, lambda n: n, 0, max_steps=-1), ParameterError, "max_steps=-1"),
        (lambda: transform.bounded_while_loop(lambda n: net(n) < 1, lambda n: n, 0, max_steps=3), TraceContextError, "Net.count"),
        (
            lambda: transform.checkpointed_for_loop(lambda: net.h.reset_value(jnp.ones(3)), length=2),
            StateValueError,
            "Net.h",
        ),
    ):
        with pytest.raises(error, match=match):
            call()
    assert net.count.value == 0


# small companions


def test_ifelse():
    a = State(0)

    def branch(n):
        def run(x):
            a.value = a.value + n
            return x * n

        return run

    grade = transform.jit(
        lambda x: transform.ifelse([x > 5, (x > 0) & (x <= 5), x <= 0], [branch(1), branch(10), branch(100)], x)
    )
    assert (grade(7.0), grade(2.0), grade(-1.0)) == (7, 20, -100) and a.value == 111
    first = transform.jit(
        lambda x: transform.ifelse([x > 2, x > 1], [lambda: 2, lambda: 1, lambda: 0]),
    )
    assert [int(first(x)) for x in (3.0, 1.5, 0.0)] == [2, 1, 0]
    with pytest.raises(CompiledError, match="exactly one condition must hold"):
        transform.ifelse([True, True], [lambda: 1, lambda: 2])
    assert transform.ifelse([True, True], [lambda: 1, lambda: 2], check_cond=False) == 1
    assert transform.ifelse([False, False], [lambda: 1, lambda: 2], check_cond=False) == 2
    with pytest.raises(ParameterError, match="1 conditions for 3 branches"):
        transform.ifelse([True], [lambda: 1] * 3)


@pytest.mark.parametrize("batch_size", [None, 1, 4, 10, 20])
def test_map(batch_size):
    w = ParamState(2.0)
    found = transform.jit(lambda xs: transform.map(lambda x, y: w.value * x + y, xs, xs, batch_size=batch_size))(jnp.arange(10.0))
    assert found.tolist() == [3.0 * n for n in range(10)]
    a = State(0.0)

    def add(x):
        a.value = a.value + x

    if batch_size is None:
        transform.map(add, jnp.arange(4.0))
        assert a.value == 6
    else:
        with pytest.raises(ParameterError, match="no order"):
            transform.map(add, jnp.arange(4.0), batch_size=batch_size)


def test_programs_and_shapes_of_functions():
    net = Net()
    jaxpr, states, shape = transform.make_jaxpr(net, return_shape=True)(1.0)
    assert states == (net.count, net.h, net.w) and shape == jax.ShapeDtypeStruct((), jnp.float32)
    assert [v.aval.shape for v in jaxpr.jaxpr.invars] == [(), (8,), (8,), ()]
    assert [v.aval.shape for v in jaxpr.jaxpr.outvars] == [(), (), (8,)]
    assert transform.eval_shape(lambda x, y: {"a": x @ y}, jax.ShapeDtypeStruct((3, 4), jnp.float32), y=jnp.ones((4, 2))) == {
        "a": jax.ShapeDtypeStruct((3, 2), jnp.float32)
    }
    shapes, out = transform.eval_shape(net, 1.0, return_state_shapes=True)
    assert shapes[net.h].shape == (8,) and out.shape == () and net.count.value == 0
