"""What programs written for brainstate do with States and transforms, and what they get for it there."""

import brainunit as u
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

import dist_sim as ds
from dist_sim import transform
from dist_sim.core.transform import progress
from dist_sim.errors import ParameterError, StateValueError, TraceContextError, UnknownNameError

SPLIT, WHOLE = PartitionSpec("x"), PartitionSpec()


class Sum(ds.nn.Module):
    def init_state(self, batch_size=None):
        self.V = ds.HiddenState(jnp.zeros(3 if batch_size is None else (batch_size, 3)))

    def update(self, x):
        self.V.value = self.V.value + x
        return self.V.value


# ---- allocating inside of transforms ----


@pytest.mark.parametrize("around", [lambda f: f, lambda f: lambda x: transform.grad(f)(x).sum()], ids=["jit", "jit of grad"])
def test_states_are_allocated_inside_of_a_function_for_batches_of_any_size(around):
    net = Sum()

    def loss(x):
        ds.nn.init_all_states(net, x.shape[0])
        return transform.for_loop(lambda i: net(x), jnp.arange(3)).sum()

    found = transform.jit(around(loss))
    wanted = [float(found(jnp.ones((n, 3)))) for n in (2, 5, 2, 7)]
    assert wanted == [18.0 * n for n in (2, 5, 2, 7)] and found.compilations == 3
    ds.nn.init_all_states(net, 4)
    assert net.V.value.shape == (4, 3) and found(jnp.ones((6, 3))) == 108.0


def test_assigning_to_a_state_left_behind_is_still_refused():
    net = Sum()
    transform.jit(lambda: ds.nn.init_all_states(net, 2) and None)()
    with pytest.raises(TraceContextError, match="inside a transform that has finished"):
        transform.jit(lambda: net(1.0))()


# ---- disable_jit ----


def test_disable_jit_is_obeyed():
    state, seen = ds.State(0.0), []

    def step(carry, x):
        seen.append(float(x))  # a number, not a tracer
        state.value = state.value + x
        return carry + x, carry

    with jax.disable_jit():
        last, ys = transform.scan(step, 0.0, jnp.arange(3.0), reverse=True)
        assert seen == [2.0, 1.0, 0.0] and last == 3.0 and ys.tolist() == [3.0, 2.0, 0.0]
        assert transform.jit(lambda x: float(x))(jnp.float32(4.0)) == 4.0
        assert transform.while_loop(lambda x: float(x) < 3, lambda x: x + 1, 0) == 3
        assert transform.cond(jnp.asarray(False), float, lambda x: -float(x), jnp.float32(2.0)) == -2.0
        assert transform.switch(7, [lambda: "a", lambda: "b"]) == "b"
        assert transform.grad(lambda x: transform.for_loop(lambda y: y * x, jnp.arange(3.0)).sum())(2.0) == 3.0
    assert state.value == 3.0


# ---- keywords ----


def test_while_loop_by_keyword():
    assert transform.while_loop(cond_fun=lambda x: x < 5, body_fun=lambda x: x + 2, init_val=0) == 6


def test_jit_takes_the_keywords_of_jax():
    w = ds.State(jnp.ones(8))
    named = transform.jit(lambda x, y: w.value * x + y, name="my_step", donate_argnums=1)
    kept, gone = jnp.ones(8), jnp.ones(8)
    assert (named(kept, gone) == 2.0).all() and gone.is_deleted() and not kept.is_deleted()
    assert "my_step" in named.lower(kept, kept).as_text()
    by_name = transform.jit(lambda x, y: x + y, donate_argnames="y")
    gone = jnp.ones(8)
    assert (by_name(kept, y=gone) == 2.0).all() and gone.is_deleted()
    mesh = Mesh(np.array(jax.devices()[:8]), ("x",), axis_types=(AxisType.Auto,))
    split, whole = NamedSharding(mesh, SPLIT), NamedSharding(mesh, WHOLE)
    spread = transform.jit(lambda x, y: x + y, in_shardings=(split, None), out_shardings=split)
    assert (spread(kept, 1.0) == 2.0).all() and spread(kept, 1.0).sharding == split
    assert transform.jit(lambda x: x, in_shardings=split, out_shardings=whole)(kept).sharding == whole
    with pytest.raises(ParameterError, match="in_shardings"):
        transform.jit(lambda x, y: x, in_shardings=(split,))(kept, kept)


