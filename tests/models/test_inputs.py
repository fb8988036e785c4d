"""Inputs: values at each step, statistics, batches, and the same bits on any number of devices."""

import re

import brainunit as u
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import dist_sim as ds
from dist_sim.core import environ, init_all_states, transform
from dist_sim.errors import ParameterError, UnitError

pA = u.pA


@pytest.fixture(autouse=True)
def clock():
    with environ.context(dt=0.1 * u.ms):
        ds.random.seed(5)
        yield


def run(source, steps, *, by="i"):
    def step(n):
        with environ.context(**({"i": n} if by == "i" else {"t": n * 0.1 * u.ms})):
            return source()

    return transform.jit(lambda: transform.for_loop(step, jnp.arange(steps)))()


def with_zeros(*parts):
    return np.concatenate([np.full(n, float(value)) for n, value in parts])


TIMES = np.arange(60) * 0.1
WAVES = {
    # 0.3, 0.7 and their sums are no sums of tenths in binary: no boundary may be a step off.
    "section": (
        lambda: ds.SectionInput(2, [1.0, -2.0, 3.0] * pA, [0.3, 0.7, 2.1] * u.ms), with_zeros((3, 1), (7, -2), (21, 3), (29, 0)),
    ),
    "constant": (lambda: ds.ConstantInput((2,), 4.0 * pA, 0.7 * u.ms), with_zeros((7, 4), (53, 0))),
    "step": (lambda: ds.StepInput(2, [5.0, 1.0] * pA, [2.9, 0.3] * u.ms), with_zeros((3, 0), (26, 1), (31, 5))),
    "ramp": (
        lambda: ds.RampInput(2, 1.0 * pA, 3.0 * pA, 2.0 * u.ms, t_start=0.7 * u.ms),
        np.where((np.arange(60) >= 7) & (np.arange(60) < 27), 1 + (TIMES - 0.7), 0),
    ),
    "sine": (
        lambda: ds.SinusoidalInput(2, 2.0 * pA, 250.0 * u.Hz, 4.2 * u.ms, bias=1.0 * pA),
        np.where(np.arange(60) < 42, 2 * np.sin(2 * np.pi * 0.25 * TIMES) + 1, 0),
    ),
}  # fmt: skip


@pytest.mark.parametrize("wave", WAVES)
@pytest.mark.parametrize("by", ["i", "t"])
def test_a_wave_is_its_formula_at_every_step(wave, by):
    make, wanted = WAVES[wave]
    found = run(make(), 60, by=by)
    assert found.shape == (60, 2) and np.allclose(found.to_decimal(pA), wanted[:, None], atol=1e-5)


def test_waves_differ_along_the_population_and_serve_any_batch():
    source = init_all_states(ds.SectionInput(3, np.arange(6.0).reshape(2, 3), [0.1, 0.2] * u.ms), 4)
    assert run(source, 4).tolist() == [[0, 1, 2], [3, 4, 5], [3, 4, 5], [0, 0, 0]]
    neuron = init_all_states(ds.LIF(3, V_th=10 * u.mV), 4)
    ramp = ds.RampInput(3, 0 * u.mA, np.arange(3.0) * u.mA, 1 * u.ms)
    assert run(lambda: neuron(ramp()), 3).shape == (3, 4, 3)


