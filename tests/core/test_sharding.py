"""A State keeps its sharding through every write, and elementwise code on it communicates nothing."""

import re

import brainunit as u
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from dist_sim.core import HiddenState, Module, ParamState, environ, init_all_states, reset_all_states, transform
from dist_sim.errors import StateValueError, TraceContextError

COLLECTIVES = re.compile(r"gather|all-reduce|all-to-all|collective-permute|reduce-scatter|collective-broadcast")


@pytest.fixture
def split():
    devices = jax.devices()
    if len(devices) < 4:
        pytest.skip("needs 4 devices")
    return NamedSharding(Mesh(np.array(devices[:4]), ("neuron",), axis_types=(AxisType.Auto,)), P("neuron"))


class Decay(Module):
    def __init__(self, sharding, size=8):
        super().__init__()
        self.size = size
        self.v = HiddenState(jnp.arange(size) * 1.0 * u.mV, sharding=sharding)
        self.tau = ParamState(jnp.full(size, 10.0) * u.ms, sharding=sharding)

    def init_state(self, batch_size=None):
        batch = () if batch_size is None else (batch_size,)
        self.v = HiddenState(jnp.zeros((*batch, self.size)) * u.mV)

    def update(self):
        self.v.value = self.v.value * u.math.exp(-environ.get_dt() / self.tau.value)
        return self.v.value


def lies_split(state, sharding):
    (leaf,) = jax.tree.leaves(state.value)
    return leaf.sharding == sharding


def quietly(f):
    return lambda: (f(), None)[1]


DRIVES = {
    "eager": lambda m: m(),
    "jit": lambda m: transform.jit(m)(),
    "donate": lambda m: transform.jit(m, donate=True)(),
    "for_loop": lambda m: transform.for_loop(m, length=1),
    "jit(for_loop)": lambda m: transform.jit(lambda: transform.for_loop(m, length=1))(),
    "while_loop": lambda m: transform.while_loop(lambda n: n < 1, lambda n: (m(), n + 1)[1], 0),
    "fori_loop": lambda m: transform.fori_loop(0, 1, lambda i, x: quietly(m)()),
    "jit(fori_loop)": lambda m: transform.jit(lambda n: transform.fori_loop(0, n, lambda i, x: quietly(m)()))(1),
    "cond": lambda m: transform.cond(True, quietly(m), lambda: None),
    "jit(cond)": lambda m: transform.jit(lambda p: transform.cond(p, quietly(m), lambda: None))(True),
    "jit(switch)": lambda m: transform.jit(lambda n: transform.switch(n, [quietly(m), lambda: None]))(0),
    "scan(jit)": lambda m: transform.scan(lambda c, x: (c, transform.jit(m)()), 0, None, length=1),
}


@pytest.mark.parametrize("drive", DRIVES.values(), ids=DRIVES)
def test_a_transform_keeps_the_sharding(split, drive):
    model, alone = Decay(split), Decay(None)
    with environ.context(dt=0.1 * u.ms):
        drive(model)
        alone()
    assert lies_split(model.v, split) and model.v.sharding == split
    assert lies_split(model.tau, split)
    assert u.math.allclose(model.v.value, alone.v.value)


def test_a_write_that_lies_elsewhere_is_moved(split):
    model = Decay(split)
    model.v.value = jnp.ones(8) * u.mV
    assert lies_split(model.v, split)
    model.v.value = np.ones(8) * u.mV
    assert lies_split(model.v, split)

    @transform.jit
    def gather():
        model.v.value = jax.lax.with_sharding_constraint(model.v.value, NamedSharding(split.mesh, P()))

    # Placed by the program itself, not afterwards.
    (placed,) = jax.tree.leaves(gather.lower().compile().output_shardings)
    assert placed.is_equivalent_to(split, 1)
    gather()
    assert lies_split(model.v, split)


def test_init_and_reset_keep_the_sharding_and_the_object(split):
    model = Decay(split)
    state = model.v
    with environ.context(dt=0.1 * u.ms):
        step = transform.jit(model)
        step()
        init_all_states(model)
        assert model.v is state and lies_split(state, split)
        step()
        assert step.compilations == 1
        init_all_states(model, batch_size=3)
        # The batch is a new axis in front; the neurons stay split.
        assert lies_split(state, NamedSharding(split.mesh, P(None, "neuron")))
        assert step().shape == (3, 8)
        reset_all_states(model)
        assert lies_split(state, NamedSharding(split.mesh, P(None, "neuron")))
        transform.jit(quietly(lambda: init_all_states(model)))()
    assert model.v is state and lies_split(state, split)
    assert state.sharding == split


def test_a_state_can_be_moved_later(split):
    state = HiddenState(jnp.zeros(8))
    step = transform.jit(lambda: setattr(state, "value", state.value + 1))
    step()
    state.sharding = split
    step()
    assert lies_split(state, split) and state.value.tolist() == [2] * 8 and step.compilations == 2
    with pytest.raises(StateValueError, match="cannot be split"):
        HiddenState(jnp.zeros(()), sharding=split)
    with pytest.raises(StateValueError, match="cannot change inside a transform"):
        transform.jit(lambda: setattr(state, "sharding", None))()


def test_protection_holds_for_sharded_states(split):
    model = Decay(split)
    before = model.v.value
    with environ.context(dt=0.1 * u.ms), pytest.raises(TraceContextError):
        jax.jit(model)()
    with pytest.raises(StateValueError):
        transform.jit(lambda: setattr(model.v, "value", jnp.zeros(4) * u.mV))()
    assert model.v.value is before


def test_an_elementwise_loop_communicates_nothing(split):
    model = Decay(split, size=1024)

    @transform.jit(donate=True)
    def run(steps):
        transform.fori_loop(0, steps, lambda i, x: quietly(model)())

    with environ.context(dt=0.1 * u.ms):
        text = run.lower(10).compile().as_text()
        assert "f32[256]" in text and "f32[1024]" not in text
        assert not COLLECTIVES.search(text)
        run(10)
        run(7)
    assert run.compilations == 1 and lies_split(model.v, split)

    @transform.jit
    def total():
        return model.v.value.sum()

    # The pattern does find communication where there is some.
    assert COLLECTIVES.search(total.lower().compile().as_text())
