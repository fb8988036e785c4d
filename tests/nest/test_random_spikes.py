"""Neurons that spike at random against a live NEST, by two-sample tests: how often each spikes, and the intervals."""

from __future__ import annotations

from typing import Any

import brainunit as u
import numpy as np
import pytest
from reference.neurons import in_units, run_nest
from scipy.stats import ks_2samp

import dist_sim as ds
from dist_sim.nest.neurons import NEURONS

pytestmark = pytest.mark.nest
NEURONS_EACH, DURATION = 400, 600.0
# A right model fails one of the two tests of a case with this probability, a wrong one is seen in tens of thousands of intervals.
LEVEL = 1e-3

ESCAPE = {"delta": 2.0, "rho": 400.0, "I_e": 350.0}
GIF = {"lambda_0": 100.0, "Delta_V": 2.0, "V_T_star": -50.0, "I_e": 100.0, "V_reset": -60.0}
ADAPTED = {"tau_sfa": (10.0, 100.0), "q_sfa": (3.0, 0.5), "tau_stc": (15.0,), "q_stc": (15.0,)}
RATE = {"c_1": 0.0, "c_2": 100.0, "c_3": 0.25, "I_e": 100.0}
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "iaf_psc_exp": ("iaf_psc_exp", ESCAPE | {"t_ref": 0.5}),
    "iaf_psc_exp, t_ref 0, certain": ("iaf_psc_exp", ESCAPE | {"t_ref": 0.0, "rho": 3000.0, "V_reset": -58.0}),
    "iaf_tum_2000": ("iaf_tum_2000", ESCAPE),
    "gif_psc_exp": ("gif_psc_exp", GIF),
    "gif_psc_exp, adapted": ("gif_psc_exp", GIF | ADAPTED | {"t_ref": 1.0, "lambda_0": 1000.0}),
    "gif_psc_exp, t_ref 0": ("gif_psc_exp", GIF | {"t_ref": 0.0, "q_sfa": (2.0,), "tau_sfa": (20.0,)}),
    "gif_psc_exp_multisynapse": (
        "gif_psc_exp_multisynapse",
        GIF | ADAPTED | {"tau_syn": (2.0, 0.5), "t_ref": 2.0, "lambda_0": 500.0},
    ),
    "gif_cond_exp": ("gif_cond_exp", GIF | ADAPTED | {"t_ref": 1.0, "lambda_0": 1000.0}),
    "gif_cond_exp_multisynapse": ("gif_cond_exp_multisynapse", GIF | {"tau_syn": (2.0,), "E_rev": (0.0,)}),
    "pp_psc_delta": ("pp_psc_delta", RATE),
    "pp_psc_delta, adapted": ("pp_psc_delta", RATE | {"with_reset": False, "tau_sfa": (10.0, 50.0), "q_sfa": (2.0, 1.0)}),
    "pp_psc_delta, linear": (
        "pp_psc_delta",
        RATE | {"c_1": 60.0, "c_2": -20.0, "c_3": 0.0, "dead_time": 2.0, "with_reset": False},
    ),
    "pp_psc_delta, dead_time 1e-8": ("pp_psc_delta", RATE | {"dead_time": 1e-8}),
    "pp_psc_delta, dead_time 0": ("pp_psc_delta", RATE | {"dead_time": 0.0, "with_reset": False, "c_2": 1000.0}),
    "pp_psc_delta, dead_time 0, adapted": (
        "pp_psc_delta",
        RATE | {"dead_time": 0.0, "with_reset": False, "c_2": 3000.0, "tau_sfa": (10.0,), "q_sfa": (1.0,)},
    ),
    "pp_psc_delta, random dead time": (
        "pp_psc_delta",
        RATE | {"dead_time": 0.7, "dead_time_random": True, "c_2": 2000.0, "c_3": 0.0, "with_reset": False},
    ),
    "pp_psc_delta, random dead time of shape 4": (
        "pp_psc_delta",
        RATE | {"dead_time": 1.5, "dead_time_random": True, "dead_time_shape": 4, "c_2": 3000.0, "c_3": 0.0, "with_reset": False},
    ),
}


def ours(model: str, params: dict[str, Any], duration: float = DURATION, **options: Any) -> tuple[np.ndarray, np.ndarray]:
    sim = ds.Simulator(dt=0.1 * u.ms, **({"seed": 12, "precision": 64} | options))
    cells, recorder = sim.create(NEURONS[model], NEURONS_EACH, params=in_units(model, params)), sim.create(ds.spike_recorder)
    sim.connect(cells, recorder)
    times, senders = sim.simulate(duration * u.ms).events(recorder)
    return np.rint(times.to_decimal(u.ms) * 10).astype(np.int64), senders


def nests(model: str, params: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    asked = {"model": model, "dt": 0.1, "duration": DURATION, "neurons": [params] * NEURONS_EACH, "seed": 34}
    given = run_nest(asked | {"stimuli": [], "currents": [], "recordables": []})
    return given["steps"], given["senders"]


def measured(steps: np.ndarray, senders: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Spikes of each neuron, and the intervals of all, in steps."""
    order = np.lexsort((steps, senders))
    steps, senders = steps[order], senders[order]
    return np.bincount(senders, minlength=NEURONS_EACH), np.diff(steps)[np.diff(senders) == 0]


@pytest.mark.parametrize("case", CASES)
def test_rates_and_intervals_are_nests(case, parity):
    (counts, intervals), (their_counts, their_intervals) = (measured(*run(*CASES[case])) for run in (ours, nests))
    assert len(their_intervals) > 20 * NEURONS_EACH, "too few spikes to tell"
    mean, spread = counts.mean() - their_counts.mean(), np.sqrt((counts.var() + their_counts.var()) / NEURONS_EACH)
    assert abs(mean) <= 4.0 * spread, f"{counts.mean()} and {their_counts.mean()} spikes each"
    p = {"p of counts": ks_2samp(counts, their_counts).pvalue, "p of intervals": ks_2samp(intervals, their_intervals).pvalue}
    assert min(p.values()) > LEVEL, p
    spikes = {"spikes of NEST": int(their_counts.sum()), "here": int(counts.sum())}
    parity("random neurons", {"model": case} | spikes | {n: float(x) for n, x in p.items()})


@pytest.mark.parametrize("precision", [32, 64])
@pytest.mark.parametrize("case", ["iaf_psc_exp", "gif_psc_exp, adapted", "pp_psc_delta, random dead time of shape 4"])
def test_what_is_drawn_does_not_depend_on_the_placement(case, precision):
    one, three = (ours(*CASES[case], 50.0, devices=n, precision=precision, chunk=(9 if n == 3 else 50) * u.ms) for n in (1, 3))
    assert len(one[0]) > NEURONS_EACH
    np.testing.assert_array_equal(one, three)
    assert not np.array_equal(one[1], ours(*CASES[case], 50.0, seed=13, precision=precision)[1])
