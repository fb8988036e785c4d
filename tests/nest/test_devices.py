"""Generators in NEST and in dist_sim: what arrives in every step, or its statistics where it is drawn."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from reference.devices import Case, in_dist_sim, in_nest

pytestmark = pytest.mark.nest

WINDOW = dict(start=3.0, stop=4.0)
TRAIN = [0.1, 0.5, 2.9, 3.0, 3.1, 3.1, 3.9, 4.0, 4.1, 7.0]
STEPS = dict(amplitude_times=[0.1, 2.0, 5.0], amplitude_values=[1.0, -2.0, 3.5])
AC = dict(amplitude=30.0, offset=5.0, frequency=113.0, phase=37.0)

# What is not drawn: equal in every step.
EXACT = {
    "dc": Case(model="dc_generator", params=dict(amplitude=7.0)),
    "dc window": Case(model="dc_generator", params=dict(amplitude=7.0, **WINDOW)),
    "dc delay 1 step": Case(model="dc_generator", params=dict(amplitude=7.0, **WINDOW), delay=0.1),
    "dc origin": Case(model="dc_generator", params=dict(amplitude=7.0, origin=2.5, **WINDOW), weight=-2.0),
    "ac": Case(model="ac_generator", params=AC),
    "ac window": Case(model="ac_generator", params=dict(**AC, **WINDOW), delay=0.1),
    "ac origin": Case(model="ac_generator", params=dict(**AC, origin=1.7, **WINDOW), weight=3.0),
    "ac long": Case(model="ac_generator", params=AC, duration=2000.0),
    "ac dt 0.025": Case(model="ac_generator", params=AC, dt=0.025),
    "step_current": Case(model="step_current_generator", params=STEPS),
    "step_current window": Case(model="step_current_generator", params=dict(**STEPS, start=3.0, stop=6.0), delay=0.1),
    "step_current off the grid": Case(
        model="step_current_generator",
        params=dict(amplitude_times=[0.14, 2.01, 5.0], amplitude_values=[1.0, 2.0, 3.0], allow_offgrid_times=True),
    ),
    "spike": Case(model="spike_generator", params=dict(spike_times=TRAIN)),
    "spike window": Case(model="spike_generator", params=dict(spike_times=TRAIN, **WINDOW)),
    "spike origin": Case(model="spike_generator", params=dict(spike_times=TRAIN, origin=1.0, **WINDOW), delay=0.1),
    "spike weights": Case(
        model="spike_generator", params=dict(spike_times=TRAIN, spike_weights=[2.0, -1, 0.5, 3, 4, 5, 0, 1, 1, -2.5]), weight=-1.5
    ),
    "spike weights window": Case(
        model="spike_generator", params=dict(spike_times=TRAIN, spike_weights=np.arange(10.0).tolist(), **WINDOW)
    ),
    "spike multiplicities": Case(
        model="spike_generator", params=dict(spike_times=TRAIN, spike_multiplicities=[2, 0, 1, 3, 1, 2, 1, 1, 5, 1])
    ),
    "spike off the grid": Case(
        model="spike_generator", params=dict(spike_times=[0.04, 0.25, 0.31, 1.0], allow_offgrid_times=True)
    ),
    "spike now": Case(model="spike_generator", params=dict(spike_times=[0.0, 0.1, 0.1], shift_now_spikes=True)),
    **{
        f"delay {delay}": Case(model="spike_generator", params=dict(spike_times=TRAIN), delay=delay)
        for delay in (0.05, 0.15, 0.25, 0.35, 0.45)
    },
}
# Drawn, at rates at which no step stays empty: first and last arrival.
BUSY = {
    "poisson_generator": dict(rate=3e5),
    "inhomogeneous_poisson_generator": dict(rate_times=[0.1], rate_values=[3e5]),
    "sinusoidal_poisson_generator": dict(rate=3e5, amplitude=100.0, frequency=10.0),
    "gamma_sup_generator": dict(rate=2000.0, n_proc=100, gamma_shape=2),
    "ppd_sup_generator": dict(rate=500.0, n_proc=500, dead_time=0.5),
    "pulsepacket_generator": dict(pulse_times=[3.5], activity=5000, sdev=2.0),
}
WINDOWS = {
    f"{model} {name}": Case(model=model, params=params | window, duration=9.0)
    for model, params in BUSY.items()
    for name, window in {"": {}, "window": WINDOW, "origin": dict(origin=1.0, **WINDOW)}.items()
}
WAVE = dict(rate=300.0, amplitude=250.0, frequency=20.0, phase=57.0)
# Drawn, for long: means and more.
MANY = dict(targets=60, duration=1000.0)
DRAWN = {
    "poisson_generator": Case(model="poisson_generator", params=dict(rate=700.0), **MANY),
    "inhomogeneous": Case(
        model="inhomogeneous_poisson_generator",
        params=dict(rate_times=[100.0, 400.0, 700.0], rate_values=[500.0, 2000.0, 300.0]), **MANY,
    ),
    "sinusoidal": Case(model="sinusoidal_poisson_generator", params=WAVE, **MANY),
    "sinusoidal clipped": Case(model="sinusoidal_poisson_generator", params=WAVE | dict(rate=50.0), **MANY),
    "gamma_sup": Case(model="gamma_sup_generator", params=dict(rate=30.0, n_proc=20, gamma_shape=4), **MANY),
    "gamma_sup of one": Case(model="gamma_sup_generator", params=dict(rate=30.0, n_proc=1, gamma_shape=3), **MANY),
    "ppd_sup": Case(model="ppd_sup_generator", params=dict(rate=30.0, n_proc=20, dead_time=15.0), **MANY),
    "ppd_sup wave": Case(
        model="ppd_sup_generator",
        params=dict(rate=30.0, n_proc=20, dead_time=15.0, frequency=20.0, relative_amplitude=0.8), **MANY,
    ),
    "mip": Case(model="mip_generator", params=dict(rate=700.0, p_copy=0.4), **MANY),
}  # fmt: skip
COMMON = {
    "sinusoidal": Case(
        model="sinusoidal_poisson_generator", params=WAVE | dict(individual_spike_trains=False), targets=3, duration=300.0
    ),
    "pulsepacket": Case(
        model="pulsepacket_generator", params=dict(pulse_times=[5.0, 10.0], activity=2000, sdev=0.7), targets=3, duration=20.0
    ),
}
NOISE = {
    "noise": Case(model="noise_generator", params=dict(mean=3.0, std=2.0), targets=300, duration=200.0),
    "noise window": Case(model="noise_generator", params=dict(mean=3.0, std=2.0, dt=0.4, start=3.0, stop=6.5), targets=20),
    "noise wave": Case(
        model="noise_generator", params=dict(std=2.0, std_mod=1.9, frequency=20.0, phase=90.0, dt=0.5), targets=300,
        duration=200.0,
    ),
}  # fmt: skip
GROUPS = {"exact": EXACT, "windows": WINDOWS, "drawn": DRAWN, "common": COMMON, "noise": NOISE}


@cache
def of_nest(group: str) -> dict[str, np.ndarray]:
    return in_nest(GROUPS[group])


def row(name: str, what: str, ours: object, theirs: object) -> dict[str, object]:
    """Of the page of parity."""
    values = {n: float(x) if isinstance(x, np.floating) else x for n, x in (("here", ours), ("NEST", theirs))}
    return {"device": name, "what": what} | values


@pytest.mark.parametrize("name", EXACT)
def test_what_is_not_drawn_is_equal_in_every_step(name, parity):
    ours, theirs = in_dist_sim(EXACT[name]), of_nest("exact")[name]
    assert np.abs(theirs).max() > 0.1
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-8)
    parity("devices", row(name, "every step", np.abs(ours - theirs).max(), 0.0))


@pytest.mark.parametrize("name", WINDOWS)
def test_first_and_last_arrival(name, parity):
    ours, theirs = (np.flatnonzero(found[:, 0] > 0.5) for found in (in_dist_sim(WINDOWS[name]), of_nest("windows")[name]))
    if "window" in name or "origin" in name:
        assert len(theirs) == 10 or name == "pulsepacket_generator window"
        # A pulse packet sends nothing of before its window, and sends late; with an origin NEST sends what is before it, too.
        np.testing.assert_array_equal(ours, theirs[1:] if name == "pulsepacket_generator origin" else theirs)
    elif "pulse" in name:
        assert ours[0] == theirs[0] == 11
    else:
        assert (ours[0], ours[-1]) == (theirs[0], theirs[-1])
    if name == "poisson_generator window":
        assert ours.tolist() == list(range(41, 51))  # 4.2 to 5.1 ms
    first_last = [f"{0.1 * (x[0] + 1):.1f}, {0.1 * (x[-1] + 1):.1f}" for x in (ours, theirs)]
    parity("devices", row(name, "first and last arrival / ms", *first_last))


def test_copies_of_a_mother_train_arrive_after_the_delay():
    """NEST sends them one minimum delay later, which depends on the rest of the network: 4.1 to 5.0 ms before that."""
    arrived = np.flatnonzero(in_dist_sim(Case(model="mip_generator", params=dict(rate=3e5, **WINDOW)))[:, 0] > 0.5)
    assert arrived.tolist() == list(range(40, 50))


def bins(counts: np.ndarray, width: int) -> np.ndarray:
    """(bins, targets) spikes in each `width` steps."""
    return counts[: len(counts) // width * width].reshape(-1, width, counts.shape[1]).sum(axis=1)


def fano(counts: np.ndarray, width: int = 200) -> tuple[float, float]:
    """Fano factor of counts in 20 ms, and its standard error over the targets."""
    each = bins(counts, width)
    factors = each.var(axis=0, ddof=1) / each.mean(axis=0)
    return float(factors.mean()), float(factors.std() / len(factors) ** 0.5)


@pytest.mark.parametrize("name", DRAWN)
def test_rates_and_fano_factors(name, parity):
    case = DRAWN[name]
    ours, theirs = np.rint(in_dist_sim(case)), np.rint(of_nest("drawn")[name])
    total = theirs.sum()
    assert total > 1500
    # Both in 4 standard errors of a Poisson count, which is the widest of these processes; mip shares its mother's.
    shared = case.params["rate"] * 1e-3 * case.duration * (case.params["p_copy"] * case.targets) ** 2 if name == "mip" else 0.0
    assert abs(ours.sum() - total) < 4 * (2 * total + 2 * shared) ** 0.5
    (f, error), (g, error_g) = fano(ours), fano(theirs)
    assert abs(f - g) < 4 * (error**2 + error_g**2) ** 0.5 + (0.03 if name == "mip" else 0.0), (f, g)
    # The course over time, in 10 ms.
    course, expected = (bins(x, 100).sum(axis=1) for x in (ours, theirs))
    if name != "mip":
        assert (np.abs(course - expected) < 5 * np.sqrt(course + expected + 1) + 1).all()
    parity("devices", row(name, "spikes; Fano factor", f"{ours.sum():,.0f}; {f:.2f}", f"{total:,.0f}; {g:.2f}"))


def test_copies_of_one_mother_train_are_correlated():
    """Covariance of two copies is p_copy**2 times the mother's variance, in any bin."""
    case = DRAWN["mip"]
    for found in (in_dist_sim(case), of_nest("drawn")["mip"]):
        each = bins(np.rint(found), 50)
        covariance = np.cov(each.T)
        between = covariance[~np.eye(len(covariance), dtype=bool)].mean()
        assert between == pytest.approx(0.4**2 * 700.0 * 5e-3, rel=0.2)