def test_make_jaxpr_leaves_static_arguments_out():
    state = ds.State(2.0)
    for static in ({"static_argnums": 1}, {"static_argnames": "n"}):
        jaxpr, states = transform.make_jaxpr(lambda x, n: state.value * x * (3 if n == "three" else 1), **static)(1.0, "three")
        assert states == (state,) and len(jaxpr.in_avals) == 2
        assert jax.core.eval_jaxpr(jaxpr.jaxpr, jaxpr.consts, 2.0, 1.0) == [6.0]


# ---- a text that reads States ----


@pytest.mark.parametrize("loop", [transform.for_loop, transform.checkpointed_for_loop])
@pytest.mark.parametrize("around", [lambda f: f, transform.jit], ids=["eager", "jit"])
def test_the_text_of_a_bar_reads_states(monkeypatch, loop, around):
    told = []
    for name in ("update", "finish"):
        monkeypatch.setattr(progress._SCREEN, name, lambda run: told.append(run.text))
    total, other = ds.State(0.0), ds.State(7.0)

    def step(x):
        total.value = total.value + x

    look = lambda seen: {"total": total.value, "other": other.value, "i": seen["i"]}  # noqa: E731
    bar = transform.ProgressBar(freq=2, desc=("{i}: {total:g} {other:g}", look))
    around(lambda: loop(step, jnp.arange(6.0), pbar=bar))()
    jax.effects_barrier()
    assert told == ["0: 0 7", "2: 3 7", "4: 10 7", "5: 15 7"]
    writing = transform.ProgressBar(desc=("{x}", lambda seen: {"x": setattr(total, "value", 0.0) or 1.0}))
    with pytest.raises(TraceContextError, match="It may read"):
        loop(step, jnp.arange(6.0), pbar=writing)


# ---- shard_map ----


def test_shard_map_takes_a_mesh_of_make_mesh_and_says_how_states_go_in_and_out():
    mesh = jax.make_mesh((8,), ("x",))
    rows, scale, one = ds.State(jnp.zeros(16)), ds.State(3.0), ds.State(jnp.ones(1))

    def local(x):
        assert x.shape == rows.value.shape == (2,)
        rows.value = rows.value + x
        return x * scale.value

    split = {rows: SPLIT}
    step = transform.shard_map(local, mesh, in_specs=(SPLIT,), out_specs=SPLIT, state_in_specs=split, state_out_specs=split)
    assert (step(jnp.arange(16.0)) == 3 * jnp.arange(16.0)).all() and (rows.value == jnp.arange(16.0)).all()

    def grow():
        one.value = one.value * jax.lax.axis_index("x")

    transform.shard_map(grow, mesh, in_specs=(), state_out_specs={one: SPLIT})()
    assert one.value.tolist() == list(range(8))

    def shrink():
        one.value = jax.lax.psum(one.value, "x")

    transform.shard_map(shrink, mesh, in_specs=(), state_in_specs={one: SPLIT}, state_out_specs={one: WHOLE})()
    assert one.value.tolist() == [28.0]
    with pytest.raises(StateValueError, match="may differ between devices"):
        transform.shard_map(grow, mesh, in_specs=())()


def test_a_state_may_lie_on_a_mesh_of_make_mesh():
    state = ds.State(jnp.arange(16.0), sharding=NamedSharding(jax.make_mesh((8,), ("x",)), SPLIT))
    transform.jit(lambda: setattr(state, "value", state.value[::-1] + 1.0))()
    assert state.value.tolist() == list(range(16, 0, -1)) and state.sharding.spec == SPLIT


