"""A Module is a tree; its States are selected by kind and path, and keep their identity through init and reset."""

import brainunit as u
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dist_sim.core import HiddenState, Module, ParamState, ShortTermState, State, environ, init_all_states, reset_all_states, walk
from dist_sim.core.sequential import Sequential
from dist_sim.core.transform import jit
from dist_sim.errors import ParameterError, StateValueError
from dist_sim.partition import use_mesh


class LeakyUnit(Module):
    """The unit of the documents, with its dynamics allocated by init_state."""

    def __init__(self, size, tau=10.0 * u.ms):
        super().__init__()
        self.size = size
        self.tau = ParamState(tau)

    def init_state(self, batch_size=None):
        shape = (self.size,) if batch_size is None else (batch_size, self.size)
        self.v = HiddenState(jnp.zeros(shape) * u.mV)

    def update(self, x):
        dt = environ.get_dt()
        self.v.value = self.v.value + (-self.v.value + x) / self.tau.value * dt
        return self.v.value


class Net(Module):
    def __init__(self):
        super().__init__()
        self.units = [LeakyUnit(3), LeakyUnit(2)]
        self.by_name = {"extra": State(0.0), 7: (State(1.0),)}
        self.first = self.units[0]
        self.alpha = 0.5

    def update(self, x):
        for unit in self.units:
            unit(x)


def test_states_are_keyed_by_path_in_the_order_of_definition():
    net = init_all_states(Net())
    paths = [("units", 0, "tau"), ("units", 0, "v"), ("units", 1, "tau"), ("units", 1, "v")]
    assert list(net.states()) == [*paths, ("by_name", "extra"), ("by_name", "7", 0)]
    assert list(net.states(ParamState)) == paths[::2]
    params, hidden, rest = net.states(ParamState, HiddenState, ...)
    assert (list(params), list(hidden), len(rest)) == (paths[::2], paths[1::2], 2)
    assert list(net.states(lambda path, state: path[-1] == "v")) == paths[1::2]
    assert net.states(ShortTermState) == {}
    assert list(net.nodes()) == [(), ("units", 0), ("units", 1)]
    assert list(net.nodes(LeakyUnit)) == [("units", 0), ("units", 1)]
    with pytest.raises(ParameterError, match="a filter is a class"):
        net.states(3)  # pyright: ignore[reportArgumentType]


def test_a_cycle_ends():
    a, b = Module(), Module()
    a.b, b.a, b.s = b, a, State(0.0)
    assert list(a.states()) == [("b", "s")]
    assert list(b.states()) == [("s",)]
    assert "Module at the root" in repr(a)


def test_repr_shows_the_tree():
    assert repr(init_all_states(Net())).splitlines() == [
        "Net(",
        "  units.0: LeakyUnit(",
        "    tau: ParamState float32[] ms, 4 B",
        "    v: HiddenState float32[3] mV, 12 B",
        "  )",
        "  units.1: LeakyUnit(",
        "    tau: ParamState float32[] ms, 4 B",
        "    v: HiddenState float32[2] mV, 8 B",
        "  )",
        "  by_name.extra: State float32[], 4 B",
        "  by_name.7.0: State float32[], 4 B",
        "  first: LeakyUnit at units.0",
        ")",
    ]
    assert repr(Module()) == "Module()"


def test_repr_shows_where_states_lie():
    net = Module()
    with use_mesh(shape={"batch": 2, "neuron": 4}):
        net.V = HiddenState(jnp.zeros((2, 4000)) * u.mV)
        net.part = HiddenState(jnp.zeros((3, 4000), jnp.float16))
        net.tree = HiddenState({"g": jnp.zeros((2, 4)) * u.mS, "n": jnp.zeros(3, int)})
        net.one = HiddenState(jnp.zeros(3))
    with use_mesh(devices=1):
        net.single = HiddenState(jnp.zeros(1000))
    assert repr(net).splitlines()[1:-1] == [
        "  V: HiddenState float32[2,4000] mV, batch:2, neuron:4, 32 kB",
        "  part: HiddenState float16[3,4000], neuron:4, 24 kB",
        "  tree: HiddenState {'g': float32[2,4] mS, 'n': int32[3]}, batch:2, neuron:4, whole on 8 devices, 44 B",
        "  one: HiddenState float32[3], whole on 8 devices, 12 B",
        "  single: HiddenState float32[1000], 4 kB",
    ]


def test_errors_name_the_attribute():
    unit = init_all_states(LeakyUnit(3))
    with pytest.raises(StateValueError, match="HiddenState 'LeakyUnit.v' holds"):
        unit.v.value = jnp.zeros(2)


def test_update_is_asked_for():
    with pytest.raises(NotImplementedError, match="Module does not define update"):
        Module()()


@pytest.mark.parametrize("again", [init_all_states, reset_all_states, lambda unit: unit.init_state()])
def test_init_rebinds_in_place(again):
    unit = init_all_states(LeakyUnit(3))
    state, step = unit.v, jit(unit)
    with environ.context(dt=0.1 * u.ms):
        fresh = step(1.0 * u.mV)
        step(1.0 * u.mV)
        again(unit)
        assert unit.v is state and not state.value.mantissa.any()
        assert (step(1.0 * u.mV) == fresh).all()
    assert step.compilations == 1


