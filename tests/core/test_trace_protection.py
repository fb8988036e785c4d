"""A State is read and written from where it belongs, or not at all: no lost write, no stale constant, no leaked tracer."""

import jax
import jax.numpy as jnp
import pytest
from jax.core import Tracer

from dist_sim.core import State, transform
from dist_sim.errors import StateValueError, TraceContextError


def concrete(*states):
    return all(not isinstance(leaf, Tracer) for s in states for leaf in jax.tree.leaves(s._value))


def raw_jit(f):
    jax.jit(f)(1.0)


def raw_grad(f):
    jax.grad(lambda x: (f(x), x)[1])(1.0)


def raw_vmap(f):
    jax.vmap(f)(jnp.ones(3))


def raw_scan(f):
    jax.lax.scan(lambda c, x: (f(x), (c, x))[1], 0.0, jnp.ones(3))


def raw_jit_of_ours(f):
    jax.jit(transform.jit(f))(1.0)


def raw_jit_inside_ours(f):
    transform.jit(lambda x: jax.jit(f)(x))(1.0)


def raw_vmap_inside_ours(f):
    transform.jit(lambda x: jax.vmap(f)(x))(jnp.ones(3))


def ours_inside_raw_inside_ours(f):
    transform.jit(lambda x: jax.jit(transform.jit(f))(x))(1.0)


RAW = [raw_jit, raw_grad, raw_vmap, raw_scan, raw_jit_of_ours, raw_jit_inside_ours, raw_vmap_inside_ours]
RAW.append(ours_inside_raw_inside_ours)


@pytest.mark.parametrize("constant", [False, True], ids=["tracer", "concrete"])
@pytest.mark.parametrize("raw", RAW)
def test_a_write_inside_a_raw_transform_raises(raw, constant):
    state = State(0.0, "s")
    before = state.value

    def write(x):
        state.value = 3.0 if constant else x

    with pytest.raises(TraceContextError, match="'s' is written inside a raw JAX transform"):
        raw(write)
    assert state.value is before
    state.value = 1.0
    assert state.value == 1


@pytest.mark.parametrize("raw", [raw_jit, raw_scan])
def test_a_read_that_would_be_compiled_in_raises(raw):
    state = State(0.0, "s")
    with pytest.raises(TraceContextError, match="'s' is read inside a raw jax.jit"):
        raw(lambda x: x + state.value)


def test_a_read_inside_raw_vmap_and_grad_is_an_ordinary_read():
    state = State(2.0)
    assert jax.grad(lambda x: x * state.value)(1.0) == 2
    assert (jax.vmap(lambda x: x * state.value)(jnp.ones(3)) == 2).all()


def test_ours_read_inside_a_raw_loop_of_ours():
    state = State(2.0)

    @transform.jit
    def f(x):
        return jax.lax.fori_loop(0, 3, lambda i, y: y * state.value, x)

    assert f(1.0) == 8
    state.value = 3.0
    assert f(1.0) == 27
    assert f.compilations == 1


def leave_behind():
    left = []
    transform.jit(lambda x: left.append(State(x, "left")))(1.0)
    return left[-1]


def test_a_value_left_behind_by_a_finished_trace():
    state = leave_behind()
    with pytest.raises(TraceContextError, match="'left' was created inside a transform that has finished"):
        state.value  # noqa: B018
    with pytest.raises(TraceContextError):
        transform.jit(lambda: state.value)()
    with pytest.raises(TraceContextError):
        transform.jit(lambda x: setattr(state, "value", x))(1.0)
    assert not isinstance(getattr(state, "_value", None), float)
    state.value = 2.0
    assert state.value == 2
    assert transform.jit(lambda: state.value + 1)() == 3


def test_a_value_left_behind_by_a_raw_trace():
    left = []
    jax.jit(lambda x: (left.append(State(x)), x)[1])(1.0)
    with pytest.raises(TraceContextError, match="has finished"):
        left[0].value  # noqa: B018


def test_a_leaked_tracer_is_not_written():
    leaked = []
    jax.jit(lambda x: (leaked.append(x), x)[1])(1.0)
    state = State(0.0)
    with pytest.raises(TraceContextError, match="left behind"):
        state.value = leaked[0]
    assert concrete(state) and state.value == 0


def test_a_state_may_live_inside_a_raw_trace():
    def f(x):
        local = State(x)
        local.value = local.value * 2
        return local.value

    assert jax.jit(f)(3.0) == 6
    assert (jax.vmap(f)(jnp.ones(2)) == 2).all()
    assert jax.grad(f)(1.0) == 2


def test_a_state_may_live_inside_ours_and_be_written_deeper():
    @transform.jit
    def f(x):
        local = State(x)

        def step():
            local.value = local.value * 2

        transform.for_loop(step, length=3)
        transform.jit(step)()
        return local.value

    assert f(1.0) == 16
    assert f.states(1.0).read == f.states(1.0).written == ()


@pytest.mark.parametrize("wrap", [
    transform.jit,
    lambda f: lambda: transform.for_loop(f, length=2),
    lambda f: lambda: transform.while_loop(lambda x: x < 2, lambda x: (f(), x + 1)[1], 0),
    lambda f: lambda: transform.fori_loop(0, 2, lambda i, x: f()),
    lambda f: lambda: transform.cond(True, f, lambda: None),
    lambda f: transform.jit(lambda: transform.for_loop(transform.jit(f), length=2)),
], ids=["jit", "for_loop", "while_loop", "fori_loop", "cond", "nested"])  # fmt: skip
def test_a_failed_trace_restores_every_state(wrap):
    a, b = State(jnp.zeros(3)), State(jnp.ones(2))
    before = a.value, b.value
    fail = True

    def step():
        a.value = a.value + 1
        b.value = b.value * 2
        if fail:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        wrap(step)()
    assert a.value is before[0] and b.value is before[1]

    fail = False
    wrap(step)()
    assert a.value[0] >= 1


def test_a_refused_write_leaves_the_other_states():
    a, b = State(0.0), State(jnp.zeros(3))

    @transform.jit
    def f():
        a.value = a.value + 1
        b.value = jnp.zeros(4)

    with pytest.raises(StateValueError):
        f()
    assert a.value == 0 and concrete(a, b)
