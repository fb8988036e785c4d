"""Propagators of the exactly solvable neurons against the exponential of their whole matrix, also where time constants meet."""

from __future__ import annotations

from types import SimpleNamespace

import brainunit as u
import numpy as np
import pytest
from reference.neurons import run_nest
from scipy.linalg import expm

import dist_sim as ds
from dist_sim.core import environ
from dist_sim.nest.neurons.linear import exp_differences

DT = 0.1
TIMES = [(10.0, 5.0, 1.0), (5.0, 5.0, 5.0), (5.0, 5.0 + 1e-7, 5.0 - 1e-7), (3.0, 3.0, 40.0), (2.0, 9.0, 2.0), (20.0, 0.05, 0.05)]


@pytest.mark.parametrize(
    "x", [(-0.3,), (-1.0, -1.0), (-1.0, -1.0 + 1e-9, 0.0), (-40.0, 0.0, -40.0, -1.0), (-900.0, 0.0), (0.0,) * 4]
)
def test_divided_differences_of_exp(x):
    (wanted,) = expm(np.diag(x) + np.diag(np.ones(len(x) - 1), 1))[:1, -1]
    np.testing.assert_allclose(exp_differences(*(np.array([v]) for v in x)), [wanted], rtol=1e-11)


@pytest.mark.parametrize("times", TIMES)
def test_amat2_psc_exp(times):
    tau_m, tau_v, tau_syn = times
    C_m, beta = 200.0, 0.7
    # What changes what: a constant current, a synaptic one, V, the slope's trace and the part of the threshold.
    rates = np.zeros((5, 5))
    rates[1, 1] = -1 / tau_syn
    rates[2] = 1 / C_m, 1 / C_m, -1 / tau_m, 0, 0
    rates[3] = beta * rates[2]
    rates[3, 3] = rates[4, 4] = -1 / tau_v
    rates[4, 3] = 1.0
    whole = expm(DT * rates)
    given = {
        "tau_m": tau_m,
        "tau_v": tau_v,
        "tau_syn_ex": tau_syn,
        "tau_syn_in": 2.0,
        "C_m": C_m,
        "beta": beta,
        "tau_1": 1.0,
        "tau_2": 1.0,
    }
    p = ds.amat2_psc_exp.propagators(SimpleNamespace(**{n: np.array([v]) for n, v in given.items()}), DT)
    places = {
        "P20": (2, 0), "P21_ex": (2, 1), "D_0": (3, 0), "D_ex": (3, 1), "D_V": (3, 2), "decay_v": (3, 3),
        "W_0": (4, 0), "W_ex": (4, 1), "W_V": (4, 2), "P_dv": (4, 3),
    }  # fmt: skip
    np.testing.assert_allclose(p["P22"] + 1, whole[2, 2], rtol=1e-13)
    for name, place in places.items():
        np.testing.assert_allclose(p[name], whole[place], rtol=1e-9, err_msg=name)


@pytest.mark.parametrize(("tau_psc", "tau_rec"), [(2.0, 400.0), (30.0, 30.0), (30.0, 30.0 + 1e-7)])
def test_what_iaf_tum_2000_recovers(tau_psc, tau_rec):
    # Of y to z to x.
    rates = np.array([[-1 / tau_psc, 0, 0], [1 / tau_psc, -1 / tau_rec, 0], [0, 1 / tau_rec, 0]])
    whole = expm(DT * rates)
    given = {"tau_m": 10.0, "C_m": 250.0, "tau_syn_ex": 2.0, "tau_syn_in": 2.0, "rho": 0.0, "delta": 0.0, "tau_fac": 0.0}
    given |= {"tau_psc": tau_psc, "tau_rec": tau_rec}
    p = ds.iaf_tum_2000.propagators(SimpleNamespace(**{n: np.array([v]) for n, v in given.items()}), DT)
    np.testing.assert_allclose(
        [p["decay_y"][0], p["y_to_x"][0], p["z_to_x"][0]], [whole[0, 0], whole[2, 0], whole[2, 1]], rtol=1e-10
    )
    assert p["decay_u"] == 0


@pytest.mark.nest
def test_what_iaf_tum_2000_releases_is_nests():
    params = {"I_e": 900.0, "tau_rec": 50.0, "tau_fac": 30.0, "U": 0.3, "x": 0.2, "y": 0.1, "u": 0.4}
    asked = {"model": "iaf_tum_2000", "dt": DT, "duration": 100.0, "neurons": [params]}
    # NEST sends it where the time within the step is sent.
    theirs = run_nest(asked | {"stimuli": [], "currents": [], "recordables": []})
    unit = {"I_e": u.pA, "tau_rec": u.ms, "tau_fac": u.ms}
    with environ.context(dt=DT * u.ms, precision=64):
        neuron = ds.iaf_tum_2000(1, **{n: v * unit.get(n, u.UNITLESS) for n, v in params.items()})
        neuron.init_state()
        step = ds.transform.jit(lambda: (neuron(), neuron.released))
        steps = [
            (k + 1, float(u.get_magnitude(released)[0])) for k in range(1000) for spike, released in [step()] if spike[0] > 0
        ]
    assert [k for k, _ in steps] == theirs["steps"].tolist()
    np.testing.assert_allclose([r for _, r in steps], theirs["offsets"], rtol=1e-12)
