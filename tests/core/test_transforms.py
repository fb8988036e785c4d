"""What the transforms read, write, carry and compile.

Over 400 lines: the four things are asked of the same programs, transform by transform.
"""

import os
import weakref

import brainunit as u
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dist_sim.core import HiddenState, Module, ParamState, State, environ, transform
from dist_sim.core.transform import compiler, program
from dist_sim.errors import ParameterError, StateValueError, TraceContextError


class Counter(Module):
    """Adds w to v, both vectors of 3."""

    def __init__(self):
        super().__init__()
        self.v = HiddenState(jnp.zeros(3))
        self.w = ParamState(jnp.ones(3))
        self.other = State(0)

    def update(self, x=1.0):
        self.v.value = self.v.value + x * self.w.value
        return self.v.value[0]


@pytest.fixture
def model():
    return Counter()


def outputs(jitted, *args):
    """Number of arrays that the compiled program returns."""
    return len(jax.tree.leaves(jitted.lower(*args).out_info))


# jit


def test_jit_threads_states_through(model):
    step = transform.jit(model)
    assert [float(step(2.0)) for _ in range(3)] == [2, 4, 6]
    assert model.v.value.tolist() == [6, 6, 6]
    assert step.compilations == 1


def test_only_written_states_come_out(model):
    step = transform.jit(lambda: (model(), None)[1])
    untouched, read = model.other.value, model.w.value
    assert step.states().read == (model.v, model.w) and step.states().written == (model.v,)
    assert outputs(step) == 1
    step()
    assert model.other.value is untouched and model.w.value is read


def test_a_state_that_is_only_written_is_not_read():
    a = State(0.0)
    f = transform.jit(lambda x: setattr(a, "value", x))
    f(3.0)
    assert a.value == 3
    assert f.states(3.0).read == ()


def test_jit_compiles_again_when_something_static_changes(model):
    traces = []

    @transform.jit(static_argnames="power")
    def f(x, power=1):
        traces.append(power)
        return model.v.value.sum() + x**power

    def passes():
        count, traces[:] = len(traces), []
        return count

    f(1.0)
    assert passes() == 1
    for again in (lambda: f(2.0), lambda: f(x=1.0), lambda: f(x=2.0)):
        again()
    assert f.compilations == 2 and passes() == 1
    f(1.0, power=2)
    f(1.0, 2)
    assert passes() == 2
    f(jnp.ones(3))
    assert passes() == 1
    f(1)
    assert passes() == 1
    model.v.reset_value(jnp.zeros(5))
    f(1.0)
    assert passes() == 1
    model.v.reset_value(jnp.zeros(3))
    f(1.0)
    assert passes() == 0


def test_static_arguments_by_number():
    f = transform.jit(lambda n, x: jnp.arange(n) + x, static_argnums=0)
    assert f(3, 1).tolist() == [1, 2, 3] and f(2, 1).tolist() == [1, 2]
    h = transform.jit(lambda flag: 1 if flag is True else 0, static_argnums=0)
    assert (h(1), h(True), h(1.0)) == (0, 1, 0)
    g = transform.jit(lambda x, n: jnp.arange(n) + x, static_argnums=-1)
    assert g(1, 3).tolist() == g(1, n=3).tolist() == [1, 2, 3]


def test_jit_takes_methods_modules_and_quantities(model):
    class Other(Counter):
        @transform.jit
        def update(self, x):
            return Counter.update(self, x)

    a, b = Other(), Other()
    assert (a(1.0), a(1.0), b(1.0)) == (1, 2, 1)
    run = transform.jit(lambda module, x: module(x))
    assert (run(model, 1.0), run(model, 2.0), run(Counter(), 5.0)) == (1, 3, 5)
    assert transform.jit(lambda d: d["x"] * 2)({"x": 3.0 * u.mV}) == 6.0 * u.mV
    with pytest.raises(TypeError, match="Name it in static_argnames"):
        run(model, "text")


def test_states_of_any_tree_and_unit():
    s = State({"v": jnp.zeros(2) * u.mV, "n": [jnp.int32(0)]})

    @transform.jit
    def step():
        s.value = {"v": s.value["v"] + 1 * u.mV, "n": [s.value["n"][0] + 1]}

    step()
    step()
    assert (s.value["v"] == 2 * u.mV).all() and s.value["n"][0] == 2 and step.compilations == 1


