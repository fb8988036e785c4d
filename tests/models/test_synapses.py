"""What holds for every BrainPy-style synapse, output and short-term plasticity, and each against the solution of its equation."""

import re
from itertools import pairwise

import brainunit as u
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P
from scipy.integrate import solve_ivp

import dist_sim as ds
from dist_sim.core import HiddenState, environ, init_all_states, transform
from dist_sim.errors import ParameterError, UnitError
from dist_sim.models import outputs, plasticity, synapses
from dist_sim.models.parameter import Parameter
from models.test_nmda import saturating

COLLECTIVES = re.compile(r"gather|all-reduce|all-to-all|collective-permute|reduce-scatter|collective-broadcast")
BATCH, SIZE, STEPS = 4, 512, 60


def models_of(folder, base):
    found = [x for x in vars(folder).values() if isinstance(x, type) and issubclass(x, base) and x is not base]
    assert found
    return found


SYNAPSES = models_of(synapses, synapses.Synapse)
EVERY = SYNAPSES + models_of(plasticity, plasticity.ShortTermPlasticity)
OUTPUTS = models_of(outputs, outputs.SynOut)
every_model = pytest.mark.parametrize("model", EVERY, ids=lambda model: model.__name__)
every_synapse = pytest.mark.parametrize("model", SYNAPSES, ids=lambda model: model.__name__)
every_output = pytest.mark.parametrize("model", OUTPUTS, ids=lambda model: model.__name__)


@pytest.fixture(autouse=True)
def clock():
    with environ.context(dt=0.1 * u.ms):
        yield


@pytest.fixture
def double():
    with environ.context(precision=64):
        yield


def spikes(*shape, rate=0.1):
    return np.random.default_rng(0).random(shape) < rate


def sent(model, given):
    """Spikes as the model takes them: those with a unit as what each of them brings."""
    return model.arriving(given) if isinstance(model, synapses.Synapse) else jnp.asarray(given, float)


def run(model, given):
    """What it returns at each step, bare."""
    return u.get_mantissa(transform.jit(lambda xs: transform.for_loop(lambda x: model(sent(model, x)), xs))(jnp.asarray(given)))


# Contracts


@every_model
def test_the_batch_is_the_first_axis(model):
    made = model((3, 2))
    for batch_size, shape in ((None, (3, 2)), (BATCH, (BATCH, 3, 2)), (None, (3, 2))):
        init_all_states(made, batch_size)
        assert {u.math.shape(state.value) for state in made.states(HiddenState).values()} == {shape}
        assert u.math.shape(made(sent(made, np.ones(shape)))) == shape
    with pytest.raises(ParameterError, match="batch_size=0"):
        init_all_states(made, 0)


@every_model
def test_rows_of_a_batch_are_runs_of_their_own(model):
    given = spikes(STEPS, BATCH, 16)
    together = run(init_all_states(model(16), BATCH), given)
    alone = [run(init_all_states(model(16)), given[:, row]) for row in range(BATCH)]
    assert together.any() and np.allclose(together, np.stack(alone, 1), rtol=1e-6, atol=1e-9)


@every_model
@pytest.mark.parametrize("spread", [False, True], ids=["one value", "one per neuron"])
def test_placement_changes_no_bit_and_costs_no_communication(model, spread):
    mesh = Mesh(np.array(jax.devices()[:8]).reshape(2, 4), ("batch", "neuron"))
    default = model(1)
    names = [name for kind in model.__mro__ for name, found in vars(kind).items() if isinstance(found, Parameter)]
    given = {name: getattr(default, name) * np.linspace(0.9, 1.0, SIZE) for name in names} if spread else {}
    alone, split = (init_all_states(model(SIZE, **given), 2) for _ in range(2))
    for state in split.states().values():
        state.sharding = NamedSharding(mesh, P("batch", "neuron") if u.math.ndim(state.value) == 2 else P("neuron"))
    xs = spikes(STEPS, 2, SIZE).astype(np.float32)
    one = run(alone, xs)
    program = transform.jit(lambda xs: transform.for_loop(lambda x: split(sent(split, x)), xs))
    eight = jax.device_put(xs, NamedSharding(mesh, P(None, "batch", "neuron")))
    assert one.any() and np.array_equal(one, u.get_mantissa(program(eight)))
    assert not COLLECTIVES.search(program.lower(eight).compile().as_text())


