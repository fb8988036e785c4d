"""vmap: what lanes compute together is what a Python loop over them computes, and nothing of a lane is left behind.

Over 400 lines: every combination of filters and axes is asked of the same few models.
"""

import functools

import brainunit as u
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

import dist_sim as ds
from dist_sim.core import transform
from dist_sim.errors import BatchAxisError, CompiledError, ParameterError, StateValueError, TraceContextError

LANES = 4
X = np.linspace(-1.0, 1.5, LANES, dtype=np.float32)


def lane_values(n=3):
    return np.cos(np.arange(LANES * n, dtype=np.float32)).reshape(LANES, n)


class Cell(ds.Module):
    """A bit of everything: a mapped value with a unit, a mapped tree, a shared parameter and a shared counter."""

    def __init__(self, V=None):
        super().__init__()
        V = lane_values() if V is None else V
        self.V = ds.HiddenState(jnp.asarray(V) * u.mV)
        self.trace = ds.ShortTermState({"a": jnp.asarray(2 * V)})
        self.w = ds.ParamState(jnp.asarray([0.5, -1.0, 2.0], jnp.float32))
        self.count = ds.LongTermState(jnp.int32(0))

    @property
    def mapped(self):
        return [self.V, self.trace]

    def update(self, x):
        self.V.value = 0.9 * self.V.value + x * self.w.value * u.mV
        self.trace.value = {"a": jnp.tanh(self.trace.value["a"] + self.V.value / u.mV)}
        self.count.value = self.count.value + 1
        return (self.V.value / u.mV).sum()


@functools.cache
def single_lanes(step, calls=1):
    """What `step(cell, x)` returns and leaves behind, lane by lane: (results, V, trace, count)."""
    cell = Cell(lane_values()[0])
    compiled = transform.jit(lambda x: step(cell, x))
    results = []
    for V, x in zip(lane_values(), X, strict=True):
        cell.V.value, cell.trace.value, cell.count.value = V * u.mV, {"a": 2 * V}, 0
        for _ in range(calls):
            out = compiled(x)
        results.append((out, cell.V.value / u.mV, cell.trace.value["a"], cell.count.value))
    return tuple(np.stack([np.asarray(r[n]) for r in results]) for n in range(4))


def assert_lanes(cell, out, expected):
    results, V, trace, count = expected
    np.testing.assert_allclose(out, results, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(cell.V.value / u.mV, V, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(cell.trace.value["a"], trace, rtol=1e-5, atol=1e-6)
    assert set(count.tolist()) == {int(cell.count.value)}


def looped(cell, x):
    return transform.for_loop(lambda k: cell.update(x + 0.1 * k), jnp.arange(3.0))[-1]


def branched(cell, x):
    def upper(x):
        cell.V.value = cell.V.value * x
        return x

    def lower(x):
        cell.trace.value = {"a": cell.trace.value["a"] - x}
        return cell.w.value.sum()

    # The shared counter stays out of it: a choice that differs between lanes makes what it writes differ.
    return transform.cond(cell.V.value.mantissa[0] > 0.0, upper, lower, x) + cell.update(x)


def differentiated(cell, x):
    return transform.grad(lambda: cell.update(x) ** 2, grad_states=cell.V)().mantissa.sum()


STEPS = {
    "plain": Cell.update,
    "for_loop": looped,
    "cond": branched,
    "grad": differentiated,
    "jit": lambda cell, x: transform.jit(cell.update)(x),
    "jit(for_loop)": lambda cell, x: transform.jit(lambda x: looped(cell, x))(x),
    "for_loop(cond)": lambda cell, x: transform.for_loop(lambda _: branched(cell, x), jnp.arange(2))[-1],
}


@pytest.mark.parametrize("name", STEPS)
@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "jit"])
def test_lanes_are_a_python_loop_over_them(name, compiled):
    cell = Cell()
    mapped = transform.vmap(lambda x: STEPS[name](cell, x), in_states=cell.mapped)
    mapped = transform.jit(mapped) if compiled else mapped
    for _ in range(2):
        out = mapped(X)
    assert_lanes(cell, out, single_lanes(STEPS[name], calls=2))