def phase_and_depth(counts: np.ndarray, frequency: float) -> tuple[float, float]:
    """Of the first harmonic of the course, in steps of 0.1 ms."""
    course = counts.sum(axis=1)
    harmonic = (course * np.exp(-2j * np.pi * frequency * 1e-4 * np.arange(len(course)))).sum() / course.sum()
    return float(np.angle(harmonic)), 2 * float(abs(harmonic))


@pytest.mark.parametrize("name", ["sinusoidal", "sinusoidal clipped", "ppd_sup wave"])
def test_phase_and_depth_of_the_modulation(name):
    (phase, depth), (expected, deep) = (phase_and_depth(x, 20.0) for x in (in_dist_sim(DRAWN[name]), of_nest("drawn")[name]))
    assert phase == pytest.approx(expected, abs=0.06) and depth == pytest.approx(deep, abs=0.05)


@pytest.mark.parametrize("name", COMMON)
def test_all_targets_get_the_same_train(name):
    ours, theirs = np.rint(in_dist_sim(COMMON[name])), np.rint(of_nest("common")[name])
    for found in (ours, theirs):
        assert found.sum() > 50 and (found == found[:, :1]).all()
    if name == "pulsepacket":
        steps = np.arange(len(ours))
        assert ours[:, 0].sum() == theirs[:, 0].sum() == 4000
        (mean, std), (expected, width) = (
            (np.average(steps, weights=x), np.cov(steps, fweights=x.astype(int)) ** 0.5) for x in (ours[:, 0], theirs[:, 0])
        )
        assert mean == pytest.approx(expected, abs=2.0) and std == pytest.approx(width, rel=0.03)