# ---- names ----


def test_modules_are_imported_by_the_names_they_have_here():
    import dist_sim.nn
    import dist_sim.random as random
    from dist_sim.graph import Node
    from dist_sim.nn import Linear
    from dist_sim.state import LIF
    from dist_sim.transform import jit
    from dist_sim.transform.loops import for_loop
    from dist_sim.util.struct import dataclass

    assert dist_sim.nn is ds.nn and Linear is ds.nn.Linear and LIF is ds.LIF and random is ds.random
    assert jit is transform.jit and for_loop is transform.for_loop and Node is ds.graph.Node
    assert ds.nn.__spec__.name == "dist_sim.models.nn" and ds.__spec__.name == "dist_sim"
    assert dataclass is ds.util.struct.dataclass
    with pytest.raises(ModuleNotFoundError):
        import dist_sim.nothing  # noqa: F401


def test_new_states_are_caught():
    net = Sum()
    with ds.catch_new_states("mine", state_to_exclude=ds.ParamState) as caught:
        one, _ = ds.State(1.0), ds.ParamState(2.0)
        ds.nn.init_all_states(net)
    assert caught.get_states() == [one, net.V] and one.tag == net.V.tag == "mine" and caught.get_state_values()[0] == 1.0
    # Those that are there already are the ones that are allocated again.
    again = net.init_all_states(5, state_tag="again")
    assert again.get_states() == [net.V] and net.V.tag == "again" and net.V.value.shape == (5, 3)
    ds.State(0.0)
    assert len(caught) == 2


def test_a_node_is_taken_apart():
    class Pair(ds.graph.Node):
        def __init__(self):
            super().__init__()
            self.w = ds.ParamState(2.0)

    other = ds.graph.treefy_merge(*ds.graph.treefy_split(Pair()))
    assert other.w.value == 2.0 and isinstance(Sum(), ds.graph.Node)


def test_hooks_of_all_states_are_at_the_top():
    seen = []
    ds.register_state_hook("write_after", lambda ctx: seen.append(ctx.value))
    try:
        assert ds.has_state_hooks() and len(ds.list_state_hooks("write_after")) == 1
        ds.State(1.0).value = 2.0
    finally:
        ds.clear_state_hooks()
    assert seen == [2.0] and not ds.has_state_hooks()


def test_groups_of_hidden_variables():
    group = ds.HiddenGroupState(jnp.arange(6.0).reshape(3, 2))
    assert (group.num_state, group.varshape) == (2, (3,))
    assert group.get_value(1).tolist() == group.get_value("1").tolist() == [1, 3, 5]
    group.set_value({0: jnp.ones(3)})
    assert group.value.tolist() == [[1, 1], [1, 3], [1, 5]] and isinstance(group, ds.HiddenState)
    tree = ds.HiddenTreeState({"v": jnp.ones(3) * u.mV, "i": jnp.zeros(3) * u.nA})
    transform.jit(lambda: tree.set_value({"v": tree.get_value("v") * 2000.0, "i": jnp.full(3, 1e3) * u.pA}))()
    assert tree.value.tolist() == [[2000, 1]] * 3 and (tree.get_value("v") == 2.0 * u.volt).all()
    assert tree.copy().name2unit["i"] == u.nA
    with pytest.raises(UnknownNameError, match="Known: i, v"):
        tree.get_value("w")
    with pytest.raises(StateValueError, match="in mV; got"):
        tree.set_value({"v": jnp.ones(3) * u.mA})
    with pytest.raises(StateValueError, match="of one shape"):
        ds.HiddenTreeState([jnp.ones(3), jnp.ones(2)])


