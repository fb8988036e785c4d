"""LIF against the exact solution of its equation, its parameters, and brainpy.state's LIF."""

import math

import brainunit as u
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dist_sim as ds
from dist_sim.core import HiddenState, ParamState, State, environ, init_all_states, transform
from dist_sim.errors import ParameterError, UnitError
from dist_sim.models.init import Constant
from dist_sim.models.neurons import LIF
from dist_sim.models.surrogate import ReluGrad

CELL = {"V_rest": -65.0 * u.mV, "V_th": -50.0 * u.mV, "V_reset": -60.0 * u.mV, "tau": 10.0 * u.ms}


@pytest.fixture(params=[0.1, 3.7], ids="dt={}".format)
def dt(request):
    with environ.context(dt=request.param * u.ms):
        yield request.param


@pytest.fixture
def double():
    with environ.context(precision=64):
        yield


def run(neuron, x, steps):
    """Potentials in mV and spikes, (steps, n)."""
    V, spikes = transform.jit(lambda: transform.for_loop(lambda: (neuron(x), neuron.V.value)[::-1], length=steps))()
    return np.asarray(V.to_decimal(u.mV)), np.asarray(spikes)


def test_the_membrane_is_exact_under_constant_current(dt, double):
    start, R, current = -61.0, 2.0, 7.0
    neuron = init_all_states(LIF(3, **CELL, R=R * u.ohm, V_initializer=Constant(start * u.mV)))
    V, spikes = run(neuron, current * u.mA, 40)
    target = -65.0 + R * current
    exact = target + (start - target) * np.exp(-dt * np.arange(1, 41) / 10.0)
    assert np.allclose(V, exact[:, None], rtol=1e-13, atol=0)
    assert not spikes.any()


def test_units_of_the_current_and_the_resistance_do_not_matter(dt):
    pairs = [(1.0 * u.ohm, 20.0 * u.mA), (1.0 * u.kohm, 20.0 * u.uA), (100.0 * u.Mohm, 0.2 * u.nA), (1.0 * u.Gohm, 20.0 * u.pA)]
    traces = [run(init_all_states(LIF(1, **CELL, R=R)), x, 30)[0] for R, x in pairs]
    assert all(np.allclose(V, traces[0], rtol=1e-5, atol=0) for V in traces)


def test_spikes_come_with_the_period_of_the_equation(double):
    neuron = init_all_states(LIF(1, **CELL, V_initializer=-60.0 * u.mV, spk_reset="hard"))
    with environ.context(dt=0.1 * u.ms):
        V, spikes = run(neuron, 20.0 * u.mA, 500)
    # From V_reset towards -45 mV; the spike is seen on the grid, at the end of the step that crosses.
    period = math.ceil(10.0 * math.log((-45 + 60) / (-45 + 50)) / 0.1)
    assert np.flatnonzero(spikes).tolist() == list(range(period - 1, 500, period))
    assert np.array_equal(spikes, V >= -50.0)


@pytest.mark.parametrize("spk_reset", ["soft", "hard"])
def test_a_spike_is_taken_off_before_the_next_step_integrates(dt, double, spk_reset):
    starts = np.array([-80.0, -50.001, -50.0, -42.0, 10.0])
    neuron = init_all_states(LIF(5, **CELL, V_initializer=starts * u.mV, spk_reset=spk_reset))
    spiked = np.asarray(neuron.get_spike())
    assert spiked.tolist() == [0, 0, 1, 1, 1]
    V, _ = run(neuron, 1.0 * u.mA, 1)
    after = starts - 10.0 * spiked if spk_reset == "soft" else np.where(spiked, -60.0, starts)
    assert np.allclose(V[0], -64.0 + (after + 64.0) * np.exp(-dt / 10.0), rtol=1e-13, atol=0)


def test_the_gradient_of_a_step_is_the_chain_rule_with_the_surrogate(dt, double):
    surrogate = ReluGrad(alpha=0.7, width=2.5)
    starts = np.linspace(-80.0, -51.0, 30)

    def spikes(x):
        neuron = LIF(30, **CELL, R=2.0 * u.ohm, V_initializer=starts * u.mV, spk_fun=surrogate)
        neuron.init_state()
        return neuron(x * u.mA)

    decay = math.exp(-dt / 10.0)
    x = np.linspace(0.0, 20.0, 30)
    V = -65.0 + 2.0 * x + (starts + 65.0 - 2.0 * x) * decay
    expected = np.maximum(0.7 * (2.5 - np.abs((V + 50.0) / 10.0)), 0) / 10.0 * 2.0 * (1 - decay)
    assert 0 < np.count_nonzero(expected) < 30
    assert np.allclose(jax.grad(lambda x: spikes(x).sum())(x), expected, rtol=1e-12, atol=0)


def test_without_an_initial_value_it_starts_at_zero():
    neuron = init_all_states(LIF(2, **CELL))
    assert type(neuron.V) is HiddenState and neuron.V.value.unit == u.mV and not neuron.V.value.any()
    whole = init_all_states(LIF(2, **CELL, V_initializer=-60 * u.mV)).V
    assert u.get_mantissa(whole.value).dtype == jnp.float32
    assert np.allclose(init_all_states(LIF(2, **CELL, V_initializer=-0.06 * u.volt)).V.value.to_decimal(u.mV), -60.0)