@pytest.mark.parametrize("name", NOISE)
def test_noise_is_drawn_when_nest_draws_it(name):
    ours, theirs = in_dist_sim(NOISE[name]) / 0.1, of_nest("noise")[name] / 0.1
    changes = [np.flatnonzero((np.abs(np.diff(x, axis=0)) > 1e-6).any(axis=1)) for x in (ours, theirs)]
    np.testing.assert_array_equal(*changes)
    if "window" in name:
        return
    case = NOISE[name].params
    every = round(case.get("dt", 1.0) / 0.1)
    ours, theirs = (x[10 + 2 :: every][:-1] for x in (ours, theirs))
    n = ours.size
    assert abs(ours.mean() - case.get("mean", 0.0)) < 4 * 2.8 / n**0.5
    assert ours.var() == pytest.approx(theirs.var(), rel=6 * (2 / n) ** 0.5)
    # Independent of one draw to the next and of one target to the next.
    centred = (ours - ours.mean()) / ours.std()
    assert abs((centred[1:] * centred[:-1]).mean()) < 4 / n**0.5 and abs((centred[:, 1:] * centred[:, :-1]).mean()) < 4 / n**0.5
    # The course of the variance.
    both = [(x**2).mean(axis=1) - x.mean(axis=1) ** 2 for x in (ours, theirs)]
    assert np.abs(both[0] - both[1]).max() < 6 * both[1].max() * (4 / ours.shape[1]) ** 0.5
