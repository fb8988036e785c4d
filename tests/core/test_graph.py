"""Taken apart and put together again, a model is the same model, also inside raw JAX transforms.

Over 400 lines: every way to take a model apart is asked of the same models.
"""

import collections

import brainunit as u
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from dist_sim.core import HiddenState, Module, ParamState, State, environ, filters, graph, init_all_states, transform
from dist_sim.errors import ParameterError, StateValueError, TraceContextError
from dist_sim.partition import use_mesh

Pair = collections.namedtuple("Pair", "left right")


class Leaky(Module):
    def __init__(self, size=4, tau=10.0 * u.ms):
        super().__init__()
        self.size, self.tau = size, tau
        self.mask = jnp.ones(size) * u.mV
        self.w = ParamState(0.5 * jnp.ones(size), name="weight", tag="train", origin="here")

    def init_state(self, batch_size=None):
        self.v = HiddenState(jnp.zeros(self.size) * u.mV)
        self.steps = State(0)

    def update(self, x):
        self.v.value = self.v.value + (self.w.value * x - self.v.value) * 0.1
        self.steps.value = self.steps.value + 1
        return self.v.value


class Net(Module):
    """Sharing, a cycle, containers of all kinds, a method as an attribute."""

    def __init__(self):
        super().__init__()
        self.cells = [Leaky(), Leaky()]
        self.pair = Pair(Leaky(), 3)
        self.by_key = {"a": (Leaky(), None), 7: [State(jnp.ones(2) * u.nA)]}
        self.ordered = collections.OrderedDict(z=Leaky(), b=1.0)
        self.cells[1].w = self.cells[0].w
        self.first = self.cells[0]
        self.first.owner = self
        self.rule = self.hebb
        self.plain = {"numbers": [1, 2], 3: np.arange(3)}
        self.tree = State({"x": jnp.zeros(2) * u.mV, "y": [jnp.zeros(())]})

    def hebb(self):
        return self

    def update(self, x):
        for cell in self.cells:
            x = cell(x)
        return x


def net():
    return init_all_states(Net())


def assert_same(a, b):
    """Equal values, paths, kinds and labels; nothing shared that can be written."""
    mine, theirs = a.states(), b.states()
    assert list(mine) == list(theirs) and list(a.nodes()) == list(b.nodes())
    for path, state in mine.items():
        other = theirs[path]
        assert state is not other and state.info == other.info and state.label == other.label
        jax.tree.map(np.testing.assert_array_equal, state.value, other.value)
    assert not {id(m) for m in a.nodes().values()} & {id(m) for m in b.nodes().values()}


def assert_close(tree, other):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), tree, other)


def test_the_round_trip_is_transparent():
    original = net()
    original.cells[0](1.0 * u.mV)
    copy = graph.treefy_merge(*graph.treefy_split(original))
    assert_same(original, copy)
    assert type(copy) is Net and copy.cells[1].w is copy.cells[0].w and copy.first is copy.cells[0] and copy.first.owner is copy
    assert type(copy.pair) is Pair and type(copy.ordered) is collections.OrderedDict
    assert list(copy.by_key) == ["a", 7] and list(copy.ordered) == ["z", "b"]
    assert copy.rule() is copy
    assert copy.cells is not original.cells and copy.plain["numbers"] is not original.plain["numbers"]
    w = copy.cells[0].w
    assert (type(w), w.name, w.tag, w.origin) == (ParamState, "weight", "train", "here")
    before = jax.device_get(original.cells[0].v.value.mantissa)
    copy.cells[0](1.0 * u.mV)
    np.testing.assert_array_equal(original.cells[0].v.value.mantissa, before)


def test_clone_and_containers_of_models():
    assert_same(net_ := net(), graph.clone(net_))
    shared = init_all_states(Leaky())
    copy = graph.clone({"one": shared, "all": (shared, [shared.w])})
    assert copy["one"] is copy["all"][0] and copy["one"].w is copy["all"][1][0] is not shared.w
    with pytest.raises(ParameterError, match="give a Module, or a list"):
        graph.clone(State(1.0))