def test_a_random_key_is_a_state_like_any_other():
    key = State(jax.random.key(0))

    def draw():
        key.value, sub = jax.random.split(key.value)
        return jax.random.uniform(sub)

    looped = transform.jit(lambda: transform.for_loop(draw, length=3))()
    key.value = jax.random.key(0)
    assert looped.tolist() == [float(draw()) for _ in range(3)]


def values():
    return [jnp.zeros(1000), jnp.zeros(1000) * u.mV, {"w": jnp.zeros(1000), "b": [jnp.zeros(1000) * u.mV, (jnp.zeros(1000),)]}]


@pytest.fixture
def copies(monkeypatch):
    """Counts the arrays that are copied because somebody else holds them."""
    made = []
    monkeypatch.setattr(program.jnp, "copy", lambda x: (made.append(x), jnp.array(x))[1])
    return made


def increment(states):
    for state in states:
        state.value = jax.tree.map(lambda x: x + 1, state.value)


def test_the_memory_of_written_states_is_reused(copies):
    states = [State(value) for value in values()]
    step = transform.jit(lambda: increment(states))
    step()
    step()
    assert not copies
    gone = weakref.ref(states[0]._value)
    leaves = len(jax.tree.leaves([state._value for state in states]))
    step()
    assert not copies and gone() is None
    assert step.lower().as_text().count("tf.aliasing_output") == leaves
    assert all((leaf == 3).all() for state in states for leaf in jax.tree.leaves(state.value))


HOLDS = {
    "the array": (0, lambda value: value),
    "the quantity": (1, lambda value: value),
    "its mantissa": (1, lambda value: value.mantissa),
    "the tree": (2, lambda value: value),
    "a leaf of the tree": (2, lambda value: value["w"]),
    "a branch of the tree": (2, lambda value: value["b"]),
    "a deep branch": (2, lambda value: value["b"][1]),
    "a deep quantity": (2, lambda value: value["b"][0].mantissa),
}


@pytest.mark.parametrize("n, take", HOLDS.values(), ids=HOLDS)
def test_a_value_that_was_read_stays_valid(n, take, copies):
    state = State(values()[n])
    step = transform.jit(lambda: increment([state]))
    step()
    held = take(state.value)
    step()
    assert copies
    assert all((leaf == 1).all() for leaf in jax.tree.leaves(held))
    assert all((leaf == 2).all() for leaf in jax.tree.leaves(state.value))


def test_states_that_share_an_array_and_an_argument_that_is_a_value():
    start = jnp.zeros(10)
    a, b = State(start), State(start)

    @transform.jit
    def step(x):
        a.value = a.value + 1 + x
        b.value = b.value + 2

    step(b.value)
    step(a.value)
    assert start.sum() == 0 and (a.value == 3).all() and (b.value == 4).all()


def test_only_what_is_written_is_returned():
    read, written = State(jnp.zeros(3)), State(jnp.zeros(5))
    before = read.value

    @transform.jit
    def step():
        written.value = written.value + read.value.sum()

    step()
    assert read.value is before
    assert [x.shape for x in step.lower().out_info] == [(5,)]


def test_jit_under_disable_jit(model):
    with jax.disable_jit():
        transform.jit(lambda: transform.for_loop(model, jnp.ones(3)))()
    assert model.v.value.tolist() == [3, 3, 3]


# loops


def test_for_loop_stacks_and_carries(model):
    assert transform.for_loop(model, jnp.arange(4.0)).tolist() == [0, 1, 3, 6]
    assert model.v.value.tolist() == [6, 6, 6]
    assert transform.for_loop(model, jnp.arange(4.0), reverse=True).tolist() == [12, 12, 11, 9]
    assert transform.for_loop(lambda x, y: x * y, jnp.arange(3.0), np.arange(3.0), unroll=2).tolist() == [0, 1, 4]


def test_for_loop_of_a_function_without_arguments(model):
    assert transform.for_loop(lambda: model(), length=3).tolist() == [1, 2, 3]
    assert transform.for_loop(lambda: model(), length=0).tolist() == []
    assert transform.jit(lambda: transform.for_loop(model, jnp.zeros((0,))))().tolist() == []


@pytest.mark.parametrize(("xs", "length"), [((), None), ((jnp.ones(3), jnp.ones(2)), None), ((jnp.ones(3),), 2), ((1.0,), 3)])
def test_for_loop_needs_one_length(xs, length):
    with pytest.raises(ParameterError, match="for_loop, scan"):
        transform.for_loop(lambda *x: None, *xs, length=length)


