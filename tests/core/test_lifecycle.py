"""A whole model is allocated, reset and loaded: in order, in place, all of it or nothing, and nothing is ignored."""

import brainunit as u
import jax.numpy as jnp
import numpy as np
import pytest

import dist_sim as ds
from dist_sim.core import HiddenState, Module, ParamState, State, environ, init_all_states, reset_all_states, transform
from dist_sim.core.lifecycle import assign_state_values, call_order, vmap_init_all_states
from dist_sim.errors import ParameterError, StateValueError
from dist_sim.nest.neurons import iaf_psc_delta


class Cell(Module):
    def __init__(self, size=3):
        super().__init__()
        self.size = size
        self.w = ParamState(jnp.ones(size))

    def init_state(self, batch_size=None, start=0.0):
        shape = (self.size,) if batch_size is None else (batch_size, self.size)
        self.v = HiddenState(jnp.full(shape, start) * u.mV)


class Single(Module):
    """Knows no batches."""

    def init_state(self):
        self.v = HiddenState(jnp.zeros(3))


def net(*layers):
    model = Module()
    model.layers = list(layers)
    return model


def ordered(log, level=None):
    """A Module that notes when it is allocated and reset."""
    mark = call_order(level) if level is not None else lambda method: method

    class Ordered(Module):
        @mark
        def init_state(self, batch_size=None):
            log.append(("init", level, self.name))

        @mark
        def reset_state(self, batch_size=None):
            log.append(("reset", level, self.name))

    return Ordered


@pytest.mark.parametrize("call, name", [(init_all_states, "init"), (reset_all_states, "reset")])
def test_call_order(call, name):
    log = []
    levels = [3, None, 0, 3, None, 1]
    model = net(*(ordered(log, level)(f"{n}") for n, level in enumerate(levels)))
    assert call(model) is model
    assert log == [(name, level, n) for level, n in [(None, "1"), (None, "4"), (0, "2"), (1, "5"), (3, "0"), (3, "3")]]


def test_call_order_as_brainstate():
    bst = pytest.importorskip("brainstate")
    log = []

    def layer(level):
        class Layer(bst.nn.Module):
            def init_state(self, *args, **kwargs):
                log.append(level)

        if level is not None:
            Layer.init_state = bst.nn.call_order(level)(Layer.init_state)
        return Layer()

    model = bst.nn.Module()
    levels = [3, None, 0, 2]
    model.layers = [layer(level) for level in levels]
    model.init_state = lambda *args, **kwargs: None
    bst.nn.init_all_states(model)
    mine = []
    init_all_states(net(*(ordered(mine, level)() for level in levels)))
    assert [level for _, level, _ in mine] == log


def test_call_order_is_inherited_and_bounded():
    log = []

    class Child(ordered(log, 2)):
        pass

    init_all_states(net(Child("late"), ordered(log)("early")))
    assert [name for _, _, name in log] == ["early", "late"]
    for level in (-1, 10):
        with pytest.raises(ParameterError, match="allowed are 0 to 9"):
            call_order(level)
        call_order(level, check_order_boundary=False)


@pytest.mark.parametrize("args, kwargs", [((4,), {}), ((), {"batch_size": 4})])
def test_a_batch_is_the_first_axis_and_stays(args, kwargs):
    cell = Cell()
    model = init_all_states(net(cell, Module()), *args, **kwargs)
    v = cell.v
    assert v.value.shape == (4, 3)
    for again in (model, net(cell)):
        v.value = v.value + 1 * u.mV
        reset_all_states(again)
        assert cell.v is v and v.value.shape == (4, 3) and not v.value.mantissa.any()
    reset_all_states(model, batch_size=2)
    reset_all_states(model)
    assert v.value.shape == (2, 3)
    reset_all_states(model, batch_size=None)
    reset_all_states(model)
    assert v.value.shape == (3,)


@pytest.mark.parametrize("call", [init_all_states, reset_all_states])
@pytest.mark.parametrize("args, kwargs", [((4,), {}), ((), {"batch_size": 4})])
def test_a_batch_is_never_ignored(call, args, kwargs):
    cell, single = Cell(), Single()
    model = init_all_states(net(cell, single))
    cell.v.value = cell.v.value + 1 * u.mV
    with pytest.raises(ParameterError, match=r"Single \(layers.1\) does not support batches.*batch_size=None"):
        call(model, *args, **kwargs)
    assert cell.v.value.shape == (3,) and cell.v.value[0] == 1 * u.mV  # nothing was called
    call(model, *args, **kwargs, node_to_exclude=Single)
    assert cell.v.value.shape == (4, 3) and single.v.value.shape == (3,)
    call(model, batch_size=None)
    assert cell.v.value.shape == (3,)


def test_a_reset_without_batch_keeps_what_is_there():
    """A Module whose reset knows no batches, as it needs none."""

    class Zeroed(Cell):
        def reset_state(self):
            self.v.value = 0 * self.v.value

    model = init_all_states(net(Zeroed(), Cell()), batch_size=4)
    reset_all_states(model)
    assert {state.value.shape for state in model.states(HiddenState).values()} == {(4, 3)}