def test_filters_split():
    model = net()
    graphdef, params, rest = graph.treefy_split(model, ParamState, ...)
    assert set(params["cells"][0]) == {"w"} and 1 not in params["cells"]  # tied: there once
    assert "tree" in rest and "tree" not in params
    assert_same(model, graph.treefy_merge(graphdef, rest, params))
    trained, hidden = graph.treefy_states(model, "train", filters.All(HiddenState, filters.PathContains("cells")))
    assert jax.tree.structure(trained) == jax.tree.structure(params)
    assert len(jax.tree.leaves(hidden)) == 2
    with pytest.raises(ParameterError, match=r"no filter fits cells.0.v and \d+ others"):
        graph.treefy_split(model, ParamState)


def test_a_compiled_function_of_ours_may_update():
    model, target = net(), net()
    model(1.0 * u.mV)
    update = transform.jit(lambda tree: graph.update_states(target, tree))
    for _ in range(2):
        update(graph.treefy_states(model))
        assert_same(model, target)
        model(1.0 * u.mV)
    assert update.compilations == 1


CHANGES = {
    "attribute": lambda m: setattr(m.first, "tau", 5.0 * u.ms),
    "type of an attribute": lambda m: setattr(m.first, "size", 4.0),
    "unit of an attribute": lambda m: setattr(m.first, "tau", 10.0 * u.mV),
    "array": lambda m: setattr(m.first, "mask", m.first.mask.at[0].set(0.0 * u.mV)),
    "shape of an array": lambda m: setattr(m.first, "mask", jnp.ones(5) * u.mV),
    "unit of an array": lambda m: setattr(m.first, "mask", jnp.ones(4) * u.nA),
    "kind": lambda m: setattr(m.first, "v", State(m.first.v.value)),
    "unit": lambda m: setattr(m.first, "v", HiddenState(jnp.zeros(4))),
    "sharing": lambda m: setattr(m.cells[1], "w", ParamState(0.5 * jnp.ones(4), name="weight", tag="train", origin="here")),
    "one more": lambda m: setattr(m, "extra", 1),
    "key": lambda m: setattr(m, "plain", {"numbers": [1, 2], 4: np.arange(3)}),
    "container": lambda m: setattr(m, "cells", tuple(m.cells)),
}


def test_equal_structures_are_equal():
    one, other = net(), net()
    one.first.v.value = one.first.v.value + 1 * u.mV
    a, b = graph.treefy_split(one)[0], graph.treefy_split(other)[0]
    assert a == b and hash(a) == hash(b)
    assert jax.tree.structure(graph.treefy_states(one)) == jax.tree.structure(graph.treefy_states(other))
    with pytest.raises(AttributeError):
        a.states = ()


@pytest.mark.parametrize("change", CHANGES)
def test_other_structures_are_not(change):
    one, other = net(), net()
    CHANGES[change](other)
    assert graph.treefy_split(one)[0] != graph.treefy_split(other)[0]


def test_a_graphdef_is_a_static_argument_and_a_tree_without_leaves():
    traces = 0

    @jax.jit
    def step(graphdef, tree):
        nonlocal traces
        traces += 1
        model = graph.treefy_merge(graphdef, tree)
        model(1.0 * u.mV)
        return graph.treefy_split(model)

    def step_static(graphdef, tree):
        return step(graphdef, tree)[1]

    model = net()
    graphdef, tree = graph.treefy_split(model)
    for _ in range(3):
        graphdef, tree = step(graphdef, tree)
    graph_again, tree_again = graph.treefy_split(net())
    for _ in range(3):
        graph_again, tree_again = step(graph_again, tree_again)
        jax.jit(step_static, static_argnums=0)(graph_again, tree_again)
    assert traces == 1
    for _ in range(3):
        model(1.0 * u.mV)
    assert_close(tree, graph.treefy_states(model))
    jax.tree.map(np.testing.assert_array_equal, tree, tree_again)


