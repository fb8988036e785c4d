"""RandomState: one seed, one sequence of numbers, wherever they are drawn."""

import threading

import brainunit as u
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from dist_sim.core import Module, State, random, transform
from dist_sim.core.random import RandomState
from dist_sim.core.random import state as random_state
from dist_sim.errors import ParameterError, TraceContextError, UnitError
from dist_sim.partition.mesh import use_mesh


def bits(key):
    return np.array(jax.random.key_data(key)).tolist()


def draw(rng):
    # A lone number and one of a loop may be rounded apart where a formula follows the bits: those with none are compared.
    return jnp.concatenate([rng.uniform(size=4), rng.bernoulli(0.5, 3).astype(float), rng.randint(0, 99, 2).astype(float)])


WAYS = {
    "loop": lambda rng: transform.for_loop(lambda: draw(rng), length=6),
    "branches": lambda rng: transform.for_loop(
        lambda i: transform.cond(i < 3, lambda: draw(rng), lambda: draw(rng)), jnp.arange(6)
    ),
    "compiled draws": lambda rng: transform.jit(lambda: jnp.stack([draw(rng) for _ in range(6)]))(),
    "compiled loop": lambda rng: transform.jit(lambda: transform.for_loop(lambda: draw(rng), length=6))(),
    "compiled scan": lambda rng: transform.jit(lambda: transform.scan(lambda c, _: (c + 1, draw(rng)), 0, length=6)[1])(),
}


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_loops_and_branches_draw_what_is_drawn_outside(way):
    alone, rng = RandomState(3), RandomState(3)
    wanted = np.array([draw(alone) for _ in range(6)])
    assert np.unique(wanted[:, :4]).size == 24
    assert (np.array(way(rng)) == wanted).all() and bits(rng.value) == bits(alone.value)


def test_a_compiled_function_draws_on_at_every_call():
    rng, alone = RandomState(3), RandomState(3)
    step = transform.jit(lambda: rng.uniform(size=3))
    assert all((step() == alone.uniform(size=3)).all() for _ in range(4)) and step.compilations == 1


@pytest.mark.parametrize("kind", ["uniform", "normal", "poisson", "permutation"])
def test_numbers_do_not_depend_on_where_they_lie(kind):
    mesh = jax.make_mesh((2, 4), ("x", "y"), axis_types=(jax.sharding.AxisType.Auto,) * 2)
    everywhere, here = NamedSharding(mesh, P("x", "y")), State(jnp.zeros((16, 32)))
    there = State(jnp.zeros((16, 32)), sharding=everywhere)

    def fill(state, rng):
        x = rng.permutation(512).reshape(16, 32) if kind == "permutation" else getattr(rng, kind)(**PARAMETERS[kind])
        state.value = x.astype(jnp.float32)

    for state in (here, there):
        rng = RandomState(4)
        transform.jit(lambda state=state, rng=rng: fill(state, rng))()
    assert there.value.sharding == everywhere and len(there.value.addressable_shards) == 8
    assert (np.array(here.value) == np.array(there.value)).all()


PARAMETERS = {
    "uniform": dict(size=(16, 32)),
    "normal": dict(size=(16, 32)),
    "poisson": dict(lam=3.0, size=(16, 32)),
}


def test_lanes_draw_numbers_of_their_own_and_the_outside_moves_on_once():
    outside = RandomState(7)
    lanes = [RandomState(RandomState.lane_key(outside.value, lane)) for lane in range(4)]
    after = RandomState(RandomState.after_lanes(outside.value))
    assert bits(after.value) != bits(outside.value)
    # Not even the keys that the lanes and the outside come to later may meet.
    spent = [bits(rng.split_key()) for rng in (*lanes, after, outside) for _ in range(5)]
    kept = [bits(rng.value) for rng in (*lanes, after)]
    # `outside` and `after` are one sequence, a draw apart; the lanes took the place of that draw.
    assert len({tuple(key) for key in spent}) == 30 - 4 and len({tuple(key) for key in kept}) == 5
    assert bits(jax.jit(RandomState.lane_key)(RandomState(7).value, jnp.int32(2))) == bits(
        RandomState.lane_key(RandomState(7).value, 2)
    )


def test_the_shared_source_may_be_born_inside_a_trace(monkeypatch):
    monkeypatch.setattr(random_state, "_default", None)
    steps = transform.jit(lambda: transform.for_loop(lambda: random.rand(2), length=3))
    with use_mesh(shape={"x": 2, "y": 4}):
        first = steps()
    base = RandomState(0)
    for found in (*first, *steps(), random.rand(2)):
        assert (found == base.rand(2)).all()
    assert random.DEFAULT is random_state.default() and random.DEFAULT.sharding is None


def test_a_seed_counts_with_all_its_bits_and_in_every_precision():
    with jax.enable_x64(True):
        assert bits(RandomState(2**40 + 3).value) == bits(jax.random.key(2**40 + 3)) == [256, 3]
    assert bits(RandomState(2**40 + 3).value) == [256, 3] and bits(RandomState(np.int32(9)).value) == [0, 9]
    assert bits(RandomState(jnp.int32(9)).value) == bits(RandomState(np.array([0, 9], np.uint32)).value) == [0, 9]
    assert bits(RandomState().value) != bits(RandomState().value)
    rng = RandomState(1)
    key = rng.value
    first = rng.rand(3)
    rng.set_key(key)
    assert (rng.rand(3) == first).all()
    rng.seed(1)
    assert (rng.rand(3) == first).all() and (RandomState(1).copy().rand(3) == first).all()