def test_in_a_loop():
    cell = Cell()
    mapped = transform.vmap(cell.update, in_states=cell.mapped)
    out = transform.for_loop(lambda _: mapped(X), jnp.arange(3))[-1]
    assert_lanes(cell, out, single_lanes(Cell.update, calls=3))


def test_gradient_through_lanes():
    cell = Cell()
    found = transform.grad(lambda: transform.vmap(cell.update, in_states=cell.mapped)(X).sum(), grad_states=cell.w)()
    np.testing.assert_allclose(found, np.full(3, X.sum()), rtol=1e-6)
    assert cell.count.value == 1


def test_vmap_in_vmap():
    V = np.cos(np.arange(24.0, dtype=np.float32)).reshape(2, LANES, 3)
    state, total = ds.HiddenState(V), ds.State(jnp.zeros(()))
    inner = transform.vmap(lambda x, y: _add(state, x + y), in_states=state, in_axes=(0, None))
    transform.vmap(inner, in_states=state, in_axes=(None, 0))(X, jnp.arange(2.0))
    np.testing.assert_allclose(state.value, V + X[None, :, None] + np.arange(2.0)[:, None, None], rtol=1e-6)
    outer = transform.vmap(lambda y: transform.vmap(lambda x: _add(total, x), out_states=total)(X + y), out_states=total)
    outer(jnp.arange(2.0))
    np.testing.assert_allclose(total.value, X + np.arange(2.0)[:, None], rtol=1e-6)


def _add(state, x):
    state.value = state.value + x


@pytest.mark.parametrize(
    "declare",
    [
        lambda cell: cell.mapped,
        lambda cell: {0: cell.mapped},
        lambda cell: cell.states(lambda path, state: path in (("V",), ("trace",))),
        lambda cell: [ds.HiddenState, cell.trace],
        lambda cell: (ds.HiddenState, ds.ShortTermState),
        lambda cell: {0: lambda path, state: isinstance(state, ds.HiddenState | ds.ShortTermState)},
    ],
    ids=["list", "axis", "module.states", "kind and State", "kinds", "function"],
)
def test_ways_to_declare(declare):
    cell = Cell()
    out = transform.vmap(cell.update, in_states=declare(cell))(X)
    assert_lanes(cell, out, single_lanes(Cell.update))


def test_axes_of_states_and_arguments():
    V = lane_values()
    state = ds.HiddenState(V.T)
    transform.vmap(lambda x: _add(state, x), in_states={1: state})(X)
    np.testing.assert_allclose(state.value, (V + X[:, None]).T, rtol=1e-6)
    transform.vmap(lambda: _add(state, 1.0), in_states={-1: state}, out_states={0: state})()
    np.testing.assert_allclose(state.value, V + X[:, None] + 1, rtol=1e-6)
    out = transform.vmap(lambda x, y, *, z: x * y + z, in_axes=(None, 1), out_axes=1)(2.0, V.T, z=X)
    np.testing.assert_allclose(out, (2 * V + X[:, None]).T, rtol=1e-6)


def test_a_state_that_is_only_read_stays_the_same_object():
    cell = Cell()
    before = cell.V._value, cell.w._value
    transform.vmap(lambda x: (cell.V.value / u.mV).sum() * x + cell.w.value.sum(), in_states=cell.V)(X)
    assert (cell.V._value, cell.w._value) == before


def test_an_axis_of_lanes_is_gained_by_a_write():
    state = ds.HiddenState(jnp.zeros(3))
    transform.vmap(lambda x: _add(state, x), out_states=state)(X)
    np.testing.assert_array_equal(state.value, np.broadcast_to(X[:, None], (LANES, 3)))


def test_a_mapped_state_is_written_without_being_read():
    state = ds.HiddenState(jnp.zeros((LANES, 3)))
    step = transform.jit(lambda: transform.vmap(lambda x: _set(state, x * jnp.ones(3)), in_states=ds.HiddenState)(X))
    step(), step()
    np.testing.assert_array_equal(state.value, np.broadcast_to(X[:, None], (LANES, 3)))
    assert step.compilations == 1


def _set(state, x):
    state.value = x


def test_a_compiled_function_is_compiled_once_for_all_calls_of_a_vmap():
    state = ds.HiddenState(jnp.zeros((LANES, 3)))
    step = transform.jit(lambda x: _add(state, x))
    for _ in range(3):
        transform.vmap(step, in_states=ds.HiddenState)(X)
    assert step.compilations == 1
    np.testing.assert_allclose(state.value, np.broadcast_to(3 * X[:, None], (LANES, 3)), rtol=1e-6)