def run(graphdef, *trees):
    """A step of a model made here, with a loop of ours inside."""
    model = graph.treefy_merge(graphdef, *trees)
    model(1.0 * u.mV)
    transform.for_loop(lambda i: model(1.0 * u.mV), jnp.arange(2))
    return model


def states_after(graphdef, tree):
    return graph.treefy_states(run(graphdef, tree))


def scanned(graphdef, tree):
    def step(tree, _):
        model = graph.treefy_merge(graphdef, tree)
        model(1.0 * u.mV)
        return graph.treefy_states(model), None

    return jax.lax.scan(step, tree, length=3)[0]


def under_vmap(graphdef, tree, vmap=jax.vmap):
    lanes = jax.tree.map(lambda x: jnp.stack([x, x]), tree)
    lanes = vmap(lambda tree: states_after(graphdef, tree))(lanes)
    return jax.tree.map(lambda x: x[1], lanes)


TRANSFORMS = {
    "jit": jax.jit(states_after, static_argnums=0),
    "vmap": under_vmap,
    "scan": scanned,
    "jit(vmap)": jax.jit(under_vmap, static_argnums=0),
    "jit(scan)": jax.jit(scanned, static_argnums=0),
    "remat": lambda graphdef, tree: jax.checkpoint(lambda tree: states_after(graphdef, tree))(tree),
    "our vmap": lambda graphdef, tree: under_vmap(graphdef, tree, transform.vmap),
    "ours": lambda graphdef, tree: transform.jit(lambda tree: states_after(graphdef, tree))(tree),
}


@pytest.mark.parametrize("how", TRANSFORMS)
def test_a_model_made_inside_a_raw_transform_is_writable_at_once(how):
    model = net()
    expected = graph.clone(model)
    for _ in range(3):
        expected(1.0 * u.mV)
    after = TRANSFORMS[how](*graph.treefy_split(model))
    assert not model.first.v.value.mantissa.any()
    graph.update_states(model, after)
    assert int(model.first.steps.value) == 3
    assert_close(graph.treefy_states(model), graph.treefy_states(expected))


def test_grad():
    """By raw jax.grad as by ours."""
    model = net()
    graphdef, params, rest = graph.treefy_split(model, ParamState, ...)

    @jax.grad
    def gradient(params):
        return jnp.sum(run(graphdef, params, rest).first.v.value.mantissa)

    def loss():
        for _ in range(3):
            model(1.0 * u.mV)
        return jnp.sum(model.first.v.value.mantissa)

    found = gradient(params)
    assert jax.tree.structure(found) == jax.tree.structure(params)
    expected = transform.grad(loss, {"w": model.first.w})()["w"]
    assert expected.all()
    np.testing.assert_allclose(found["cells"][0]["w"].value, expected, rtol=1e-5)


def test_a_model_made_inside_ends_with_the_trace():
    escaped = []
    graphdef, tree = graph.treefy_split(net())
    jax.jit(lambda tree: escaped.append(run(graphdef, tree)))(tree)
    with pytest.raises(TraceContextError, match="HiddenState 'Leaky.v' was created inside"):
        _ = escaped[0].first.v.value


def test_an_ensemble():
    """A stack of trees is a model with a batch in front: vmap makes and runs it, merge accepts it."""
    graphdef, tree = graph.treefy_split(net())
    stack = jax.tree.map(lambda *leaves: jnp.stack(leaves), *[tree] * 5)
    many = graph.treefy_merge(graphdef, stack)
    assert many.first.v.value.shape == (5, 4)
    out = jax.vmap(lambda tree, x: graph.treefy_merge(graphdef, tree)(x))(stack, jnp.arange(5.0) * u.mV)
    assert out.shape == (5, 4) and out[0, 0] == 0 * u.mV < out[4, 0]


