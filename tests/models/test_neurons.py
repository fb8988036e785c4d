"""What holds for every BrainPy-style neuron model."""

import re
from types import SimpleNamespace

import brainunit as u
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from dist_sim.core import HiddenState, environ, init_all_states, transform
from dist_sim.errors import ParameterError
from dist_sim.models import neurons
from dist_sim.models.parameter import Parameter

COLLECTIVES = re.compile(r"all-gather|all-reduce|all-to-all|collective-permute|reduce-scatter|collective-broadcast")
BATCH, SIZE, STEPS = 4, 512, 60

MODELS = [
    model for model in vars(neurons).values() if isinstance(model, type) and issubclass(model, neurons.Neuron)
    and model is not neurons.Neuron
]  # fmt: skip
every_model = pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)


@pytest.fixture(autouse=True)
def clock():
    with environ.context(dt=0.1 * u.ms, t=0.0 * u.ms):
        yield


def currents(*shape):
    """A different strong current for each neuron, and each step, that makes most of them spike."""
    return np.random.default_rng(0).uniform(0.0, 60.0, shape).astype(np.float32) * u.mA


def trace(neuron, xs):
    """Spikes of each step, what the hidden States hold in the end, and the compiled function."""

    @transform.jit
    def run(xs):
        return transform.for_loop(neuron, xs)

    spikes = np.asarray(run(xs))
    found = {path: jax.device_get(state.value) for path, state in neuron.states(HiddenState).items()}
    return SimpleNamespace(spikes=spikes, states={path: u.get_mantissa(value) for path, value in found.items()}, program=run)


def test_there_are_models():
    assert "LIF" in [model.__name__ for model in MODELS]


@every_model
def test_the_batch_is_the_first_axis(model):
    neuron = model((3, 2))
    assert neuron.in_size == neuron.out_size == (3, 2) and model(np.int64(5)).in_size == (5,)
    for batch_size, shape in ((None, (3, 2)), (BATCH, (BATCH, 3, 2)), (None, (3, 2))):
        init_all_states(neuron, batch_size)
        assert {u.math.shape(state.value) for state in neuron.states(HiddenState).values()} == {shape}
        assert neuron(1.0 * u.mA).shape == shape == neuron.get_spike().shape


@every_model
@pytest.mark.parametrize("spk_reset", ["soft", "hard"])
def test_rows_of_a_batch_are_runs_of_their_own(model, spk_reset):
    xs = currents(STEPS, BATCH, 16)
    together = trace(init_all_states(model(16, spk_reset=spk_reset), BATCH), xs)
    assert 0 < together.spikes.mean() < 1
    for row in range(BATCH):
        alone = trace(init_all_states(model(16, spk_reset=spk_reset)), xs[:, row])
        assert np.array_equal(together.spikes[:, row], alone.spikes)
        for path, value in alone.states.items():
            assert np.allclose(together.states[path][row], value, rtol=1e-6, atol=0)


def parameters(model, spread):
    """Nothing, or for every parameter of the model an array with values around its default."""
    default = model(1)
    names = [name for name, found in vars(model).items() if isinstance(found, Parameter)] if spread else []
    return {name: getattr(default, name) * np.linspace(0.9, 1.1, SIZE) for name in names}


@every_model
@pytest.mark.parametrize("spread", [False, True], ids=["one value", "one per neuron"])
@pytest.mark.parametrize("batch_size", [2, 4])
def test_placement_changes_no_bit_and_costs_no_communication(model, spread, batch_size):
    devices = jax.devices()
    if len(devices) < 8:
        pytest.skip("needs 8 devices")
    mesh = Mesh(np.array(devices[:8]).reshape(2, 4), ("batch", "neuron"))
    xs = currents(STEPS, batch_size, SIZE)
    alone, split = (init_all_states(model(SIZE, **parameters(model, spread)), batch_size) for _ in range(2))
    for state in split.states().values():
        # Also one row per device: XLA compiles that to another program than the whole batch.
        state.sharding = NamedSharding(mesh, P("batch", "neuron") if u.math.ndim(state.value) == 2 else P("neuron"))
    one, eight = trace(alone, xs), trace(split, jax.device_put(xs, NamedSharding(mesh, P(None, "batch", "neuron"))))
    assert 0 < one.spikes.mean() < 1 and np.array_equal(one.spikes, eight.spikes)
    assert len(one.states) > 0
    for path, value in one.states.items():
        assert np.array_equal(value, eight.states[path]), path
    for state in split.states().values():
        assert u.get_mantissa(state.value).sharding == state.sharding
    assert not COLLECTIVES.search(eight.program.lower(xs).compile().as_text())


@every_model
def test_gradients_are_finite_and_reach_the_first_step(model):
    def loss(scale):
        neuron = model(16)
        neuron.init_state()
        return transform.for_loop(neuron, currents(STEPS, 16) * scale).mean()

    gradient = jax.jit(jax.grad(loss))(jnp.linspace(0.01, 1.0, STEPS)[:, None])
    # What flows in while a neuron is refractory changes nothing.
    assert np.isfinite(gradient).all() and np.count_nonzero(gradient) > STEPS / 5 and gradient[0] != 0


@every_model
def test_compiled_steps_are_the_eager_ones(model):
    xs = currents(10, 16)
    eager = init_all_states(model(16))
    spikes = [np.asarray(eager(x)) for x in xs]
    compiled = trace(init_all_states(model(16)), xs)
    assert np.array_equal(spikes, compiled.spikes)


@every_model
@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"in_size": 0}, "whole number of at least 1"),
        ({"in_size": (3, -1)}, "whole number of at least 1"),
        ({"in_size": ()}, "whole number of at least 1"),
        ({"in_size": 2.5}, "whole number of at least 1"),
        ({"in_size": "ten"}, "whole number of at least 1"),
        ({"spk_reset": "Soft"}, "allowed are 'soft' and 'hard'"),
        ({"spk_fun": 0.3}, "needs a function"),
    ],
    ids=str,
)
def test_bad_arguments_are_refused(model, given, message):
    with pytest.raises(ParameterError, match=message) as caught:
        model(**{"in_size": 3} | given)
    assert str(caught.value).startswith(f"{model.__name__}({next(iter(given))}=")


@every_model
@pytest.mark.parametrize("batch_size", [0, -2, 1.5])
def test_a_bad_batch_size_is_refused(model, batch_size):
    with pytest.raises(ParameterError, match=rf"init_state\(batch_size={batch_size}\)"):
        init_all_states(model(3), batch_size)
