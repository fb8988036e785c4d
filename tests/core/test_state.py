"""A State is a slot of fixed structure, shape, dtype and unit, and keeps its sharding."""

import brainunit as u
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dist_sim.core import BatchState, HiddenState, LongTermState, Module, ParamState, ShortTermState, State, transform
from dist_sim.errors import DistSimError, StateValueError

KINDS = [ParamState, HiddenState, ShortTermState, LongTermState, BatchState]


def test_the_documents_first_lines():
    s = State(jnp.zeros(3))
    s.value = s.value + 1.0
    np.testing.assert_array_equal(s.value, [1, 1, 1])

    voltage = State(-65.0 * u.mV)
    assert str(voltage.value) == "-65. mV"
    voltage.value = voltage.value + 5.0 * u.mV
    assert str(voltage.value) == "-60. mV"


def test_kinds_are_siblings():
    class Everything(Module):
        def __init__(self):
            super().__init__()
            self.members = [kind(0.0) for kind in KINDS]

    model = Everything()
    for n, kind in enumerate(KINDS):
        assert list(model.states(kind)) == [("members", n)]


def tree():
    return {"w": jnp.ones((2, 3)), "b": jnp.zeros(3) * u.mV}


# (first value, written value, fits)
WRITES = {
    "same": (jnp.zeros(3), jnp.ones(3), True),
    "shape": (jnp.zeros(3), jnp.zeros(4), False),
    "rank": (jnp.zeros(3), jnp.zeros((1, 3)), False),
    "no broadcast": (jnp.zeros(3), 1.0, False),
    "dtype": (jnp.zeros(3), jnp.zeros(3, jnp.float16), False),
    "int array to float": (jnp.zeros(3), jnp.zeros(3, jnp.int32), False),
    "float array to int": (jnp.zeros(3, jnp.int32), jnp.zeros(3), False),
    "weak float": (jnp.zeros((), jnp.float16), jnp.asarray(1.0), True),
    "weak float to int": (jnp.zeros((), jnp.int32), jnp.asarray(1.0), False),
    "Python float": (jnp.zeros(()), 2.0, True),
    "Python int to float": (jnp.zeros(()), 2, True),
    "Python float to int": (jnp.zeros((), jnp.int32), 2.0, False),
    "Python float to bool": (jnp.zeros((), bool), 1.0, False),
    "numpy float64": (jnp.zeros(3), np.ones(3), True),
    "numpy int": (jnp.zeros(3), np.ones(3, int), True),
    "numpy float to int": (jnp.zeros(3, jnp.int32), np.ones(3), False),
    "no unit": (jnp.zeros(3) * u.mV, jnp.zeros(3), False),
    "a unit": (jnp.zeros(3), jnp.zeros(3) * u.mV, False),
    "other unit": (jnp.zeros(3) * u.mV, jnp.zeros(3) * u.nA, False),
    "other scale": (jnp.zeros(3) * u.mV, jnp.zeros(3) * u.volt, False),
    "the same unit, spelled differently": (jnp.zeros(3) * u.mV, jnp.zeros(3) * u.Mohm * (1.0 * u.nA), True),
    "quantity of numpy": (jnp.zeros(3) * u.mV, np.zeros(3) * u.mV, True),
    "quantity of a Python number": (-65 * u.mV, -70.0 * u.mV, True),
    "tree": (tree(), {"w": jnp.zeros((2, 3)), "b": jnp.ones(3) * u.mV}, True),
    "tree, key missing": (tree(), {"w": jnp.zeros((2, 3))}, False),
    "tree, leaf unit": (tree(), {"w": jnp.zeros((2, 3)), "b": jnp.ones(3)}, False),
    "tree, leaf shape": (tree(), {"w": jnp.zeros((3, 2)), "b": jnp.ones(3) * u.mV}, False),
    "tuple for list": ([jnp.zeros(3)], (jnp.zeros(3),), False),
    "None": (jnp.zeros(3), None, False),
    "text": (jnp.zeros(3), "three", False),
}


def assign(state, value):
    state.value = value


def assign_in_jit(state, value):
    transform.jit(lambda: assign(state, value))()