@pytest.mark.parametrize("given", [False, True], ids=["mesh in use", "given"])
def test_sharding_survives(given):
    with use_mesh(shape={"batch": 2, "neuron": 4}) as mesh:
        model = init_all_states(Leaky(size=8))
        if given:
            model.v.sharding = NamedSharding(mesh, PartitionSpec("neuron"))
    wanted = model.v.sharding
    assert wanted.spec == PartitionSpec("neuron")
    graphdef, tree = graph.treefy_split(model)

    @jax.jit
    def step(tree):
        model = graph.treefy_merge(graphdef, tree)
        assert model.v.sharding == wanted
        # Not from the inputs, which are not split: the State puts it there.
        model.v.value = jnp.arange(8.0) * u.mV
        return graph.treefy_states(model)

    for copy in (graph.clone(model), graph.treefy_merge(graphdef, step(tree))):
        assert copy.v.sharding == wanted and copy.v.value.mantissa.sharding.is_equivalent_to(wanted, 1)
    whole = jax.device_put(tree, NamedSharding(mesh, PartitionSpec()))
    after = step(whole)
    assert after["v"].value.mantissa.sharding.is_equivalent_to(wanted, 1)
    assert {shard.data.shape for shard in after["v"].value.mantissa.addressable_shards} == {(2,)}
    assert graph.treefy_merge(graphdef, whole).v.value.mantissa.sharding == wanted
    graph.update_states(model, whole)
    assert model.v.value.mantissa.sharding == wanted
    # A batch in front of an ensemble is not split by a sharding that says nothing of it.
    stack = graph.treefy_merge(graphdef, jax.tree.map(lambda x: jnp.stack([x] * 3), tree))
    assert stack.v.value.shape == (3, 8) and stack.v.sharding.spec == PartitionSpec(None, "neuron")


def test_hooks_stay_with_the_object():
    model, log = net(), []
    model.first.v.register_hook("restore", lambda ctx: log.append(ctx.value))
    graphdef, tree = graph.treefy_split(model)
    copy = graph.treefy_merge(graphdef, tree)
    assert not copy.first.v.has_hooks()
    graph.update_states(model, jax.tree.map(lambda x: x + jnp.ones_like(x), tree))
    assert len(log) == 1 and model.first.v.has_hooks() and model.first.v.value[0] == 1 * u.mV


def changed(tree, value):
    """The tree with another value for cells.0.v."""
    cell = tree["cells"][0]
    return {**tree, "cells": {**tree["cells"], 0: {**cell, "v": graph.TreefyState(value, cell["v"].info)}}}


@pytest.mark.parametrize("value", [jnp.zeros(4), jnp.zeros(4) * u.nA, jnp.zeros(4) * u.volt, [jnp.zeros(4) * u.mV]])
def test_another_unit_or_structure_is_refused(value):
    model = net()
    graphdef, tree = graph.treefy_split(model)
    wrong = changed(jax.tree.map(lambda x: x + jnp.ones_like(x), tree), value)
    with pytest.raises(StateValueError, match=r"cells.0.v.* holds .*mV; got .*float32"):
        graph.treefy_merge(graphdef, wrong)
    with pytest.raises(StateValueError, match=r"HiddenState at cells.0.v holds float32\[4\] mV; got"):
        graph.update_states(model, wrong)
    assert not model.tree.value["x"].mantissa.any()  # none was changed


def test_another_shape_is_refused_by_update():
    model = net()
    with pytest.raises(StateValueError, match=r"cells.0.v holds float32\[4\] mV; got float32\[5\] mV"):
        graph.update_states(model, changed(graph.treefy_states(model), jnp.zeros(5) * u.mV))


def test_missing_unknown_and_doubled_states_are_named():
    model = net()
    graphdef, params, rest = graph.treefy_split(model, ParamState, ...)
    with pytest.raises(StateValueError, match="cells.0.w: in none of the trees"):
        graph.treefy_merge(graphdef, rest)
    with pytest.raises(StateValueError, match="cells.0.w: is in two of the trees"):
        graph.treefy_merge(graphdef, rest, params, params)
    unknown = {"cells": {2: params["cells"][0]}}
    with pytest.raises(StateValueError, match="cells.2.w: no State of that path in GraphDef. There are: cells.0.w"):
        graph.treefy_merge(graphdef, rest, params, unknown)
    with pytest.raises(StateValueError, match="cells.2.w: no State of that path in Net"):
        graph.update_states(model, unknown)
    with pytest.raises(StateValueError, match="cells.0.w: the tree has a ArrayImpl"):
        graph.update_states(model, {"cells": {0: {"w": jnp.zeros(4)}}})
    graph.update_states(model, params)  # a part is enough