def test_the_environment_is_reset():
    before = dict(ds.environ._GLOBAL)
    try:
        ds.environ.set(dt=0.2 * u.ms, precision=64)
        ds.environ.reset()
        assert "dt" not in ds.environ.all() and ds.environ.get_precision() == 32
        with ds.environ.context(dt=1 * u.ms), pytest.raises(ParameterError, match="Reset outside"):
            ds.environ.reset()
    finally:
        ds.environ._GLOBAL.update(before)


def test_a_function_is_looked_at_as_a_program():
    w, v = ds.State(2.0), ds.State(1.0)

    def fun(x, scale):
        v.value = w.value * x * scale
        return x + 1

    look = transform.StatefulFunction(fun, static_argnums=1).make_jaxpr(1.0, 3)
    assert look.get_states(1.0, 3) == (w, v) and look.get_read_states(1.0, 3) == (w,) and look.get_write_states(1.0, 3) == (v,)
    assert len(look.get_jaxpr(1.0, 3).in_avals) == 2 and look.get_out_shapes(1.0, 3).shape == ()
    after, out = look.jaxpr_call([5.0, 0.0], 2.0, 3)
    assert [float(x) for x in after] == [5.0, 30.0] and out == 3.0 and v.value == 1.0
    assert look.jaxpr_call_auto(2.0, 3) == 3.0 and v.value == 12.0
    with pytest.raises(ParameterError, match="1 values for 2 States"):
        look.jaxpr_call([1.0], 2.0, 3)


def test_vmap2_gives_states_that_differ_an_axis_of_lanes():
    state, shared, own = ds.State(0.0), ds.State(1.0), ds.HiddenState(jnp.arange(3.0))

    def lane(x):
        state.value, shared.value, own.value = x, shared.value * 2.0, own.value + x
        return x * 2

    mapped = transform.vmap2(lane, state_in_axes=ds.HiddenState)
    assert mapped(jnp.arange(3.0)).tolist() == [0, 2, 4]
    assert state.value.tolist() == [0, 1, 2] and shared.value == 2.0 and own.value.tolist() == [0, 2, 4]
    mapped(jnp.arange(3.0) + 5.0)
    assert state.value.tolist() == [5, 6, 7] and shared.value == 4.0  # each lane went on from its own
    state.reset_value(0.0)
    with pytest.warns(UserWarning, match="gets an axis of 3 lanes"):
        transform.vmap2(lane, state_in_axes=ds.HiddenState, unexpected_out_state_mapping="warn")(jnp.arange(3.0))
    state.reset_value(0.0)
    with pytest.raises(ds.errors.BatchAxisError):
        transform.vmap2(lane, state_in_axes=ds.HiddenState, unexpected_out_state_mapping="raise")(jnp.arange(3.0))
    with pytest.raises(ParameterError, match="allowed are 'auto'"):
        transform.vmap2(lane, unexpected_out_state_mapping="never")


def test_delays_are_kept_in_delay_states():
    with ds.environ.context(dt=0.1 * u.ms):
        delay = ds.nn.init_all_states(ds.nn.Delay(jax.ShapeDtypeStruct((3,), float), 1.0 * u.ms))
    assert list(delay.states(ds.DelayState)) == [("history",)] and len(delay.states(ds.ShortTermState)) == 2


def test_dataclasses_are_transformed():
    @ds.util.struct.dataclass
    class Pair:
        x: jax.Array
        n: int = ds.util.struct.field(pytree_node=False, default=3)

    class Node(ds.util.struct.PyTreeNode):
        x: jax.Array

    doubled = jax.jit(lambda pair: jax.tree.map(lambda x: x * pair.n, pair))(Pair(jnp.ones(2)))
    assert doubled.x.tolist() == [3.0, 3.0] and doubled.replace(n=4).n == 4 and ds.util.struct.is_dataclass(Pair)
    assert jax.tree.leaves(Node(1.0).replace(x=2.0)) == [2.0]