def test_a_shared_state_takes_what_all_lanes_agree_on():
    total, mean = ds.State(jnp.float32(0)), ds.State(jnp.float32(0))

    def lane(x):
        total.value = total.value + 1
        mean.value = jax.lax.pmean(x, "lanes")

    transform.vmap(lane, axis_name="lanes")(X)
    assert total.value == 1
    np.testing.assert_allclose(mean.value, X.mean(), rtol=1e-6)


@pytest.mark.parametrize("write", ["directly", "in for_loop", "in cond", "in jit"])
def test_lanes_that_disagree_on_a_shared_state_are_refused(write):
    cell = Cell()
    before = [state._value for state in cell.states().values()]
    wrap = {
        "directly": lambda f: f,
        "in for_loop": lambda f: lambda x: transform.for_loop(lambda: f(x), length=2),
        "in cond": lambda f: lambda x: transform.cond(x > 0, f, lambda x: None, x),
        "in jit": transform.jit,
    }[write]
    key = ds.random.get_key()

    def lane(x):
        cell.update(x)
        ds.random.normal()
        wrap(lambda x: _set(cell.w, x * jnp.ones(3)))(x)

    with pytest.raises(BatchAxisError, match=r"ParamState 'Cell\.w'.*out_states"):
        transform.vmap(lane, in_states=cell.mapped)(X)
    assert all(state._value is old for state, old in zip(cell.states().values(), before, strict=True))
    assert ds.random.get_key() == key
    with pytest.raises(ValueError, match="w"):
        transform.jit(transform.vmap(lane, in_states=cell.mapped))(X)


def test_what_does_not_fit_is_refused_and_named():
    state, scalar = ds.HiddenState(jnp.zeros((LANES, 3)), "V"), ds.HiddenState(0.0, "s")
    with pytest.raises(BatchAxisError, match=r"HiddenState 'V'.*3 lanes|argument \[0\]: 3, HiddenState 'V': 4"):
        transform.vmap(lambda x: None, in_states=state)(jnp.zeros(3))
    with pytest.raises(BatchAxisError, match="HiddenState 'V'.*3 lanes"):
        transform.vmap(lambda x: state.value, in_states=ds.HiddenState)(jnp.zeros(3))
    with pytest.raises(BatchAxisError, match="HiddenState 's'.*no axis 0"):
        transform.vmap(lambda: scalar.value, in_states=scalar)()
    with pytest.raises(BatchAxisError, match="axis_size"):
        transform.vmap(lambda: state.value, in_states=ds.HiddenState)()
    with pytest.raises(BatchAxisError, match="in_axes"):
        transform.vmap(lambda x: x, in_axes=(0, 0))(X)
    with pytest.raises(ParameterError, match="in_states"):
        transform.vmap(lambda x: x, in_states=3)(X)
    with pytest.raises(ParameterError, match="axes 0 and 1"):
        transform.vmap(lambda x: x, in_states={0: state, 1: state})
    with pytest.raises(StateValueError, match=r"float32\[3\]"):
        transform.vmap(lambda x: _set(state, x), in_states=state)(X)
    with pytest.raises(TypeError, match="value"):
        transform.vmap(lambda x: state, in_states=state)(X)
    with pytest.raises(TraceContextError, match="raw"):
        jax.jit(transform.vmap(lambda x: x + scalar.value))(X)
    with pytest.raises(TraceContextError, match="raw"):
        transform.vmap(lambda x: jax.vmap(lambda y: _set(scalar, 1.0))(jnp.zeros(2)))(X)
    np.testing.assert_array_equal(state.value, 0)


def test_python_runs_once_per_call():
    calls = []
    mapped = transform.vmap(lambda x: calls.append(type(x)) or x)
    for n in range(1, 4):
        mapped(X)
        assert len(calls) == n
    mapped = transform.jit(mapped)
    mapped(X), mapped(X)
    assert len(calls) == 4