def test_spikes_come_at_their_steps_and_add_up():
    spikes = ds.SpikeTime(4, [2, 0, 2, 3, 2], [0.3, 0.0, 0.7, 0.3, 0.7] * u.ms, weights=[1.0, 2.0, 3.0, 4.0, 5.0])
    wanted = np.zeros((10, 4))
    np.add.at(wanted, ([3, 0, 7, 3, 7], [2, 0, 2, 3, 2]), [1, 2, 3, 4, 5])
    assert np.array_equal(run(spikes, 10), wanted) and np.array_equal(run(spikes, 10, by="t"), wanted)
    assert spikes.update(index=7)[2] == 8 and spikes.update(time=0.3 * u.ms)[3] == 4 and not spikes.update(index=99).any()
    assert not ds.SpikeTime(3, [], [] * u.ms).update(index=0).any()
    with environ.context(dt=0.2 * u.ms), pytest.raises(ParameterError, match="was made for dt=0.1 ms"):
        spikes.update(index=1)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_halves_of_a_step_go_up(dtype):
    # 0.15, 0.35 and 0.85 are below their half in binary, 0.25 is one.
    for half in (0.15, 0.25, 0.35, 0.45, 0.85):
        time = np.array([half], dtype) * u.ms
        first = round(half * 10 + 0.5)
        assert np.flatnonzero(run(ds.StepInput(1, [1.0] * pA, time), 12).to_decimal(pA)).tolist() == list(range(first, 12))
        assert np.count_nonzero(run(ds.ConstantInput(1, 1.0 * pA, time[0]), 12).to_decimal(pA)) == first
        assert np.flatnonzero(run(ds.SpikeTime(1, [0], time), 12)).tolist() == [first]
    assert np.flatnonzero(run(ds.SpikeTime(1, [0], np.array([0.3], dtype) * u.ms, time_as_step="floor"), 12)).tolist() == [3]
    assert np.flatnonzero(run(ds.SpikeTime(1, [0], np.array([0.7], dtype) * u.ms, time_as_step="ceil"), 12)).tolist() == [7]
    with environ.context(dt=0.01 * u.ms):
        long = run(ds.StepInput(1, [1.0] * pA, np.array([33.335], dtype) * u.ms), 3400)
        assert np.count_nonzero(long.to_decimal(pA)) == 3400 - 3334


HOUR = 36_000_000  # steps of 0.1 ms


@pytest.mark.parametrize("by", ["i", "t"])
def test_waves_keep_their_phase_for_hours(by):
    long = 1e9 * u.ms
    sine = ds.SinusoidalInput(2, 1.0 * pA, np.array([7.3, 40.0]) * u.Hz, long)
    ramp = ds.RampInput(2, 0.0 * pA, 2000.0 * pA, 0.2 * u.ms, t_start=(HOUR + 1) * 0.1 * u.ms)
    step = transform.jit(lambda: (sine(), ramp()))
    found = []
    for n in range(HOUR, HOUR + 4):
        with environ.context(**({"i": n} if by == "i" else {"t": n * 0.1 * u.ms})):
            found.append([x.to_decimal(pA) for x in step()])
    waves, ramps = (np.array(x) for x in zip(*found, strict=True))
    turns = np.array([[n * f / 10_000 % 1.0 for f in (7.3, 40.0)] for n in range(HOUR, HOUR + 4)])
    assert np.allclose(waves, np.sin(2 * np.pi * turns), atol=1e-5) and step.compilations == 1
    assert np.allclose(ramps[:, 0], [0, 0, 1000, 0], atol=0.01)


def test_a_frequency_can_be_learnt():
    def loss(f):
        sine = ds.SinusoidalInput(1, 1.0, f * u.Hz, 100 * u.ms)
        with environ.context(i=30):
            return sine()[0]

    assert float(transform.grad(loss, argnums=0)(jnp.float32(20.0))) == pytest.approx(
        2 * np.pi * 0.003 * np.cos(2 * np.pi * 0.06), rel=1e-4
    )


# Noise

@pytest.mark.parametrize("p", [2.0**-25, 2.0**-24, 3e-7, 2.0**-23 * 1.5])
def test_rare_spikes_come_as_often_as_they_should(p):
    # 15 of them: in steps of 2**-24 or coarser there would be none, or twice as many.
    size, steps = 100_000, int(15 / p / 100_000)
    source = init_all_states(ds.PoissonSpike(size, p / 1e-4 * u.Hz))
    count = transform.jit(lambda: transform.for_loop(lambda: source().sum(), length=steps).sum())()
    assert stats.poisson.cdf(count, size * steps * p) > 1e-4 and stats.poisson.sf(count - 1, size * steps * p) > 1e-4


N, STEPS = 2000, 50


def mean_and_variance(x, mean, variance):
    x = np.asarray(x, np.float64)
    assert abs(x.mean() - mean) < 5 * np.sqrt(variance / x.size)
    assert abs(x.var() / variance - 1) < 5 * np.sqrt(2 / x.size) + 5 * np.sqrt(stats.kurtosis(x.ravel()) ** 2 / x.size)