@every_model
def test_gradients_are_those_of_finite_differences(model, double):
    given = spikes(30, 5, rate=0.2) * 0.9

    def response(scale):
        made = model(5)
        made.init_state()
        out = transform.for_loop(lambda x: made(sent(made, x)), jnp.asarray(given) * scale)
        return jnp.sin(u.get_mantissa(out)).sum(0)

    at, move = jnp.linspace(0.3, 0.7, 5), 1e-6
    found = jax.jit(jax.grad(lambda scale: response(scale).sum()))(at)
    wanted = jax.jit(lambda at: (response(at + move) - response(at - move)) / (2 * move))(at)
    assert np.isfinite(found).all() and (found != 0).all() and np.allclose(found, wanted, rtol=1e-6)


@every_model
def test_gradients_by_the_parameters_are_those_of_finite_differences(model, double):
    given = spikes(30, 5, rate=0.2) * 0.9
    default = model(1)
    names = [name for kind in model.__mro__ for name, found in vars(kind).items() if isinstance(found, Parameter)]

    def response(scales):
        made = model(5, **{name: getattr(default, name) * scale for name, scale in zip(names, scales, strict=True)})
        made.init_state()
        out = transform.for_loop(lambda x: made(sent(made, x)), jnp.asarray(given))
        return jnp.sin(u.get_mantissa(out)).sum()

    at = np.linspace(0.9, 1.1, len(names))
    found = jax.jit(jax.grad(response))(at)
    program = jax.jit(response)
    wanted = [(program(at + move) - program(at - move)) / 2e-6 for move in 1e-6 * np.eye(len(names))]
    assert (found != 0).all() and np.allclose(found, wanted, rtol=1e-5, atol=1e-8)