def test_the_document_drives_a_model_by_for_loop():
    v = HiddenState(jnp.zeros(1) * u.mV)

    def step(t):
        with environ.context(t=t):
            current = u.math.where(environ.get("t") > 0.5 * u.ms, 20.0 * u.mV, 0.0 * u.mV)
            v.value = v.value + (current - v.value) / (10.0 * u.ms) * environ.get_dt()
            return v.value

    with environ.context(dt=0.1 * u.ms):
        times = u.math.arange(0.0 * u.ms, 1.0 * u.ms, environ.get_dt())
        trace = transform.for_loop(step, times)
    assert trace.shape == (10, 1) and (trace[:6] == 0 * u.mV).all() and trace[6, 0] > 0 * u.mV


def test_scan_has_a_carry_beside_the_states(model):
    carry, ys = transform.scan(lambda c, x: (c * 2, c + model(x)), 1.0, jnp.ones(3))
    assert carry == 8 and ys.tolist() == [2, 4, 7]


def test_loops_run_over_quantities_and_promote_their_carry():
    doubled = transform.jit(lambda xs: transform.for_loop(lambda x: x * 2, xs))
    assert (doubled(jnp.arange(3.0) * u.mV) == jnp.arange(0.0, 6.0, 2.0) * u.mV).all()
    assert transform.jit(lambda n: transform.fori_loop(0, n, lambda i, x: x + i, 0.0))(4) == 6


def test_while_loop_carries_and_its_condition_reads(model):
    n = transform.while_loop(lambda n: model.v.value[0] < 5, lambda n: (model(2.0), n + 1)[1], 0)
    assert n == 3 and model.v.value[0] == 6


def test_a_condition_must_not_write(model):
    with pytest.raises(TraceContextError, match="the condition writes HiddenState 'Counter.v'"):
        transform.while_loop(lambda n: model() < 3, lambda n: n, 0)
    assert model.v.value[0] == 0


@pytest.mark.parametrize("loop", [
    lambda f: transform.for_loop(f, length=2),
    lambda f: transform.fori_loop(0, 2, lambda i, x: f()),
    lambda f: transform.cond(True, f, lambda: None),
])  # fmt: skip
def test_a_state_keeps_its_slot_in_a_loop(model, loop):
    with pytest.raises(StateValueError, match="Counter.v"):
        loop(lambda: model.v.reset_value(jnp.zeros(4)))
    assert model.v.value.shape == (3,)


def test_fori_loop_of_any_length_compiles_once(model):
    traces = []

    @transform.jit
    def run(steps):
        def step(i, _):
            traces.append(i)
            model(i.astype(jnp.float32))

        transform.fori_loop(0, steps, step)

    for steps in (3, 0, 1000):
        model.v.value = jnp.zeros(3)
        run(steps)
        assert model.v.value[0] == sum(range(steps))
    assert run.compilations == 1
    assert len(traces) == 1
    with pytest.raises(ParameterError, match="two integers"):
        transform.fori_loop(0, 2.5, lambda i, x: x)


def test_fori_loop_is_one_while_with_the_written_states_as_carry(model):
    @transform.jit
    def run(steps):
        transform.fori_loop(0, steps, lambda i, _: (model(), None)[1])

    model.other.value = 1
    eqns = run.lower(3).as_text().count("stablehlo.while")
    assert eqns == 1
    program = run._program((3,), {})[0]
    jaxpr = program.donating.trace(*program.inputs([3])).jaxpr.jaxpr
    (loop,) = [eqn for eqn in jaxpr.eqns if eqn.primitive.name == "while"]
    carry = [v.aval for v in loop.outvars]
    assert [(a.shape, str(a.dtype)) for a in carry] == [((3,), "float32"), ((), "int32")]
    assert loop.params["body_nconsts"] == 1  # w, and nothing else


def test_cond_and_switch_take_the_union_of_what_is_written(model):
    extra = State(jnp.zeros(()))

    def left(x):
        model(x)
        return x

    def right(x):
        extra.value = extra.value + x
        return -x

    f = transform.jit(lambda p, x: transform.cond(p, left, right, x))
    assert (f(True, 2.0), f(False, 3.0), model.v.value[0], extra.value) == (2, -3, 2, 3)
    assert f.states(True, 1.0).written == (model.v, extra)
    g = transform.jit(lambda n: transform.switch(n, [lambda: left(1.0), lambda: right(1.0), lambda: 0.0]))
    assert [float(g(n)) for n in (0, 1, 2, 7)] == [1, -1, 0, 0]
    assert (model.v.value[0], extra.value) == (3, 4)
    with pytest.raises(ParameterError, match="at least one"):
        transform.switch(0, [])


# nesting