def test_states_created_inside_are_one_per_lane_and_die():
    kept = []

    def lane(x):
        kept.append(ds.State(x))
        kept[0].value = kept[0].value * 2
        return kept[0].value

    np.testing.assert_array_equal(transform.vmap(lane)(X), 2 * X)
    with pytest.raises(TraceContextError, match="created inside"):
        _ = kept[0].value


def test_hooks_see_one_write():
    state, seen = ds.HiddenState(jnp.zeros(LANES)), []
    state.register_hook("write_after", lambda ctx: seen.append(ctx.value))
    transform.vmap(lambda x: _add(state, x), in_states=state)(X)
    assert len(seen) == 1 and seen[0].shape == (LANES,)


@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "jit"])
def test_a_check_that_fails_in_one_lane_is_raised(compiled):
    state = ds.HiddenState(jnp.zeros(LANES))

    def lane(x):
        transform.jit_error_if(x > 1.4, "{x} is too much", x=x)
        _add(state, x)

    mapped = transform.vmap(lane, in_states=state)
    with pytest.raises(CompiledError, match=r"1\.5 is too much"):
        (transform.jit(mapped) if compiled else mapped)(X)
    np.testing.assert_array_equal(state.value, 0)


def test_the_environment_of_a_lane():
    def lane(x):
        with ds.environ.context(t=x * u.ms):
            return transform.for_loop(lambda: ds.environ.get("t") + ds.environ.get_dt(), length=2)

    with ds.environ.context(dt=0.5 * u.ms):
        out = transform.vmap(lane)(X)
    np.testing.assert_allclose(out / u.ms, np.repeat(X[:, None] + 0.5, 2, 1), rtol=1e-6)


class TestRandom:
    @pytest.mark.parametrize("inside, compiled", [("plain", 0), ("for_loop", 0), ("jit", 0), ("cond", 1), ("vmap", 1)])
    def test_lanes_differ_and_the_source_moves_on_once(self, inside, compiled):
        def draw():
            return ds.random.normal(size=3)

        lane = {
            "plain": lambda x: draw(),
            "for_loop": lambda x: transform.for_loop(draw, length=5),
            "cond": lambda x: transform.cond(x < 9, draw, lambda: jnp.zeros(3)),
            "jit": lambda x: transform.jit(draw)(),
            "vmap": lambda x: transform.vmap(lambda y: draw())(jnp.zeros(3)),
        }[inside]
        mapped = transform.jit(transform.vmap(lane)) if compiled else transform.vmap(lane)
        ds.random.seed(3)
        start = ds.random.get_key()
        first = np.asarray(mapped(X))
        assert np.unique(first).size == first.size
        assert ds.random.get_key() == ds.random.RandomState.after_lanes(start)
        second = np.asarray(mapped(X))
        assert not np.isin(second, first).any()
        assert not np.isin(np.asarray(draw()), np.concatenate([first.ravel(), second.ravel()])).any()

    def test_a_loop_of_lanes_draws_anew_in_every_step(self):
        out = transform.for_loop(lambda: transform.vmap(lambda x: ds.random.uniform())(X), length=3)
        assert np.unique(out).size == 3 * LANES

    def test_sources_that_are_not_used_stay(self):
        other = ds.random.RandomState(5)
        before = other.value, ds.random.get_key()
        transform.vmap(lambda x: x + 1)(X)
        assert (other.value, ds.random.get_key()) == before

    def test_a_source_of_ones_own(self):
        own = ds.random.RandomState(5)
        before = ds.random.get_key()
        out = transform.vmap(lambda x: own.normal())(X)
        assert np.unique(out).size == LANES and ds.random.get_key() == before and own.value != ds.random.RandomState(5).value