def assign_in_loop(state, value):
    transform.for_loop(lambda: assign(state, value), length=2)


@pytest.mark.parametrize("write", [assign, State.restore_value, assign_in_jit, assign_in_loop])
@pytest.mark.parametrize(("first", "value", "fits"), WRITES.values(), ids=WRITES)
def test_writes_are_checked_against_the_first_value(write, first, value, fits):
    state = HiddenState(first, name="V")
    slot, before = state._slot, state.value
    if fits:
        write(state, value)
        assert state._slot is slot
        assert jax.tree.structure(state.value) == jax.tree.structure(before)
        for old, new in zip(jax.tree.leaves(before), jax.tree.leaves(state.value), strict=True):
            assert isinstance(new, jax.Array) and not new.weak_type
            assert (new.shape, new.dtype) == (old.shape, old.dtype)
    else:
        with pytest.raises(StateValueError, match="HiddenState 'V' holds .* got"):
            write(state, value)
        assert state.value is before


def test_an_error_names_both_signatures():
    state = HiddenState(jnp.zeros(3) * u.mV, name="V")
    with pytest.raises(StateValueError, match=r"HiddenState 'V' holds float32\[3\] mV; got float32\[4\] nA\.") as caught:
        state.value = jnp.zeros(4) * u.nA
    assert isinstance(caught.value, DistSimError) and isinstance(caught.value, ValueError)


@pytest.mark.parametrize("value", ["text", object(), [1.0, "text"]], ids=["str", "object", "tree"])
def test_a_state_holds_arrays(value):
    with pytest.raises(StateValueError, match="holds arrays"):
        State(value)


def test_python_ints_with_a_unit_are_floats():
    assert State(-65 * u.mV).value.dtype == jnp.float32
    assert State(3).value.dtype == jnp.int32


def test_a_numpy_array_is_copied():
    mine = np.zeros(1024, np.float32)
    state = State(mine)
    mine[:] = 1
    assert not state.value.any()


def test_reshaping_needs_permission():
    state = State(jnp.zeros(3))
    state.reset_value(jnp.zeros((2, 3)) * u.mV)
    assert state.value.shape == (2, 3)
    with state.reshape_allowed():
        state.value = jnp.zeros(5)
    with pytest.raises(StateValueError):
        state.value = jnp.zeros(3)


def test_a_state_is_no_value_argument_or_result():
    state = State(1.0)
    with pytest.raises(StateValueError, match="assign its .value"):
        state.value = State(2.0)
    with pytest.raises(TypeError, match="Pass its .value"):
        transform.jit(lambda s: s.value)(state)
    with pytest.raises(TypeError, match="Return its .value"):
        transform.jit(lambda: state)()


def test_copy_is_apart():
    state = ParamState(jnp.zeros(3) * u.mV, "w")
    other = state.copy()
    other.value = other.value + 1 * u.mV
    assert type(other) is ParamState and not state.value.mantissa.any()


def test_tags_and_metadata_are_labels():
    s = HiddenState(jnp.zeros(3), "v", tag="membrane", source="a paper", order=2)
    assert (s.tag, s.source, s.order, s.metadata) == ("membrane", "a paper", 2, {"source": "a paper", "order": 2})
    assert s.copy().info == s.info
    with pytest.raises(AttributeError, match="'HiddenState' object has no attribute 'sources'"):
        s.sources  # noqa: B018

    model = Module()
    model.v, model.w = s, HiddenState(0.0)
    assert model.states("membrane") == {("v",): s}


def test_value_call_looks_and_changes_nothing():
    s = State({"w": jnp.ones(3), "b": jnp.ones(2) * u.mV})
    assert s.value_call(lambda x: x.shape[0])["w"] == 3
    assert s.numel() == 5 and s.value["w"].sum() == 3


def test_a_kind_of_ones_own():
    class TraceState(HiddenState):
        """An eligibility trace."""

        axes = ("neuron", ...)

    model = Module()
    model.e, model.v = TraceState(jnp.zeros(3)), HiddenState(0.0)
    assert list(model.states(TraceState)) == [("e",)]
    transform.jit(lambda: setattr(model.e, "value", model.e.value + 1))()
    assert model.e.value.sum() == 3