def test_pop():
    model = net()
    del model.by_key, model.ordered, model.pair
    v, w, steps = model.cells[0].v, model.cells[0].w, model.cells[1].steps
    step = transform.jit(lambda: len(model.states()))
    count = step()
    hidden = graph.pop_states(model, HiddenState)
    assert hidden["cells"][0]["v"] is v and not hasattr(model.first, "v")
    params, rest = graph.pop_states(model, ParamState, filters.PathContains("steps"))
    assert params == {"cells": {0: {"w": w}}} and rest["cells"][1]["steps"] is steps
    assert not hasattr(model.cells[1], "w")  # tied
    assert list(model.states()) == [("tree",)] and count == 6
    model.pool = [State(0.0)]
    with pytest.raises(ParameterError, match="pool is a container"):
        graph.pop_states(model, ...)
    assert len(model.states()) == 2
    with pytest.raises(ParameterError, match="give a filter"):
        graph.pop_states(model)


class Listed(list):
    pass


def test_what_cannot_be_made_again_is_refused():
    class Compiled(Leaky):
        def __init__(self):
            super().__init__()
            self.step = transform.jit(self.update)

    with pytest.raises(ParameterError, match="step is a function made from a method of this model"):
        graph.clone(Compiled())
    model = Module()
    model.cells = Listed([Leaky()])
    with pytest.raises(ParameterError, match="cells is a Listed of States or Modules"):
        graph.clone(model)
    model.cells = Listed([1])
    assert graph.clone(model).cells == [1]


def test_a_large_model():
    first = cell = Leaky()
    for _ in range(100):
        cell.below = [Leaky() for _ in range(10)]
        cell = cell.below[0]
    copy = graph.clone(first)
    assert len(copy.states()) == 1001 and list(copy.states()) == list(first.states())


def test_labels_that_cannot_be_hashed():
    model = Module()
    model.s = State(jnp.zeros(2), notes=["a", {"b": 1}], table=np.arange(3))
    graphdef, tree = graph.treefy_split(model)
    after = jax.jit(lambda tree: jax.tree.map(lambda x: x + 1, tree))(tree)
    copy = graph.treefy_merge(graphdef, jax.tree.map(jnp.add, tree, after))
    assert copy.s.notes == ["a", {"b": 1}] and (copy.s.table == [0, 1, 2]).all() and copy.s.value[0] == 1


def test_orbax_saves_a_tree(tmp_path):
    ocp = pytest.importorskip("orbax.checkpoint")
    with use_mesh(shape={"batch": 2, "neuron": 4}):
        model, target = net(), net()
    transform.jit(lambda: model(1.0 * u.mV))()
    with ocp.StandardCheckpointer() as saver:
        saver.save(tmp_path / "tree", graph.treefy_states(model))
        saver.wait_until_finished()
        restored = saver.restore(tmp_path / "tree", graph.treefy_states(target))
    graph.update_states(target, restored)
    assert_same(model, target)
    assert target.first.v.value.mantissa.any() and target.first.v.value.mantissa.sharding == model.first.v.sharding


def test_the_environment_is_the_same_inside():
    class Clock(Module):
        def __init__(self):
            super().__init__()
            self.t = State(0.0 * u.ms)

        def update(self):
            self.t.value = self.t.value + environ.get_dt()

    graphdef, tree = graph.treefy_split(Clock())
    with environ.context(dt=0.25 * u.ms):
        model = graph.treefy_merge(graphdef, tree)
        model()
        assert model.t.value == 0.25 * u.ms
