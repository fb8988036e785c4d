"""Every neuron model against a solution of its equation, and against brainpy.state."""

import inspect
from functools import cache

import brainunit as u
import numpy as np
import pytest
from scipy.optimize import fsolve

import dist_sim as ds
from dist_sim.core import environ, init_all_states, transform
from dist_sim.models import neurons
from models.equations import EQUATIONS

DT, DURATION, EARLY = 0.02, 40.0, 4.0

every_model = pytest.mark.parametrize("name", EQUATIONS)


def trace(neuron, x, dt, steps):
    """The States named in the equation and the spikes, (steps, *size), in double precision."""
    equation = EQUATIONS[type(neuron).__name__]

    def step():
        spikes = neuron(x)
        return {key: bare(getattr(neuron, key).value, unit) for key, (_, unit) in equation.start.items()}, spikes

    with environ.context(dt=dt * u.ms, precision=64):
        init_all_states(neuron)
        states, spikes = transform.jit(lambda: transform.for_loop(step, length=steps))()
    return {key: np.asarray(value) for key, value in states.items()}, np.asarray(spikes)


def bare(value, unit):
    return value.to_decimal(unit) if isinstance(value, u.Quantity) else value


@cache
def runs(name):
    """A quiet and a strongly driven neuron, with a step and with half of it."""
    model, equation = getattr(ds, name), EQUATIONS[name]
    x = np.array([equation.quiet, equation.strong]) * model.input_unit
    return [trace(model(2, **equation.arguments), x, dt, round(DURATION / dt)) for dt in (DT, DT / 2)]


def test_every_model_has_its_equation():
    assert set(EQUATIONS) == {name for name, found in vars(neurons).items() if isinstance(found, type)} - {"Neuron"}


@every_model
def test_it_converges_with_its_order(name):
    equation = EQUATIONS[name]
    exact, spikes = equation.solve(equation.quiet, EARLY)
    assert not len(spikes)
    errors = []
    for states, _ in runs(name):
        step = round(len(states["V"]) * EARLY / DURATION) - 1
        found = np.array([states[key][step, 0] for key in equation.start])
        errors.append(np.max(np.abs(found - exact) / np.maximum(np.abs(exact), 0.1)))
    if equation.order is None:
        assert max(errors) < 1e-11
    else:
        assert errors[0] < 0.05 and abs(np.log2(errors[0] / errors[1]) - equation.order) < 0.2, errors


@every_model
def test_spikes_come_when_the_equation_has_them(name):
    equation = EQUATIONS[name]
    _, exact = equation.solve(equation.strong, DURATION)
    assert len(exact) >= 1
    for (_, spikes), dt in zip(runs(name), (DT, DT / 2), strict=True):
        found = (np.flatnonzero(spikes[:, 1]) + 1) * dt
        assert abs(len(found) - len(exact)) <= 1
        both = min(len(found), len(exact))
        # Of first order: a spike is seen at the end of its step, and the next starts from there. An exact model loses no more
        # than that, at most a step per spike.
        late = np.abs(found[:both] - exact[:both]) / (dt * np.arange(1, both + 1))
        assert late.max() < (15 if equation.order else 1 + 1e-9), late


@pytest.mark.filterwarnings("ignore:The iteration is not making good progress")
@every_model
def test_rest_stays_at_rest(name):
    model, equation = getattr(ds, name), EQUATIONS[name]
    rest = fsolve(lambda y: equation.slope(y, 0.0), [value for value, _ in equation.start.values()], xtol=1e-14)
    at_rest = {f"{key}_initializer": value * unit for (key, (_, unit)), value in zip(equation.start.items(), rest, strict=True)}
    states, spikes = trace(model(1, **equation.given | at_rest), 0.0 * model.input_unit, 0.1, 200)
    for key, value in zip(equation.start, rest, strict=True):
        assert np.allclose(states[key], value, rtol=1e-9, atol=1e-9)
    assert not spikes.any()


# The reference


@every_model
def test_it_has_the_arguments_of_brainpy_state(name):
    reference = inspect.signature(getattr(pytest.importorskip("brainpy.state"), name).__init__).parameters
    # What is new is asked for by its name, and goes last.
    every = inspect.signature(getattr(ds, name).__init__).parameters
    ours = {key: parameter for key, parameter in every.items() if parameter.kind is not inspect.Parameter.KEYWORD_ONLY}
    assert list(ours) == list(reference) and set(every) - set(ours) <= {"detach_reset"}
    for key, parameter in ours.items():
        mine, theirs = parameter.default, reference[key].default
        if key.endswith("_initializer") and mine is not None:
            if isinstance(mine, ds.init.Uniform):
                assert u.math.allclose(mine.low, theirs.low) and u.math.allclose(mine.high, theirs.high)
            else:
                assert u.math.allclose(mine(2), theirs(2))
        elif key == "spk_fun":
            assert type(mine).__name__ == type(theirs).__name__
        elif isinstance(mine, u.Quantity):
            assert u.math.isclose(mine, theirs, rtol=1e-12)
        elif mine is not inspect.Parameter.empty:
            assert mine == theirs


# Where it differs from brainpy.state, the reason is in the docstrings of the models. Here is what takes the difference out.
SAME = {
    # Far below where exponential Euler takes V to 1e20 mV in a step, and the hard reset from there to 0 mV.
    "ExpIF": {"V_th": -52.0 * u.mV},
    "ExpIFRef": {"V_th": -52.0 * u.mV},
    # No decay: whether the adaptation goes on while V is held makes no difference.
    "AdExIFRef": {"tau_w": 1e15 * u.ms, "a": 0.0 * u.siemens},
    # Their Gif moves V under the currents after the step, their GifRef under those before it, as we do.
    "Gif": {"k1": 0.0 / u.ms, "k2": 0.0 / u.ms},
}


@every_model
def test_values_are_those_of_brainpy_state(name):
    state, brainstate = pytest.importorskip("brainpy.state"), pytest.importorskip("brainstate")
    model, equation, steps = getattr(ds, name), EQUATIONS[name], 400
    given = equation.arguments | {"spk_reset": "hard"} | SAME.get(name, {})
    if name.endswith("Ref"):
        # A float clock says the same of what is no whole number of steps.
        given["tau_ref"] = 1.77 * u.ms
    drive = np.random.default_rng(2).uniform(0.0, 2.0 * equation.strong, (steps, 3))
    with environ.context(dt=0.05 * u.ms, precision=64), brainstate.environ.context(dt=0.05 * u.ms, precision=64):
        xs = drive * model.input_unit
        # An initialiser of theirs is called, also where it gives a constant.
        firsts = {key: ds.init.Constant(value) for key, value in given.items() if key.endswith("_initializer")}
        reference = getattr(state, name)(3, **given | firsts)
        reference.init_state()
        neuron = init_all_states(model(3, **given))

        def step(neuron, x):
            spikes = neuron.update(x)
            return [bare(getattr(neuron, key).value, unit) for key, (_, unit) in equation.start.items()], spikes

        def their_step(i, x):
            with brainstate.environ.context(t=i * 0.05 * u.ms):
                return step(reference, x)

        theirs, their_spikes = brainstate.transform.for_loop(their_step, np.arange(steps), xs)
        ours, our_spikes = transform.for_loop(lambda x: step(neuron, x), xs)
        our_spikes = np.asarray(our_spikes)
    assert 2 <= our_spikes.sum() < steps and np.array_equal(our_spikes, their_spikes)
    for mine, other in zip(ours, theirs, strict=True):
        assert mine.dtype == other.dtype == np.float64 and np.allclose(mine, other, rtol=1e-9, atol=1e-9)