def test_a_batch_compiles_once_more_and_reset_keeps_it():
    unit = init_all_states(LeakyUnit(3))
    step = jit(unit)
    with environ.context(dt=0.1 * u.ms):
        step(1.0 * u.mV)
        state = unit.v
        init_all_states(unit, batch_size=4)
        assert step(1.0 * u.mV).shape == (4, 3) and unit.v is state
        reset_all_states(unit)
        assert step(1.0 * u.mV).shape == (4, 3)
        assert step.compilations == 2
        init_all_states(unit)
        assert step(1.0 * u.mV).shape == (3,)
    assert step.compilations == 2


def test_init_may_run_compiled():
    unit = init_all_states(LeakyUnit(3))
    state = unit.v
    jit(lambda: (init_all_states(unit, batch_size=2), None)[1])()
    assert unit.v is state and state.value.shape == (2, 3)


def test_containers_of_states_are_rebound_and_shared_states_are_not():
    class Layers(Module):
        def __init__(self, shared):
            super().__init__()
            self.outside = shared

        def init_state(self, batch_size=None):
            self.gates = [HiddenState(jnp.zeros(2)), {"c": HiddenState(jnp.zeros(3))}]
            self.tied = self.outside

    shared = ParamState(1.0)
    model = init_all_states(Layers(shared))
    first, second = model.gates[0], model.gates[1]["c"]
    first.value = first.value + 1
    init_all_states(model)
    assert model.gates[0] is first and model.gates[1]["c"] is second and not first.value.any()
    assert model.tied is shared


def test_assigning_outside_of_init_replaces_and_nothing_compiled_keeps_the_old():
    net = init_all_states(Net())
    step = jit(net)
    with environ.context(dt=0.1 * u.ms):
        step(1.0 * u.mV)
        net.units[0].v = mine = HiddenState(jnp.ones(3) * u.mV)
        assert net.units[0].v is mine
        step(1.0 * u.mV)
        assert mine.value[0] == 1 * u.mV and step.compilations == 2
        mine.value = 2 * mine.value
        net.units = [init_all_states(LeakyUnit(3))]
        step(10.0 * u.mV)
        assert mine.value[0] == 2 * u.mV and net.units[0].v.value[0] > 0 * u.mV
        step(10.0 * u.mV)
    assert step.compilations == 3


class Chain(Module):
    """A weight of its own, and other Modules below."""

    def __init__(self, **below):
        super().__init__()
        self.w = ParamState(jnp.zeros(1))
        for name, module in below.items():
            setattr(self, name, module)

    def update(self, x):
        return x + self.w.value


def test_the_hierarchy_counts_modules():
    net = Chain(a=Chain(b=Chain()), c=[Chain(), {"d": Chain()}])
    own, children, grandchildren = ["w"], ["a.w", "c.0.w", "c.1.d.w"], ["a.b.w"]

    def found(low, high):
        return [walk.dotted(path) for path in net.states(allowed_hierarchy=(low, high))]

    assert found(0, 0) == own
    assert found(1, 1) == children
    assert found(2, 2) == grandchildren
    assert found(0, 1) == own + children
    assert found(1, 9) == children + grandchildren
    assert list(net.nodes(allowed_hierarchy=(0, 0))) == [()]
    assert list(net.nodes(Chain, allowed_hierarchy=(1, 1))) == [("a",), ("c", 0), ("c", 1, "d")]

    assert [name for name, _ in net.named_parameters(recurse=False)] == own
    assert [name for name, _ in net.named_parameters("net")] == ["net.w", "net.a.w", "net.a.b.w", "net.c.0.w", "net.c.1.d.w"]
    assert list(net.parameters()) == list(net.states(ParamState).values()) and list(net.parameters(recurse=False)) == [net.w]
    assert dict(net.named_children()) == {"a": net.a, "c.0": net.c[0], "c.1.d": net.c[1]["d"]}
    assert list(net.children()) == [net.a, net.c[0], net.c[1]["d"]]
    assert list(net.modules()) == [net, net.a, net.a.b, *net.children()][:3] + [net.c[0], net.c[1]["d"]]
    assert list(net.modules(include_self=False)) == list(net.modules())[1:]
    assert [name for name, _ in net.named_modules()] == ["", "a", "a.b", "c.0", "c.1.d"]
    with pytest.raises(ParameterError, match="allowed_hierarchy=1"):
        net.states(allowed_hierarchy=1)  # pyright: ignore[reportArgumentType]


def test_what_is_reached_in_two_ways_counts_as_a_child_all_the_same():
    """Depth first, `shared` and its weight are found inside `a`."""
    shared = Chain()
    net = Chain(a=Chain(inner=shared), shared=shared)
    net.tied = shared.w
    assert [walk.dotted(path) for path in net.states()] == ["w", "a.w", "a.inner.w"]
    assert [name for name, _ in net.named_children()] == ["a", "shared"]
    assert [name for name, _ in net.named_parameters(recurse=False)] == ["w", "tied"]
    assert list(net.states(allowed_hierarchy=(1, 1))) == [("a", "w")]
    assert not net.states(allowed_hierarchy=(2, 2)) and not net.nodes(allowed_hierarchy=(2, 2))