def test_poisson_spikes_have_their_rates():
    rates = np.linspace(0.0, 4000.0, N)
    found = np.asarray(run(init_all_states(ds.PoissonSpike(N, rates * u.Hz, spk_type=float)), 200))
    p = -np.expm1(-rates * 1e-4)
    assert not found[:, 0].any()
    assert stats.chi2.sf(((found.sum(0) - 200 * p)[1:] ** 2 / (200 * p * (1 - p))[1:]).sum(), N - 1) > 1e-4
    # Neither one neuron with the next, nor one step with the next.
    z = (found[:, 1000:] - p[1000:]) / np.sqrt(p * (1 - p))[1000:]
    assert abs((z[1:] * z[:-1]).mean()) < 5 / np.sqrt(z[1:].size) and abs((z[:, 1:] * z[:, :-1]).mean()) < 5 / np.sqrt(z.size)
    assert ds.PoissonSpike(3, 10 * u.Hz)().dtype == bool


def test_an_encoder_follows_the_rates_it_is_given():
    encoder = init_all_states(ds.PoissonEncoder(3), 5000)
    found = run(lambda: encoder(np.array([0.0, 1e3, 1e6]) * u.Hz), 4)
    assert found.shape == (4, 5000, 3) and not found[..., 0].any() and found[..., 2].all()
    assert abs(found[..., 1].mean() - -np.expm1(-0.1)) < 5 * np.sqrt(0.09 / 20000)


def test_white_noise():
    found = run(init_all_states(ds.WienerProcessInput(N, 3.0 * pA, (STEPS - 10) * 0.1 * u.ms)), STEPS)
    assert not found[-10:].to_decimal(pA).any()
    mean_and_variance(found[:-10].to_decimal(pA), 0.0, 9 * 0.1)
    assert stats.kstest(found[0].to_decimal(pA) / np.sqrt(0.9), "norm").pvalue > 1e-4


@pytest.mark.parametrize("dt", [0.1, 2.0])
def test_coloured_noise_is_exact_at_any_step(dt):
    with environ.context(dt=dt * u.ms):
        source = init_all_states(ds.OUProcessInput(N, 5.0 * pA, 2.0 * pA, 1.5 * u.ms, 1e3 * u.ms))
        found = np.asarray(run(source, 80).to_decimal(pA))
    assert abs(found[0].mean() - 5) < 1 and 0 < found[0].var() < 4 * 0.75 * 1.2
    mean_and_variance(found[-1], 5.0, 4 * 1.5 / 2)
    lagged = np.corrcoef(found[-2], found[-1])[0, 1]
    assert abs(lagged - np.exp(-dt / 1.5)) < 5 / np.sqrt(N)


def test_many_trains_add_to_a_state():
    neuron = init_all_states(ds.LIF(1000, V_th=100 * u.mV), 3)
    drive = ds.PoissonInput((neuron, "V"), np.arange(0, 1000, 2), 80, 250.0 * u.Hz, 0.5 * u.mV)
    transform.for_loop(lambda: drive(), length=20)
    found = neuron.V.value.to_decimal(u.mV)
    assert not found[:, 1::2].any()
    mean_and_variance(found[:, ::2] / 0.5, 40.0, 40.0)
    held = np.arange(1000) < 500
    before = neuron.V.value
    ds.poisson_input(50 * u.kHz, 80, 1.0 * u.mV, neuron.V, refractory=held)
    moved = (neuron.V.value - before).to_decimal(u.mV)
    assert not moved[:, :500].any()
    mean_and_variance(moved[:, 500:], 400.0, 400.0)


RANDOM = {
    "spikes": lambda n: ds.PoissonSpike(n, ds.init.Uniform(0.0, 5e3, unit=u.Hz)),
    "white": lambda n: ds.WienerProcessInput(n, 1.0, 1e3 * u.ms),
    "coloured": lambda n: ds.OUProcessInput(n, 1.0 * pA, 2.0 * pA, 3.0 * u.ms, 1e3 * u.ms),
}