def test_a_key_given_is_spent_and_the_source_left_alone():
    rng = RandomState(1)
    key = jax.random.key(5)
    assert (rng.normal(size=3, key=key) == jax.random.normal(key, 3)).all() and bits(rng.value) == [0, 1]
    assert (rng.rand(3, key=5) == jax.random.uniform(key, 3)).all()


def test_seeding_reaches_numpy_and_a_context_gives_back_what_was():
    random.seed(11)
    first = random.rand(2).tolist(), np.random.rand(2).tolist()
    with random.seed_context(11):
        assert (random.rand(2).tolist(), np.random.rand(2).tolist()) == first
        with random.seed_context(12):
            assert random.rand(2).tolist() != first[0]
    went_on = random.rand(2).tolist(), np.random.rand(2).tolist()
    random.seed(11)
    random.rand(2), np.random.rand(2)
    assert went_on == (random.rand(2).tolist(), np.random.rand(2).tolist())


def test_it_belongs_to_a_module_like_any_state():
    class Noisy(Module):
        def __init__(self):
            super().__init__()
            self.rng = RandomState(2)

        def update(self):
            return self.rng.normal(size=3)

    net = Noisy()
    assert net.states(RandomState) == {("rng",): net.rng} and isinstance(net.rng, State)
    transform.jit(net)()
    assert bits(net.rng.value) != [0, 2]


def test_raw_jax_transforms_may_draw_with_a_key_only():
    rng = RandomState(2)
    with pytest.raises(TraceContextError, match="RandomState"):
        jax.jit(lambda: rng.rand(2))()
    assert bits(rng.value) == [0, 2]
    assert jax.jit(lambda key: rng.rand(2, key=key))(jax.random.key(3)).shape == (2,)


def test_threads_never_share_a_key():
    rng, keys = RandomState(1), []

    def run():
        keys.extend([bits(rng.split_key()) for _ in range(50)])

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({tuple(key) for key in keys}) == 200


def test_locations_scales_and_bounds_carry_units():
    z = RandomState(1).normal(size=5)
    draws = {
        "mean and scale": RandomState(1).normal(-60 * u.mV, 5 * u.mV, 5),
        "scale converted": RandomState(1).normal(-60 * u.mV, 0.005 * u.volt, 5),
        "mean a number": RandomState(1).normal(-60.0, 5 * u.mV, 5),
    }
    for x in draws.values():
        assert x.unit == u.mV and u.math.allclose(x, (-60 + 5 * z) * u.mV, atol=1e-4 * u.mV)
    low = RandomState(1).uniform(1 * u.ms, 2 * u.ms, 100)
    assert (low >= 1 * u.ms).all() and (low < 2 * u.ms).all()
    cut = RandomState(1).truncated_normal(-1 * u.mV, 1 * u.mV, 100, scale=3 * u.mV)
    assert cut.unit == u.mV and (u.math.abs(cut) <= 1 * u.mV).all()
    assert RandomState(1).exponential(2 * u.ms, 3).unit == RandomState(1).weibull_min(2.0, 3 * u.ms).unit == u.ms
    vectors = RandomState(1).multivariate_normal(np.zeros(2) * u.mV, np.eye(2) * u.mV**2, 4)
    assert vectors.unit == u.mV and vectors.shape == (4, 2)
    assert RandomState(1).choice([1.0, 2.0] * u.ms, 3).unit == RandomState(1).permutation([1.0, 2.0] * u.ms).unit == u.ms
    # The shape follows the parameters; a quantity whose units cancel is a number.
    assert RandomState(1).normal(np.zeros(3) * u.mV, 1 * u.mV).shape == (3,)
    assert RandomState(1).bernoulli(u.Quantity(np.full(4, 0.5))).shape == (4,)
    assert RandomState(1).poisson((2 * u.Hz) * (500 * u.ms), 4).dtype == jnp.int32


@pytest.mark.parametrize(("bad", "error"), [
    (lambda: RandomState(-1), ParameterError),
    (lambda: RandomState(2**64), ParameterError),
    (lambda: RandomState(1.5), ParameterError),
    (lambda: RandomState(True), ParameterError),
    (lambda: RandomState(np.arange(3)), ParameterError),
    (lambda: RandomState(jax.random.key(1, impl="rbg")), ParameterError),
    (lambda: RandomState(1).rand(2, key="a"), ParameterError),
    (lambda: RandomState(1).set_key(None), ParameterError),
    (lambda: RandomState(1).split_key(0), ParameterError),
    (lambda: RandomState(1).bernoulli(1.5), ParameterError),
    (lambda: RandomState(1).binomial(3, np.array([0.1, np.nan])), ParameterError),
    (lambda: RandomState(1).normal(1 * u.mV, 1 * u.ms), UnitError),
    (lambda: RandomState(1).poisson(3 * u.Hz), UnitError),
    (lambda: RandomState(1).multivariate_normal(np.zeros(2) * u.mV, np.eye(2) * u.mV), UnitError),
    (lambda: RandomState(1).multivariate_normal(np.zeros(2), np.eye(2) * u.mV), UnitError),
])  # fmt: skip
def test_bad_input_is_refused(bad, error):
    with pytest.raises(error, match="seed|random|split_key"):
        bad()


def test_several_processes_need_a_seed(monkeypatch):
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    with pytest.raises(ParameterError, match="differ between the processes"):
        RandomState().seed()