def test_states_and_gradients_are_trees_for_jax():
    """Also where a dict has keys of several kinds, which JAX could not sort."""
    net = Module()
    net.by_key = {"a": State(jnp.ones(2) * u.mV), 7: [State(1.0)], (1, 2): State(2.0)}
    net.by_number = {3: State(4.0), 1: State(5.0)}
    assert list(net.states()) == [("by_key", "a"), ("by_key", "7", 0), ("by_key", "(1, 2)"), ("by_number", 3), ("by_number", 1)]
    values = {path: state.value for path, state in net.states().items()}
    grads = jax.tree.map(jnp.ones_like, values)
    updated = jax.tree.map(lambda p, g: p - 0.5 * g, values, grads)
    for path, state in net.states().items():
        state.value = updated[path]
    assert net.by_key["a"].value[0] == 0.5 * u.mV and net.by_number[1].value == 4.5
    with pytest.raises(ParameterError, match="by_key.*written alike"):
        net.by_key["(1, 2)"] = State(0.0)
        net.states()


def test_state_trees():
    net = init_all_states(Net())
    tree = net.state_trees()
    assert tree["units"][1]["v"] is net.units[1].v and tree["by_name"]["7"][0] is net.by_name[7][0]
    params, rest = net.state_trees(ParamState, ...)
    assert params == {"units": {n: {"tau": net.units[n].tau} for n in (0, 1)}}
    assert set(rest) == {"units", "by_name"}


@pytest.mark.parametrize("x", [2.0, np.ones(3), jnp.ones(3), [1, 2]], ids=["float", "numpy", "jax", "list"])
def test_calling_by_shift(x):
    class Twice(Module):
        def update(self, x):
            return 2 * x

    np.testing.assert_array_equal(x >> Twice() >> Twice(), 4 * x)


def test_names():
    assert Module().name is None and Module("net").name == "net"


def test_sequential():
    net = Sequential(Chain(), lambda x: 3 * x, Chain())
    net[2].w.value = jnp.ones(1)
    np.testing.assert_array_equal(net(jnp.ones(1)), [4])
    np.testing.assert_array_equal(jit(net)(jnp.ones(1)), [4])
    assert list(net.states()) == [("layers", 0, "w"), ("layers", 2, "w")] and len(net) == 3
    np.testing.assert_array_equal(net[1:](jnp.ones(1)), [4])
    assert net[1:][1] is net[2] is net[-1]
    two = Sequential(lambda a, b: a + b, Chain())
    np.testing.assert_array_equal(two(1, 2), [3])
    with pytest.raises(ParameterError, match="layer 1 is 3"):
        Sequential(Chain(), 3)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("shape", ["wide", "deep", "shared"])
def test_walks_visit_every_module_once(shape, monkeypatch):
    """Of 1000 Modules; the deep model is deeper than Python's stack."""
    modules = [Chain() for _ in range(1000)]
    if shape == "wide":
        modules[0].below = modules[1:]
    else:
        for first, second in zip(modules, modules[1:], strict=False):
            first.next = second
            if shape == "shared":
                first.all_the_others = [modules[0], modules[-1], first.w]
    visits = 0
    members = walk.members

    def counted(*args):
        nonlocal visits
        visits += 1
        return members(*args)

    monkeypatch.setattr(walk, "members", counted)
    assert len(modules[0].states()) == 1000 and visits == 1000
    assert len(modules[0].nodes()) == 1000 and visits == 2000
    assert len(modules[0].states(allowed_hierarchy=(0, 10**6))) == 1000 and visits == 3000
    assert len(modules[0].states(allowed_hierarchy=(0, 0))) >= 1 and visits == 3001
    init_all_states(modules[0])
    assert visits == 4001
    assert repr(modules[0]).count("ParamState float32[1]") == 1000


def test_layers_are_put_into_a_sequential():
    net = Sequential(lambda x: x + 1)
    double = jit(net)
    assert double(1.0) == 2.0
    net.append(lambda x: 2 * x)
    net.insert(0, lambda x: x - 1)
    net.insert(-1, lambda x: x + 10)
    net.extend([lambda x: x / 2])
    assert len(net) == 5 and net(3.0) == 2 * (3.0 + 10) / 2
    with pytest.raises(IndexError, match="there are 5 layers"):
        net.insert(7, lambda x: x)
    with pytest.raises(ParameterError, match="give Modules"):
        net.append(3)


def test_a_compiled_function_sees_a_layer_that_came_later():
    class Gain(Module):
        def __init__(self):
            super().__init__()
            self.g = ParamState(2.0)

        def update(self, x):
            return self.g.value * x

    net = Sequential(Gain())
    run = jit(lambda x: net(x))
    assert run(1.0) == 2.0
    net.append(Gain())
    assert run(1.0) == 4.0