def test_the_precision_of_a_run_may_be_chosen_after_the_model_was_made():
    neuron = LIF(2, **CELL, V_initializer=-65.0 * u.mV)
    with environ.context(dt=0.1 * u.ms, precision=64):
        init_all_states(neuron)
        neuron(0.1 * u.mA)
        exact = -64.9 - 0.1 * math.exp(-0.1 / 10.0)
        assert np.allclose(neuron.V.value.to_decimal(u.mV), exact, rtol=1e-13, atol=0)


# Parameters


def test_one_value_per_neuron_is_a_population_of_different_neurons():
    taus, thresholds = np.linspace(5.0, 20.0, 6), np.linspace(-55.0, -48.0, 6)
    given = CELL | {"tau": taus * u.ms, "V_th": thresholds * u.mV}
    with environ.context(dt=0.1 * u.ms):
        V, spikes = run(init_all_states(LIF(6, **given), 2), 20.0 * u.mA, 400)
        assert (spikes.sum(axis=(0, 1)) > 0).all()
        for n in range(6):
            alone = LIF(1, **CELL | {"tau": taus[n] * u.ms, "V_th": thresholds[n] * u.mV})
            V_alone, spikes_alone = run(init_all_states(alone), 20.0 * u.mA, 400)
            assert np.array_equal(spikes[:, 1, n], spikes_alone[:, 0])
            assert np.allclose(V[:, 1, n], V_alone[:, 0], rtol=1e-4, atol=0)


def test_arrays_are_inputs_of_the_program_and_numbers_are_not():
    neuron = init_all_states(LIF(4, **CELL | {"tau": np.full(4, 10.0) * u.ms}, V_initializer=-60.0 * u.mV))
    assert list(neuron.states()) == [("tau",), ("V",)] and type(neuron.states()["tau",]) is State
    assert neuron.tau.unit == u.ms and neuron.V_th == -50.0 * u.mV
    with environ.context(dt=0.1 * u.ms):
        step = transform.jit(neuron)
        step(1.0 * u.mA)
        before = neuron.V.value
        assert set(step.states(1.0 * u.mA).read) == set(neuron.states().values())
        neuron.states()["tau",].value = np.array([10.0, 1e9, 1e9, 10.0]) * u.ms
        step(1.0 * u.mA)
        assert (neuron.V.value == before).tolist() == [False, True, True, False] and step.compilations == 1


def test_a_state_may_be_a_parameter():
    tau = ParamState(0.01 * u.second)
    neuron = init_all_states(LIF(2, **CELL | {"tau": tau}))
    assert neuron.states(ParamState) == {("tau",): tau} and "tau" in tau.label
    assert neuron.tau.unit == u.ms and np.allclose(neuron.tau.to_decimal(u.ms), 10.0)

    def potential(tau):
        neuron = LIF(2, **CELL | {"tau": tau * u.ms}, V_initializer=-60.0 * u.mV)
        neuron.init_state()
        neuron(0.0 * u.mA)
        return neuron.V.value.to_decimal(u.mV)[0]

    with environ.context(dt=0.1 * u.ms, precision=64):
        slope = jax.jit(jax.grad(potential))(10.0)
    assert math.isclose(slope, 5.0 * math.exp(-0.01) * 0.1 / 10.0**2, rel_tol=1e-12)


def test_a_parameter_is_assigned_once():
    neuron = LIF(2, **CELL)
    with pytest.raises(ParameterError, match="LIF.tau is set when the model is made"):
        neuron.tau = 20.0 * u.ms
    assert LIF.tau.unit == u.ms


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"tau": 10 * u.mV}, UnitError, r"LIF\(tau=...\): needs a time \(ms\); got 10 mV"),
        ({"tau": 10.0}, UnitError, r"got 10.0 without unit. Did you mean 10.0 \* u.ms\?"),
        ({"R": 1.0 * u.mS}, UnitError, r"LIF\(R=...\): needs a resistance \(ohm\)"),
        ({"V_th": 1.0 * u.ms}, UnitError, r"LIF\(V_th=...\): needs a voltage \(mV\)"),
        ({"V_reset": 1.0 * u.mA}, UnitError, r"LIF\(V_reset=...\): needs a voltage"),
        ({"V_rest": np.ones(3)}, UnitError, r"LIF\(V_rest=...\): needs a voltage"),
        ({"tau": ParamState(1.0 * u.mV)}, UnitError, r"LIF\(tau=...\): needs a time"),
        ({"V_initializer": -60.0}, UnitError, r"LIF\(V_initializer=...\): needs the unit mV"),
        ({"V_initializer": Constant(1.0 * u.ms)}, UnitError, r"LIF\(V_initializer=...\): needs the unit mV"),
        ({"tau": 0.0 * u.ms}, ParameterError, r"LIF\(tau=...\): must be above 0 ms; got 0 ms"),
        ({"tau": np.array([1.0, -2.0, 3.0]) * u.ms}, ParameterError, "must be above 0 ms; got -2 ms"),
        ({"tau": State(np.array([1.0, -2.0, 3.0]) * u.ms)}, ParameterError, "must be above 0 ms; got -2 ms"),
        ({"V_th": math.nan * u.mV}, ParameterError, r"LIF\(V_th=...\): holds NaN or infinity"),
        ({"V_th": math.inf * u.mV}, ParameterError, r"LIF\(V_th=...\): holds NaN or infinity"),
        ({"R": np.ones(2) * u.ohm}, ParameterError, r"LIF\(R=...\): has shape \(2,\); the model has shape \(3,\)"),
        ({"R": np.ones((3, 3)) * u.ohm}, ParameterError, r"has shape \(3, 3\)"),
        ({"V_th": -60.0 * u.mV}, ParameterError, "V_reset must be below V_th"),
        ({"V_th": np.array([-50, -60, -50]) * u.mV}, ParameterError, "V_reset must be below V_th"),
    ],
    ids=str,
)  # fmt: skip
def test_bad_parameters_are_refused_when_it_is_made(given, error, message):
    with pytest.raises(error, match=message):
        LIF(3, **CELL | given)


