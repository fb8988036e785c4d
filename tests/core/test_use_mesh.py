"""States find their place on a mesh by the names of their axes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

import dist_sim as ds
from dist_sim.core import (
    BatchState,
    HiddenState,
    LongTermState,
    Module,
    ParamState,
    ShortTermState,
    State,
    init_all_states,
    reset_all_states,
    transform,
)
from dist_sim.errors import DeviceError, ParameterError, StateValueError
from dist_sim.run.session import Session

KINDS = {
    # kind: spec of (4, 8) on batch x neuron, and of (8,)
    State: (P(), P()),
    ParamState: (P(), P()),
    LongTermState: (P(), P()),
    HiddenState: (P("batch", "neuron"), P("neuron")),
    ShortTermState: (P("batch", "neuron"), P("neuron")),
    BatchState: (P("batch"), P("batch")),
}


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_of_state_has_its_axes(kind):
    with ds.use_mesh(shape={"batch": 2, "neuron": 4}) as mesh:
        for shape, spec in zip([(4, 8), (8,)], KINDS[kind], strict=True):
            state = kind(jnp.zeros(shape))
            assert state.sharding == NamedSharding(mesh, spec) == state.value.sharding
        assert kind(0.0).sharding == NamedSharding(mesh, P())
    assert kind(jnp.zeros(8)).sharding is None


@pytest.mark.parametrize("axes, shape, spec", [
    (("neuron",), (3, 8), P(None, "neuron")),
    (("neuron", None), (8, 3), P("neuron")),
    (("batch", "time", "neuron"), (4, 5, 8), P("batch", None, "neuron")),
    (("batch", ..., "neuron"), (4, 5, 6, 8), P("batch", None, None, "neuron")),
    (("batch", ..., "neuron"), (8,), P("neuron")),
    (("batch", ...), (4, 8), P("batch")),
    ((), (4, 8), P()),
    (("neuron",), (9,), P()),  # 4 does not divide 9
    (("batch", ..., "neuron"), (3, 8), P(None, "neuron")),
    (("neuron", "neuron"), (8, 8), P("neuron")),  # a mesh axis splits one axis
])  # fmt: skip
def test_named_axes(axes, shape, spec):
    with ds.use_mesh(shape={"batch": 2, "neuron": 4}) as mesh:
        state = State(jnp.zeros(shape), axes=axes)
    assert state.sharding == NamedSharding(mesh, spec)


def test_rules_rename_and_exempt():
    mesh = Mesh(np.array(jax.devices()[:4]).reshape(2, 2), ("x", "y"), axis_types=(AxisType.Auto,) * 2)
    with ds.use_mesh(mesh, rules={"neuron": "y", "batch": None}):
        assert HiddenState(jnp.zeros((4, 8))).sharding == NamedSharding(mesh, P(None, "y"))
        assert State(jnp.zeros(8), axes=("x",)).sharding == NamedSharding(mesh, P("x"))


def test_what_is_given_wins():
    with ds.use_mesh(devices=8) as mesh:
        assert HiddenState(jnp.zeros(8), sharding=NamedSharding(mesh, P())).sharding.spec == P()


def test_a_tree_is_placed_leaf_by_leaf():
    with ds.use_mesh(devices=4) as mesh:
        state = HiddenState({"v": jnp.zeros(8), "n": jnp.zeros(3)})
    assert state.value["v"].sharding == NamedSharding(mesh, P("neuron"))
    assert state.value["n"].sharding == NamedSharding(mesh, P())
    assert [sharding.spec for sharding in state.sharding] == [P(), P("neuron")]


class Population(Module):
    def __init__(self, size):
        super().__init__()
        self.size = size

    def init_state(self, batch_size=None):
        self.V = HiddenState(jnp.zeros(self.size if batch_size is None else (batch_size, self.size)))

    def update(self):
        self.V.value = self.V.value + 1


@pytest.mark.parametrize("again", [init_all_states, reset_all_states])
def test_a_state_stays_on_its_mesh_and_follows_its_batch(again):
    with ds.use_mesh(shape={"batch": 2, "neuron": 4}) as mesh:
        model = init_all_states(Population(8))
    V = model.V
    step = transform.jit(model)
    step()
    assert V.sharding == V.value.sharding == NamedSharding(mesh, P("neuron"))
    again(model, batch_size=4)
    step()
    assert model.V is V and V.sharding == V.value.sharding == NamedSharding(mesh, P("batch", "neuron"))
    again(model, batch_size=3)
    step()
    assert V.value.sharding == NamedSharding(mesh, P(None, "neuron"))


def test_a_new_mesh_takes_states_along_when_they_are_initialised_anew():
    with ds.use_mesh(devices=2):
        model = init_all_states(Population(8))
    with ds.use_mesh(devices=4) as mesh:
        init_all_states(model)
    assert model.V.value.sharding == NamedSharding(mesh, P("neuron"))


def test_a_state_made_inside_compiled_code_is_placed_and_another_mesh_compiles_anew():
    @transform.jit
    def f():
        return HiddenState(jnp.zeros(8)).value + 1

    with ds.use_mesh(devices=4) as mesh:
        assert f().sharding == NamedSharding(mesh, P("neuron"))
    with ds.use_mesh(devices=2) as mesh:
        assert f().sharding == NamedSharding(mesh, P("neuron"))
    assert f.compilations == 2


def test_contexts_nest():
    with ds.use_mesh(devices=4) as outer:
        with ds.use_mesh(devices=2):
            pass
        assert HiddenState(jnp.zeros(8)).sharding.mesh == outer


def test_a_bare_mesh_takes_the_devices_of_the_run():
    with ds.use_mesh() as mesh:
        assert mesh.size == 1
    with Session(devices=3).active(), ds.use_mesh() as mesh:
        assert mesh.size == 3
        assert ds.Simulator().mesh.size == 3 and ds.Simulator(devices=2).mesh.size == 2
    with ds.use_mesh() as mesh:
        assert mesh.size == 1


def test_what_cannot_be():
    with (
        pytest.raises(ParameterError, match="give one of mesh=..., devices=... or shape"),
        ds.use_mesh(devices=2, shape={"neuron": 2}),
    ):
        pass
    with pytest.raises(ParameterError, match="the mesh has the axes neuron"), ds.use_mesh(devices=2, rules={"n": "nueron"}):
        pass
    with pytest.raises(DeviceError, match="there are 8 cpu devices"), ds.use_mesh(shape={"batch": 4, "neuron": 4}):
        pass
    with (
        pytest.raises(ParameterError, match="AxisType.Auto"),
        ds.use_mesh(jax.make_mesh((2,), ("neuron",), axis_types=(AxisType.Explicit,))),
    ):
        pass
    mesh = Mesh(np.array(jax.devices()[:4]), ("neuron",))
    with pytest.raises(StateValueError, match=r"does not divide the shape \(9,\)"):
        State(jnp.zeros(9), sharding=NamedSharding(mesh, P("neuron")))