def test_nest_neurons_take_a_batch():
    with environ.context(dt=0.1 * u.ms):
        cells = init_all_states(iaf_psc_delta(3), batch_size=2)
    assert cells.V_m.shape == (2, 3) and (cells.V_m == -70 * u.mV).all()


def test_arguments_go_to_every_init_state():
    model = init_all_states(net(Cell(), Cell(2)), None, start=3.0)
    assert all((state.value == 3.0 * u.mV).all() for state in model.states(HiddenState).values())
    with pytest.raises(ParameterError, match=r"Cell \(layers.0\): init_state.*unexpected keyword argument 'stat'"):
        init_all_states(model, stat=3.0)
    with pytest.raises(ParameterError, match="node_to_exclude.3.: a filter is"):
        init_all_states(model, node_to_exclude=3)  # pyright: ignore[reportArgumentType]


def test_re_initialising_keeps_hooks():
    model = init_all_states(Cell())
    log = []
    model.v.register_hook("write_after", lambda ctx: log.append(ctx.operation))
    init_all_states(model)
    assert log == ["write_after"]


class Noisy(Module):
    def init_state(self, batch_size=None):
        self.v = HiddenState(ds.random.normal(0 * u.mV, 1 * u.mV, size=3))
        self.shared = State(jnp.zeros(()))

    def update(self, x):
        self.v.value = self.v.value + x


def is_plain(path, state):
    return type(state) is State


def test_lanes_start_with_random_numbers_of_their_own():
    ds.random.seed(3)
    model = net(Noisy(), Noisy())
    assert vmap_init_all_states(model, axis_size=4, state_to_exclude=is_plain, state_tag="lane") is model
    one, two = model.layers
    assert one.v.value.shape == two.v.value.shape == (4, 3) and one.shared.value.shape == ()
    assert len(np.unique(np.concatenate([one.v.value.mantissa, two.v.value.mantissa]))) == 24
    assert set(model.states("lane").values()) >= {one.v, two.v}
    first, object_ = one.v.value, one.v
    vmap_init_all_states(model, axis_size=4, state_to_exclude=is_plain)
    assert one.v is object_ and one.v.value.shape == (4, 3) and (one.v.value != first).all()
    before = one.v.value
    transform.vmap(one, in_states=one.v)(jnp.arange(4.0) * u.mV)
    np.testing.assert_allclose((one.v.value - before).mantissa, np.arange(4.0)[:, None] * np.ones(3), rtol=1e-5)


def test_a_reset_does_not_drop_lanes():
    model = vmap_init_all_states(net(Cell()), axis_size=4)
    with pytest.raises(ParameterError, match=r"Cell \(layers.0\) was allocated by vmap_init_all_states for 4 lanes"):
        reset_all_states(model)
    init_all_states(model)
    reset_all_states(model)
    assert model.layers[0].v.value.shape == (3,)
    with pytest.raises(ParameterError, match="axis_size=0"):
        vmap_init_all_states(model, axis_size=0)


def test_values_are_loaded_by_path():
    source, target = (init_all_states(net(Cell(), Cell(2)), start=start) for start in (1.0, 0.0))
    values = {path: state.value for path, state in source.states().items()}
    objects = target.states()
    assert assign_state_values(target, values) == ([], [])
    assert target.states() == objects and target.layers[0].v.value[0] == 1 * u.mV
    dotted = {"layers.0.w": np.full(3, 5.0), "layers.9.w": 1.0, ("x", 0): 2.0}
    unexpected, missing = assign_state_values(target, dotted, {("layers", 0, "w"): np.full(3, 6.0)})
    assert (target.layers[0].w.value == 6).all()
    assert unexpected == ["layers.9.w", ("x", 0)]
    assert missing == [("layers", 0, "v"), ("layers", 1, "w"), ("layers", 1, "v")]


@pytest.mark.parametrize(
    "value", [jnp.zeros(3), jnp.zeros(3) * u.nA, jnp.zeros(3) * u.volt, jnp.zeros(4) * u.mV, [jnp.zeros(3) * u.mV], State(0.0)]
)
def test_what_does_not_fit_is_refused_and_nothing_is_loaded(value):
    model = init_all_states(net(Cell()))
    with pytest.raises(StateValueError, match=r"HiddenState at layers.0.v holds float32\[3\] mV; got "):
        assign_state_values(model, {"layers.0.w": np.zeros(3), "layers.0.v": value})
    assert model.layers[0].w.value.all()


def test_names_are_public():
    for name in (
        "Module",
        "Sequential",
        "init_all_states",
        "reset_all_states",
        "assign_state_values",
        "call_order",
        "vmap_init_all_states",
    ):
        assert callable(getattr(ds.nn, name))
    assert ds.graph.treefy_split and ds.filters.Not