@pytest.mark.slow  # What is compiled is held against solutions.
@every_model
def test_compiled_steps_are_the_eager_ones(model):
    given = spikes(12, 5, rate=0.4)
    eager = init_all_states(model(5))
    wanted = [u.get_mantissa(eager(sent(eager, x))) for x in given]
    assert np.any(wanted) and np.allclose(run(init_all_states(model(5)), given), wanted, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("model", [ds.STP, ds.STD], ids=["STP", "STD"])
def test_without_spikes_resources_stay_whole(model):
    made = init_all_states(model(3))
    silence = run(made, np.zeros((STEPS, 3), bool))
    assert not silence.any() and (made.x.value == 1).all()
    # u rests at 0: the first spike after a long silence uses U.
    if model is ds.STP:
        made.u.value = jnp.zeros(3)
        run(made, np.zeros((STEPS, 3), bool))
        assert not made.u.value.any() and np.allclose(made(np.ones(3)), made.U)


@every_model
def test_what_does_not_fit_is_refused_when_it_is_made(model):
    names = [name for kind in model.__mro__ for name, found in vars(kind).items() if isinstance(found, Parameter)]
    for name in names:
        with pytest.raises(UnitError, match=rf"{model.__name__}\({name}=...\)"):
            model(3, **{name: 1.0 * u.pF})
        with pytest.raises(ParameterError, match="shape"):
            model(3, **{name: getattr(model(1), name) * np.ones(2)})
    with pytest.raises(ParameterError, match="whole number of at least 1"):
        model(0)


@every_synapse
def test_silence_keeps_rest_and_the_unit_is_that_of_the_start(model):
    for unit in (u.mS, u.nS, u.UNITLESS):
        made = init_all_states(model(3, g_initializer=u.maybe_decimal(0.0 * unit)))
        g = made(sent(made, np.zeros(3)))
        assert made.unit == unit == u.get_unit(g) and not u.get_mantissa(g).any()


# Exact solutions, or tight numerical ones, at two step sizes

AT = 3.0  # ms of the only spike


def alpha(t, tau=8.0):
    return t / tau * np.exp(-t / tau)


def dual(t, rise=1.0, decay=10.0):
    peak = rise * decay / (decay - rise) * np.log(decay / rise)
    after, at_peak = (np.exp(-x / decay) - np.exp(-x / rise) for x in (t, peak))
    return after / at_peak


def receptor(t, forth, back, duration):
    rate = forth + back
    on = forth / rate * -np.expm1(-rate * np.minimum(t, duration))
    return on * np.exp(-back * np.maximum(t - duration, 0))


def nmda(t):
    def slope(t, y):
        x, g = y
        return [1.0 * (t < 0.5) * (1 - x) - 0.5 * x, 2.0 * x * (1 - g) - 0.01 * g]

    up = solve_ivp(slope, (0, 0.5), [0, 0], rtol=1e-11, atol=1e-13, dense_output=True)
    down = solve_ivp(slope, (0.5, 60), up.y[:, -1], rtol=1e-11, atol=1e-13, dense_output=True)
    return np.where(t < 0.5, up.sol(np.minimum(t, 0.5))[1], down.sol(np.maximum(t, 0.5))[1])


# The response to one spike; whether it counts from the end or the beginning of its step; the order (None: exact).
RESPONSES = {
    "Expon": (lambda t: np.exp(-t / 8.0), 0, None),
    "DualExpon": (dual, 0, None),
    "Alpha": (alpha, 0, None),
    "AMPA": (lambda t: receptor(t, 0.49, 0.18, 0.5), 1, None),
    "GABAa": (lambda t: receptor(t, 0.53, 0.18, 1.0), 1, None),
    "BioNMDA": (nmda, 1, 2),
    "NMDA": (lambda t: saturating(t, [0.0]), 1, 2),
}


@every_synapse
def test_the_response_to_a_spike_is_the_solution(model, double):
    solution, first, order = RESPONSES[model.__name__]
    errors = []
    for dt in (0.3, 0.15, 0.075):
        with environ.context(dt=dt * u.ms):
            count, at = round(40.0 / dt), round(AT / dt)
            found = run(init_all_states(model(1)), np.arange(count)[:, None] == at)[:, 0]
        wanted = solution((np.arange(count) - at + first) * dt)
        errors.append(np.abs(found - wanted)[at:].max())
        assert not found[:at].any()
    if order is None:
        assert max(errors) < 1e-13
    else:
        assert errors[-1] < 2e-3 and all(abs(np.log2(a / b) - order) < 0.2 for a, b in pairwise(errors))


def plastic(times, U=0.15, tau_f=1500.0, tau_d=200.0):
    used, x, last, out = U, 1.0, 0.0, []
    for t in times:
        used, x = used * np.exp(-(t - last) / tau_f), 1 - (1 - x) * np.exp(-(t - last) / tau_d)
        used = used + U * (1 - used)
        out.append(used * x)
        x, last = x - used * x, t
    return out


def depressed(times, tau=200.0, U=0.07):
    x, last, out = 1.0, 0.0, []
    for t in times:
        x = 1 - (1 - x) * np.exp(-(t - last) / tau)
        out.append(x)
        x, last = x - U * x, t
    return out


@pytest.mark.parametrize(("model", "solution"), [(ds.STP, plastic), (ds.STD, depressed)], ids=["STP", "STD"])
@pytest.mark.parametrize("dt", [0.5, 2.0])
def test_what_a_spike_releases_is_what_the_spikes_before_left(model, solution, dt, double):
    times = np.array([10.0, 14.0, 30.0, 100.0, 102.0, 300.0])
    with environ.context(dt=dt * u.ms):
        steps = np.round(times / dt).astype(int) - 1
        found = run(init_all_states(model(1)), np.isin(np.arange(round(320 / dt)), steps)[:, None])[:, 0]
    assert np.flatnonzero(found).tolist() == steps.tolist()
    assert np.allclose(found[steps], solution(times), rtol=1e-12)


def test_a_pulse_of_transmitter_starts_anew_at_a_spike_and_is_cut_by_plasticity(double):
    made = init_all_states(ds.AMPA(1, T_dur=1.0 * u.ms))
    found = run(made, np.isin(np.arange(50), [0, 6])[:, None])[:, 0]
    assert np.allclose(found[15], receptor(1.6, 0.49, 0.18, 1.6), rtol=1e-12) and found[16] < found[15]
    part = run(init_all_states(ds.AMPA(1, T_dur=1.0 * u.ms)), (np.arange(50) == 0)[:, None] * 0.25)[:, 0]
    assert np.allclose(part, receptor(0.1 * np.arange(1, 51), 0.49, 0.18, 0.25), rtol=1e-12)


# Against brainpy.state


@pytest.mark.parametrize("model", [model for model in EVERY if model is not synapses.NMDA], ids=lambda model: model.__name__)
def test_it_is_the_one_of_brainpy_state(model, double):
    """Where that is exact; of first order in the step where it is."""
    reference = pytest.importorskip("brainpy.state")
    brainstate = pytest.importorskip("brainstate")
    exact = model.__name__ in ("Expon", "DualExpon", "AMPA", "GABAa")
    differences = []
    for dt in (0.1, 0.05):
        given = np.zeros((round(30 / dt), 4))
        given[(np.array([2.0, 8.0, 9.0, 20.0]) / dt).round().astype(int)] = [1, 0, 1, 1]
        with brainstate.environ.context(dt=dt * u.ms, precision=64):
            other = getattr(reference, model.__name__)(4)
            brainstate.nn.init_all_states(other)
            linear = model in SYNAPSES and not model.takes_spikes

            def step(i, x, other=other, dt=dt, linear=linear):
                with brainstate.environ.context(t=i * dt * u.ms):
                    return u.get_mantissa(other.update(x * u.mS if linear else x != 0 if model in SYNAPSES else x))

            wanted = brainstate.transform.for_loop(step, np.arange(len(given)), jnp.asarray(given))
        with environ.context(dt=dt * u.ms):
            differences.append(np.abs(run(init_all_states(model(4)), given) - wanted).max())
    if exact:
        assert max(differences) < 1e-6
    else:
        assert 1e-6 < differences[1] < 0.02 and 1.7 < differences[0] / differences[1] < 2.3


# Outputs


def test_the_block_by_magnesium_is_that_of_jahr_and_stevens():
    V = np.linspace(-90.0, 40.0, 7)
    for given in ({}, {"cc_Mg": 1.2, "beta": 3.57}, {"cc_Mg": 1200 * u.uM}):
        current = ds.MgBlock(**given).update(2.0 * u.mS, V * u.mV)
        assert np.allclose(current.to_decimal(u.uA), -2.0 * V / (1 + 1.2 / 3.57 * np.exp(-0.062 * V)), rtol=1e-6)
    free = ds.MgBlock(E=-10.0 * u.mV, cc_Mg=0.0, V_offset=3.0 * u.mV)
    coba = ds.COBA(E=-10.0 * u.mV)
    assert np.allclose((free.update(1.0 * u.nS, V * u.mV) - coba.update(1.0 * u.nS, V * u.mV)).to_decimal(u.pA), 0, atol=1e-5)


@every_output
def test_gradients_of_an_output_are_those_of_finite_differences(model, double):
    made = model(**({"E": 0.0 * u.mV} if model is ds.COBA else {}))

    def current(g, V):
        return jnp.sin(made.update(g * u.mS, V * u.mV).to_decimal(u.mA)).sum()

    at = np.linspace(0.1, 2.0, 7), np.linspace(-90.0, 40.0, 7)
    for n, found in enumerate(jax.grad(current, (0, 1))(*at)):
        for k, move in enumerate(np.eye(7) * 1e-4):
            up, down = (current(*(x + sign * move * (m == n) for m, x in enumerate(at))) for sign in (1, -1))
            assert np.isclose(found[k], (up - down) / 2e-4, rtol=1e-5, atol=1e-9)
        assert found.any() or (model is ds.CUBA and n == 1)


@every_output
def test_an_output_acts_on_each_trial_by_itself(model):
    made = model(**({"E": 0.0 * u.mV} if model is ds.COBA else {}))
    g, V = np.linspace(0.1, 2.0, 21).reshape(3, 7) * u.mS, np.linspace(-90.0, 40.0, 21).reshape(3, 7) * u.mV
    together = made.update(g, V)
    assert together.shape == (3, 7)
    assert all(np.allclose(u.get_mantissa(made.update(g[n], V[n])), u.get_mantissa(together[n]), rtol=1e-6) for n in range(3))


@every_output
def test_an_output_needs_a_conductance_in_its_step_and_its_units(model):
    given = {"E": 0.0 * u.mV} if model is ds.COBA else {}
    made = model(**given)
    with pytest.raises(ParameterError, match="no conductance was bound in this step"):
        made(-60 * u.mV)
    made.bind_cond(1.0 * u.mS)
    assert u.have_same_dim(made(-60 * u.mV), u.mA)
    for name, found in vars(model).items():
        if isinstance(found, Parameter):
            with pytest.raises(UnitError, match=rf"{model.__name__}\({name}=...\)"):
                model(**given | {name: 1.0 * u.pF})


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: ds.DualExpon(3, tau_rise=10.0 * u.ms), ParameterError, "Use Alpha, their limit"),
        (lambda: ds.STP(3, U=1.5), ParameterError, "must be at most 1"),
        (lambda: ds.AMPA(3, beta=0.0 / u.ms), ParameterError, "must be above 0"),
        (lambda: ds.BioNMDA(3, x_initializer=0.1 * u.mS), UnitError, "x_initializer"),
    ],
)
def test_what_has_no_meaning_is_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()