class TestNewStates:
    def test_created_states_get_lanes(self):
        made = []

        def make(x):
            made.append(ds.ParamState(ds.random.normal(size=3)))
            made.append(ds.HiddenState(jnp.zeros(2) * u.mV))
            made.append(ds.LongTermState(jnp.int32(7)))
            return x + made[0].value.sum()

        before = ds.random.get_key()
        mapped = transform.vmap_new_states(make, state_tag="new", state_to_exclude=ds.LongTermState)
        out = mapped(X)
        w, V, count = made
        assert w.value.shape == (LANES, 3) and V.value.shape == (LANES, 2) and count.value == 7
        np.testing.assert_allclose(out, X + np.asarray(w.value).sum(1), rtol=1e-5)
        assert np.unique(w.value).size == LANES * 3 and ds.random.get_key() == ds.random.RandomState.after_lanes(before)
        assert {state.tag for state in made} == {"new"}
        w.value = w.value + 1
        transform.jit(lambda: _add(V, 1 * u.mV))()
        np.testing.assert_array_equal(V.value / u.mV, 1)

    def test_an_init_state_may_run_again(self):
        class Net(ds.Module):
            def init_state(self):
                self.V = ds.HiddenState(ds.random.normal(size=3))

        net = Net()
        transform.vmap_new_states(net.init_state, axis_size=LANES)()
        state, first = net.V, np.asarray(net.V.value)
        transform.vmap_new_states(net.init_state, axis_size=2)()
        assert net.V is state and state.value.shape == (2, 3) and not np.isin(state.value, first).any()

    def test_inside_jit(self):
        def run():
            made = []
            transform.vmap_new_states(lambda x: made.append(ds.State(x * 2)))(X)
            made[0].value = made[0].value + 1
            return made[0].value

        np.testing.assert_allclose(transform.jit(run)(), 2 * X + 1)


@pytest.fixture(scope="module")
def grid():
    return Mesh(np.array(jax.devices()).reshape(2, 4), ("batch", "neuron"), axis_types=(AxisType.Auto,) * 2)


class TestSharded:
    @pytest.mark.parametrize("by_name", [False, True])
    def test_a_lane_keeps_the_split_of_its_own_axes(self, grid, by_name):
        spec, inside = PartitionSpec("batch", "neuron"), []
        # As many lanes of neurons as blocks hold: others are padded where a program begins.
        value = np.cos(np.arange(4 * 512, dtype=np.float32)).reshape(4, 512)
        if by_name:
            with ds.use_mesh(grid):
                state = ds.HiddenState(value)
        else:
            state = ds.HiddenState(value, sharding=NamedSharding(grid, spec))

        def lane(x):
            inside.append(state.sharding.spec)
            state.value = jnp.tanh(state.value) * x

        step = transform.jit(lambda x: transform.vmap(lane, in_states=state)(x))
        for _ in range(2):
            step(X)
        transform.vmap(lane, in_states=state)(X)
        assert set(inside) == {PartitionSpec("neuron")}
        assert state.sharding.spec == spec and state.value.sharding.spec == spec
        expected = value
        for _ in range(3):
            expected = np.tanh(expected) * X[:, None]
        np.testing.assert_allclose(state.value, expected, rtol=1e-5)
        program = step.lower(X).compile().as_text()
        assert not any(name in program for name in ("all-gather", "all-reduce", "all-to-all", "collective-permute"))

    def test_a_loop_over_split_lanes_communicates_nothing(self, grid):
        state = ds.HiddenState(jnp.ones((4, 16)), sharding=NamedSharding(grid, PartitionSpec("batch", "neuron")))
        lane = transform.vmap(lambda x: transform.for_loop(lambda: _add(state, x), length=5), in_states=state)
        step = transform.jit(lane)
        step(X)
        np.testing.assert_allclose(state.value, 1 + np.broadcast_to(5 * X[:, None], (4, 16)), rtol=1e-6)
        assert "all-gather" not in step.lower(X).compile().as_text()
        assert state.value.sharding.spec == PartitionSpec("batch", "neuron")

    def test_new_lanes_lie_by_the_names_of_their_axes(self, grid):
        class Net(ds.Module):
            def init_state(self):
                self.V = ds.HiddenState(ds.random.normal(size=16))

        net = Net()
        with ds.use_mesh(grid):
            transform.vmap_new_states(net.init_state, axis_size=4)()
        assert net.V.sharding.spec == net.V.value.sharding.spec == PartitionSpec("batch", "neuron")

    def test_with_spmd_axis_name(self, grid):
        state = ds.HiddenState(jnp.ones((4, 16)), sharding=NamedSharding(grid, PartitionSpec("batch", "neuron")))
        transform.jit(transform.vmap(lambda x: _add(state, x), in_states=state, spmd_axis_name="batch"))(X)
        assert state.value.sharding.spec == PartitionSpec("batch", "neuron")
        np.testing.assert_allclose(state.value, 1 + np.broadcast_to(X[:, None], (4, 16)), rtol=1e-6)