def test_a_threshold_turned_around_is_warned_of():
    # As printed in brainpy.state's overview, where V_reset stays at its default above V_th.
    with pytest.warns(UserWarning, match="V_reset is above V_th"):
        LIF(100, tau=10 * u.ms, V_th=-50 * u.mV)


def test_a_bad_current_or_first_value_is_refused_before_anything_is_compiled(dt):
    neuron = init_all_states(LIF(3, **CELL))
    for x in (1.0, 1.0 * u.mV):
        with pytest.raises(UnitError, match=r"LIF.update\(x=...\): needs a current \(mA\)"):
            transform.jit(lambda x=x: neuron(x))()
    with pytest.raises(ParameterError, match=r"gives the shape \(2,\), where \(3,\) is asked for"):
        init_all_states(LIF(3, **CELL, V_initializer=lambda size: jnp.ones(2) * u.mV))
    with pytest.raises(UnitError, match="needs a voltage"):
        init_all_states(LIF(3, **CELL, V_initializer=lambda size: jnp.ones(size)))


def test_it_is_found_where_the_documents_have_it():
    assert ds.LIF is ds.state.LIF is LIF
    assert ds.surrogate.ReluGrad is ReluGrad and ds.init.Constant is Constant
    assert LIF(1).spk_fun == ReluGrad(alpha=0.3, width=1.0)


# The reference


@pytest.mark.parametrize("spk_reset", ["soft", "hard"])
def test_it_is_brainpy_states_lif(spk_reset):
    state = pytest.importorskip("brainpy.state")
    brainstate = pytest.importorskip("brainstate")
    steps, shape = 300, (2, 8)
    xs = np.random.default_rng(1).uniform(0.0, 60.0, (steps, *shape)).astype(np.float32)

    reference = state.LIF(8, **CELL, spk_reset=spk_reset)
    with brainstate.environ.context(dt=0.1 * u.ms):

        def theirs(xs):
            reference.init_state(batch_size=2)
            return brainstate.transform.for_loop(lambda x: (reference(x * u.mA), reference.V.value.to_decimal(u.mV)), xs)

        their_spikes, their_V = theirs(xs)
        their_gradient = jax.grad(lambda xs: theirs(xs)[0].sum())(xs)

    def ours(xs):
        neuron = LIF(8, **CELL, spk_reset=spk_reset)
        neuron.init_state(batch_size=2)
        return transform.for_loop(lambda x: (neuron(x * u.mA), neuron.V.value.to_decimal(u.mV)), xs)

    with environ.context(dt=0.1 * u.ms):
        our_spikes, our_V = ours(xs)
        our_gradient = jax.grad(lambda xs: ours(xs)[0].sum())(xs)

    assert 0 < our_spikes.mean() < 0.5 and np.array_equal(our_spikes, their_spikes)
    assert np.allclose(our_V, their_V, rtol=1e-5, atol=1e-4)
    assert np.count_nonzero(our_gradient) and np.allclose(our_gradient, their_gradient, rtol=1e-3, atol=1e-7)


@pytest.mark.parametrize("exchange", [None, "mask"])
def test_in_trials_each_neuron_has_its_refractory_time_on_any_devices(exchange):
    """Trials by neurons, selected by what has neurons alone."""
    found = []
    for devices in (1, 2, 3):
        with environ.context(dt=0.1 * u.ms), ds.use_mesh(devices=devices, **({"exchange": exchange} if exchange else {})):
            cells = init_all_states(ds.LIFRef(300, tau=5 * u.ms, tau_ref=np.linspace(0.5, 5.0, 300) * u.ms, R=1 * u.ohm), 2)
            found.append(np.asarray(transform.for_loop(lambda cells=cells: cells(3.0 * u.mA), length=300)))
    assert np.unique(found[0].sum(0)).size > 3 and all(np.array_equal(found[0], other) for other in found[1:])
