"""Delays: values as they were, and spikes that arrive when they are due, once."""

import re

import brainunit as u
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dist_sim as ds
from dist_sim.core import environ, init_all_states, transform
from dist_sim.errors import ParameterError, UnitError


@pytest.fixture(autouse=True)
def clock():
    with environ.context(dt=0.1 * u.ms):
        yield


def ramp(delay, read, steps=30):
    """What is read after each update with 1., 2., ..."""

    def step(i):
        delay.update(i)
        return read()

    return np.asarray(u.get_mantissa(transform.for_loop(step, jnp.arange(1.0, steps + 1))))


def test_a_value_is_found_as_many_steps_later():
    delay = ds.nn.Delay(jax.ShapeDtypeStruct((), float), time=1.5 * u.ms)
    for time, steps in ((0.0, 0), (0.1, 1), (0.3, 3), (1.5, 15)):
        init_all_states(delay)
        found = ramp(delay, lambda time=time: delay.retrieve(time * u.ms))
        assert found.tolist() == [0.0] * steps + list(range(1, 31 - steps))
    assert delay.history.value.shape == (16,)
    init_all_states(delay, 2)
    assert delay.history.value.shape == (16, 2)


def test_between_steps_each_has_its_part_and_nothing_is_lost():
    spike = jnp.asarray(np.arange(20) == 3, float)
    for interpolation, wanted in (("linear", {5: 0.75, 6: 0.25}), ("nearest", {5: 1.0})):
        delay = init_all_states(ds.nn.Delay(jax.ShapeDtypeStruct((), float), 0.3 * u.ms, interpolation=interpolation))
        found = transform.for_loop(lambda x, d=delay: (d.update(x), d.retrieve(0.225 * u.ms))[1], spike)
        assert {int(i): float(found[i]) for i in np.flatnonzero(found)} == pytest.approx(wanted, rel=1e-5)


def test_each_neuron_has_its_own_delay_and_connections_theirs():
    delay = init_all_states(ds.nn.Delay(jnp.zeros(3) * u.mV, 0.4 * u.ms), 2)
    values = jnp.arange(10.0)[:, None, None] + jnp.asarray([0.1, 0.2, 0.3])
    values = jnp.broadcast_to(values, (10, 2, 3)) * u.mV
    own, ids = np.array([0.0, 0.2, 0.4]), np.array([2, 0, 0, 1])
    each = transform.for_loop(lambda x: (delay.update(x), delay.retrieve(own * u.ms))[1], values)
    assert each.shape == (10, 2, 3) and np.allclose(each[-1].to_decimal(u.mV), [9.1, 7.2, 5.3])
    init_all_states(delay)
    found = transform.for_loop(
        lambda x: (delay.update(x[0]), delay.retrieve(np.array([0.1, 0.0, 0.3, 0.4]) * u.ms, ids))[1], values
    )
    assert np.allclose(found[-1].to_decimal(u.mV), [8.3, 9.1, 6.1, 5.2])


def test_what_was_before_the_beginning():
    delay = init_all_states(ds.nn.Delay(jnp.zeros(2) * u.mV, 0.5 * u.ms, init=-65.0 * u.mV, entries={"late": 0.5 * u.ms}))
    early = delay.access("early", 0.1 * u.ms)
    delay.update(1.0 * u.mV)
    assert delay.at("late").to_decimal(u.mV).tolist() == [-65.0, -65.0] == early().to_decimal(u.mV).tolist()


def test_a_state_and_an_output_some_time_ago():
    cell = ds.LIF(4, V_initializer=-3.0 * u.mV)
    now, before = cell.prefetch("V"), cell.prefetch("V").delay.at(0.5 * u.ms)
    longer, spikes = cell.prefetch_delay("V", 0.7 * u.ms), cell.output_delay(0.2 * u.ms)
    for batch in (None, 3):
        init_all_states(cell, batch)

        def step(i):
            out = cell(np.linspace(0.0, 40.0, 4) * u.mA)
            return out, cell.V.value, now(), before(), longer(), spikes()

        out, V, same, past, older, delayed = transform.for_loop(step, np.arange(40))
        V, same, past, older = (x.to_decimal(u.mV) for x in (V, same, past, older))
        assert np.array_equal(V, same) and np.array_equal(past[5:], V[:-5]) and np.array_equal(older[7:], V[:-7])
        assert not past[:5].any() and out.any() and np.array_equal(delayed[2:], out[:-2])
    assert before.delay is longer.delay and len(cell.after_updates) == 2