@pytest.mark.parametrize("kind", RANDOM)
@pytest.mark.parametrize("batch", [None, 3])
def test_placement_changes_no_bit(kind, batch):
    def bits():
        ds.random.seed(2)
        return np.asarray(u.get_mantissa(run(init_all_states(RANDOM[kind](1003), batch), 6)))

    with ds.use_mesh(devices=1):
        alone = bits()
    assert alone.shape == (6, 1003) if batch is None else (6, 3, 1003)
    rows = alone.reshape(6, -1, 1003)
    assert batch is None or not np.array_equal(rows[:, 0], rows[:, 1])
    with ds.use_mesh(devices=8):
        assert np.array_equal(bits(), alone)


def test_the_devices_draw_their_own_numbers_without_communication():
    with ds.use_mesh(devices=8):
        source = init_all_states(ds.PoissonSpike(1024, 1e3 * u.Hz))
        text = transform.jit(lambda: source()).lower().compile().as_text()
    assert not re.search(r"all-gather|dist_sim\.gather", text) and "u32[128]" in text and "u32[1024]" not in text


def test_lanes_and_new_starts_have_numbers_of_their_own():
    source = ds.WienerProcessInput(50, 1.0, 1.0 * u.ms)
    first, second = (np.asarray(run(init_all_states(source), 2)) for _ in range(2))
    assert len(np.unique(np.concatenate([first, second]))) == 200


BAD = [
    (lambda: ds.SectionInput(2, [1.0] * pA, [1.0, 2.0] * u.ms), ParameterError, "1 and 2; needs one of each"),
    (lambda: ds.SectionInput(2, [1.0] * pA, [1.0] * u.mV), UnitError, r"durations=...\): needs a time"),
    (lambda: ds.SectionInput(2, np.ones((1, 3)), [1.0] * u.ms), ParameterError, r"needs one number, or \(2,\)"),
    (lambda: ds.ConstantInput(2, 1.0 * pA, -1 * u.ms), ParameterError, "at least 0 ms"),
    (lambda: ds.RampInput(2, 1.0 * pA, 1.0 * u.mV, 1 * u.ms), UnitError, "Give all of one unit"),
    (lambda: ds.RampInput(2, 1.0 * pA, 2.0 * pA, 0 * u.ms), ParameterError, "above 0 ms"),
    (lambda: ds.SinusoidalInput(2, 1.0 * pA, 3 * u.ms, 1 * u.ms), UnitError, "needs a rate"),
    (lambda: ds.OUProcessInput(2, 1.0 * pA, 1.0, 1 * u.ms, 1 * u.ms), UnitError, "in one unit"),
    (lambda: ds.OUProcessInput(2, 1.0, 1.0, 0 * u.ms, 1 * u.ms), ParameterError, "above 0"),
    (lambda: ds.PoissonSpike(2, -1 * u.Hz), ParameterError, "at least 0 Hz"),
    (lambda: ds.PoissonSpike(2, 5.0), UnitError, "Did you mean 5.0 \\* u.Hz"),
    (lambda: ds.SpikeTime(2, [0, 2], [1, 1] * u.ms), ParameterError, "between 0 and 1"),
    (lambda: ds.SpikeTime(2, [0], [1, 1] * u.ms), ParameterError, "one of each"),
    (lambda: ds.SpikeTime(2, [0], [1] * u.ms, time_as_step="up"), ParameterError, "allowed are"),
    (lambda: ds.poisson_input(1 * u.Hz, -1, 1.0, ds.State(jnp.zeros(2))), ParameterError, "whole number of trains"),
    (lambda: ds.poisson_input(1 * u.Hz, 1, 1.0 * u.mV, ds.State(jnp.zeros(2))), UnitError, "in that unit"),
    (lambda: ds.ConstantInput(2, 1.0, 1 * u.ms)(), KeyError, "t"),
]


@pytest.mark.parametrize(("call", "error", "message"), BAD, ids=[f"{n}" for n in range(len(BAD))])
def test_what_does_not_fit_is_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()
