"""A Module is a tree; its States are selected by kind and path, and keep their identity through init and reset."""

import brainunit as u
import jax.numpy as jnp
import pytest

from dist_sim.core import HiddenState, Module, ParamState, ShortTermState, State, environ, init_all_states, reset_all_states
from dist_sim.core.transform import jit
from dist_sim.errors import ParameterError, StateValueError


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
    assert list(net.states()) == [*paths, ("by_name", "extra"), ("by_name", 7, 0)]
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
        "    tau: ParamState float32[] ms",
        "    v: HiddenState float32[3] mV",
        "  )",
        "  units.1: LeakyUnit(",
        "    tau: ParamState float32[] ms",
        "    v: HiddenState float32[2] mV",
        "  )",
        "  by_name.extra: State float32[]",
        "  by_name.7.0: State float32[]",
        "  first: LeakyUnit at units.0",
        ")",
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