def test_a_delay_is_split_as_the_neurons_are_and_costs_no_communication():
    # Blocks of 128: what does not fit them is laid out anew before the loop.
    own = np.linspace(0.0, 1.0, 1024) * u.ms
    results = []
    for devices in (1, 8):
        with ds.use_mesh(devices=devices):
            cell = ds.LIF(1024)
            V, each = cell.prefetch_delay("V", 0.5 * u.ms), cell.prefetch_delay("V", own)
            init_all_states(cell)
        spec = u.get_mantissa(V.delay.history.value).sharding.spec
        step = transform.jit(lambda c=cell, v=V, e=each: transform.for_loop(lambda: (c(9.0 * u.mA), v(), e())[1:], length=30))
        text = step.lower().compile().as_text()
        assert tuple(spec) == (None, "neuron") and not re.search(r"all-gather|all-reduce|dist_sim\.gather", text)
        results.append([x.to_decimal(u.mV) for x in step()])
    assert all(np.array_equal(a, b) and a.any() for a, b in zip(*results, strict=True))


def test_gradients_go_through_a_delay():
    def loss(x):
        delay = ds.nn.Delay(jax.ShapeDtypeStruct((3,), float), 0.4 * u.ms)
        delay.init_state()
        return (transform.for_loop(lambda x: (delay.update(x), delay.retrieve(0.25 * u.ms))[1], x) ** 2).sum()

    x = jnp.asarray(np.random.default_rng(0).normal(size=(9, 3)))
    mean = (jnp.pad(x, ((2, 1), (0, 0))) + jnp.pad(x, ((3, 0), (0, 0))))[:9] / 2
    wanted = jax.grad(lambda x: (((jnp.pad(x, ((2, 1), (0, 0))) + jnp.pad(x, ((3, 0), (0, 0))))[:9] / 2) ** 2).sum())(x)
    assert mean.any() and np.allclose(jax.grad(loss)(x), wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("given", ["float", "float32", "one per neuron", "traced"])
def test_a_spike_arrives_whole_after_thousands_of_steps(given):
    with environ.context(dt=0.01 * u.ms):
        bare = {"float": 33.33, "one per neuron": np.full(3, 33.33, np.float32)}.get(given, np.float32(33.33))
        delay = ds.nn.Delay(jax.ShapeDtypeStruct((3,), float), 33.34 * u.ms)
        time = delay.register_delay(bare * u.ms)
        init_all_states(delay)

        def run(bare):
            read = (bare * u.ms,) if given == "traced" else time
            return transform.for_loop(lambda i: (delay.update(jnp.full(3, i == 5)), delay.retrieve(*read))[1], jnp.arange(3400))

        found = np.asarray(transform.jit(run)(bare))
    assert np.flatnonzero(found[:, 0]).tolist() == [3338] and found[3338].tolist() == [1.0] * 3


@pytest.mark.parametrize(("ms", "steps"), [(np.float32(33.33), 3333), (np.float32(33.335), 3334), (33.325, 3333), (33.335, 3334)])
def test_delays_of_synapses_are_counted_in_steps(ms, steps):
    with environ.context(dt=0.01 * u.ms):
        comm = init_all_states(ds.nn.EventFixedProb(1, 2, 1.0, 1.0 * u.mS, conn_delay=ms * u.ms, seed=1))
        arrived = transform.for_loop(lambda i: comm(jnp.full(1, i == 5)).to_decimal(u.mS), jnp.arange(3400))
    assert np.flatnonzero(np.asarray(arrived).any(axis=1)).tolist() == [5 + steps]


def test_a_refractory_time_is_counted_in_steps():
    with environ.context(dt=0.01 * u.ms):
        for tau_ref in (33.33 * u.ms, np.float32(33.33) * u.ms):
            cell = init_all_states(ds.LIFRef(1, V_th=1 * u.mV, tau=10 * u.ms, tau_ref=tau_ref))
            spikes = transform.for_loop(lambda c=cell: c(1e6 * u.mA), length=3500)
            assert np.diff(np.flatnonzero(spikes)).tolist() == [3333]


def slope(steps, history=(3.0, 5.0, 4.0, 9.0, 7.0), dt=0.1):
    """The derivative [1/ms] by a delay of so many steps, where history[k] is k steps old."""
    with environ.context(dt=dt * u.ms):
        delay = init_all_states(ds.nn.Delay(jax.ShapeDtypeStruct((), float), (len(history) - 1) * dt * u.ms))
        for value in reversed(history):
            delay.update(value)
        return float(transform.grad(lambda ms: delay.retrieve(ms * u.ms), argnums=0)(jnp.float32(steps * dt)))


@pytest.mark.parametrize(
    ("steps", "wanted"), [(0.5, 20), (0, 20), (1, -10), (1.25, -10), (2, 50), (3, -20), (3.75, -20), (4, -20), (5, 0)]
)
def test_the_derivative_by_a_delay_is_that_of_the_interpolation(steps, wanted):
    assert slope(steps) == pytest.approx(wanted, rel=1e-5)


@pytest.mark.parametrize("start", [3, 4, 8])
def test_a_delay_is_learnt_from_a_whole_number_of_steps(start):
    # A slow wave, whose delay of 0.57 ms is to be found.
    x = jnp.sin(jnp.arange(80) * 0.05)
    delay = ds.nn.Delay(jax.ShapeDtypeStruct((), float), 0.8 * u.ms)

    def run(ms):
        init_all_states(delay)
        return transform.for_loop(lambda x: (delay.update(x), delay.retrieve(ms * u.ms))[1], x)[20:]

    wanted, step = run(jnp.float32(0.57)), transform.jit(transform.grad(lambda ms: ((run(ms) - wanted) ** 2).mean(), argnums=0))
    ms = jnp.float32(start * 0.1)
    for _ in range(60):
        ms = ms - 1.5 * step(ms)
    assert float(ms) == pytest.approx(0.57, abs=0.01)


def late():
    delay = init_all_states(ds.nn.Delay(jnp.zeros(2), 0.2 * u.ms))
    return delay.retrieve(0.5 * u.ms)


def other_step():
    delay = init_all_states(ds.nn.Delay(jnp.zeros(2), 0.2 * u.ms))
    with environ.context(dt=0.2 * u.ms):
        return delay.retrieve(0.2 * u.ms)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: ds.nn.Delay(jnp.zeros(2), 2.0), UnitError, "needs a time"),
        (lambda: ds.nn.Delay(jnp.zeros(2), -1.0 * u.ms), ParameterError, "at least 0 ms"),
        (lambda: ds.nn.Delay(jnp.zeros(2), interpolation="cubic"), ParameterError, "allowed are 'nearest'"),
        (lambda: ds.nn.Delay(jnp.zeros(2), entries={"a": 1 * u.ms}).register_entry("a", 2 * u.ms), ParameterError, "already"),
        (lambda: ds.nn.Delay(jnp.zeros(2)).at("b"), ParameterError, "there is no such entry"),
        (lambda: init_all_states(ds.nn.Delay(jnp.zeros(2) * u.mV, init=1.0)), UnitError, r"Delay\(init=...\)"),
        (late, ParameterError, "5 steps are asked for; the history has 2"),
        (other_step, ParameterError, "made for dt=0.1 ms; now it is 0.2 ms"),
        (lambda: init_all_states(ds.LIF(3).prefetch_delay("W", 1 * u.ms).module), ParameterError, "no State of that name"),
    ],
)
def test_what_does_not_fit_is_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()