NESTED = {
    "jit(jit)": lambda f: transform.jit(f),
    "jit(for_loop)": lambda f: lambda: transform.for_loop(f, length=1),
    "jit(while_loop)": lambda f: lambda: transform.while_loop(lambda n: n < 1, lambda n: (f(), n + 1)[1], 0),
    "jit(fori_loop(cond))": lambda f: (
        lambda: transform.fori_loop(0, 1, lambda i, x: transform.cond(i == 0, lambda: (f(), None)[1], lambda: None))
    ),
    "jit(for_loop(jit(switch)))": lambda f: (
        lambda: transform.for_loop(transform.jit(lambda: transform.switch(0, [lambda: (f(), None)[1]])), length=1)
    ),
}


@pytest.mark.parametrize("nest", NESTED.values(), ids=NESTED)
def test_nested_transforms_touch_outward_exactly_once(model, nest):
    def step():
        model()

    f = transform.jit(nest(step))
    untouched, read = model.other.value, model.w.value
    f()
    assert model.v.value.tolist() == [1, 1, 1]
    assert f.states().written == (model.v,)
    assert set(f.states().read) == {model.v, model.w}
    assert model.other.value is untouched and model.w.value is read


def test_python_runs_once_however_deep():
    passes = []
    s = State(0.0)

    def innermost():
        passes.append(0)
        s.value = s.value + 1

    f = innermost
    for _ in range(4):
        f = (lambda g: lambda: transform.for_loop(g, length=2) and None)(f)
    transform.jit(f)()
    assert s.value == 16 and len(passes) == 1


def test_gradients_pass_through_loops_that_only_read(model):
    loss = transform.jit(lambda x: (transform.for_loop(lambda y: y * x * model.w.value[0], jnp.arange(3.0))).sum())
    assert jax.grad(loss)(1.0) == 3


@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="with one core nothing is split")
@pytest.mark.parametrize(("size", "split"), [(2**15, False), (2**19, True)])
def test_a_step_of_few_elements_is_not_split_among_threads(size, split):
    """That costs more than it brings; a step of many elements is."""
    state = State(jnp.linspace(0.0, 1.0, size))

    def step():
        state.value = jnp.tanh(jnp.exp(-state.value)) * jnp.sin(state.value)

    text = transform.jit(lambda: transform.for_loop(step, length=100)).lower().compile().as_text()
    assert "while" in text and ("outer_dimension_partitions" in text) == split


@pytest.mark.parametrize(
    ("summed", "ordered"),
    [
        (lambda x: (x > 0.5).sum(), False), (lambda x: (x > 0.5).astype(float).reshape(2, -1).sum(0), False),
        (lambda x: jax.jit(lambda x: (x > 0.5) * 1.0)(x).max(), False), (lambda x: x.mean(), True), (lambda x: x @ x, True),
        (lambda x: jax.lax.cond(x[0] > 0, jnp.sum, jnp.max, x), True), (jnp.cumsum, True), (lambda x: jnp.cumsum(x > 0.5), False),
        (lambda x: jax.lax.cond(x[0] > 0, lambda x: (x > 0.5).astype(float), lambda x: x, x).sum(), True),
        (lambda x: jax.lax.cond(x[0] > 0, lambda x: (x > 0.5).astype(float), lambda x: (x > 0.9).astype(float), x).sum(), False),
        (lambda x: jax.lax.reduce(x, 0.0, lambda a, b: a + b * 1.0, (0,)), True),
    ],
)  # fmt: skip
def test_vectors_are_wide_where_sums_have_no_order(summed, ordered, monkeypatch):
    """The same program gives the same bits on processors with other vectors."""
    monkeypatch.setattr(compiler, "_has_wide_vectors", lambda: True)
    program = jax.make_jaxpr(lambda x: jax.lax.fori_loop(0, 9, lambda _, x: jnp.sin(x) + summed(x).max() * 1e-3, x))
    options = compiler.compiler_options(program(jnp.ones(64)).jaxpr, None)
    assert ("xla_cpu_prefer_vector_width" in options) == (not ordered)


@pytest.mark.parametrize("name", ["exp", "log1p", "expm1", "tanh", "sin", "cbrt"])
def test_the_width_of_vectors_changes_no_bit(name):
    x = jnp.asarray(np.random.default_rng(0).random(10_003) * 3.0)

    def of(width):
        return jax.jit(getattr(jnp, name), compiler_options={"xla_cpu_prefer_vector_width": width})(x)

    assert np.asarray(of(256)).tobytes() == np.asarray(of(512)).tobytes()
