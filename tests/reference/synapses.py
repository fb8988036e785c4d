"""Synapses that change, of several kinds for each model, and the trains of spikes that they are tried with."""

from __future__ import annotations

import numpy as np

from dist_sim.nest.synapses import SYNAPSES
from reference.description import Description, Population
from reference.networks import on_grid, poisson_trains
from reference.protocols import DT, FIRED

CHANGING = {name: model for name, model in SYNAPSES.items() if model.on_pre is not None}
RANDOM = ("quantal_stp_synapse", "bernoulli_synapse")
POWERS = ({}, {"mu_plus": 0.0, "mu_minus": 0.0, "alpha": 1.1}, {"mu_plus": 0.4, "mu_minus": 0.7, "lambda": 0.2})
NEAREST = [dict(Wmax=1.0, tau_plus=15.0, **{"lambda": 0.1} | more) for more in POWERS] + [{"Wmax": -1.0, "lambda": 0.1}]
DEPRESSING = ({"U": 0.4, "tau_rec": 100.0, "tau_fac": 50.0, "u": 0.2, "x": 0.7}, {"tau_rec": 300.0}, {"U": 0.1, "tau_fac": 800.0})
# Parameters of four kinds each, in the unit of the weights, which begin at half of Wmax.
KINDS = {
    "stdp_synapse": [kind | {"Kplus": 0.5} for kind in NEAREST],
    "stdp_synapse_hom": NEAREST,
    "stdp_pl_synapse_hom": [{}, {"lambda": 0.2, "mu": 0.2, "alpha": 0.5}, {"tau_plus": 8.0, "mu": 1.0, "Kplus": 1.0}],
    "stdp_triplet_synapse": [
        {"Wmax": 1.0, "Aplus": 0.01}, {"Wmax": 1.0, "Aplus_triplet": 0.03, "tau_plus_triplet": 50.0, "Kplus_triplet": 1.0},
        {"Wmax": -1.0, "Aminus": 0.02, "Aminus_triplet": 0.01, "tau_plus": 30.0},
    ],
    "stdp_nn_symm_synapse": NEAREST,
    "stdp_nn_restr_synapse": NEAREST,
    "stdp_nn_pre_centered_synapse": [kind | {"Kplus": 0.5} for kind in NEAREST],
    "vogels_sprekeler_synapse": [{}, {"eta": 0.02, "alpha": 0.3, "Kplus": 1.0}, {"Wmax": -1.0, "eta": 0.01, "tau": 9.0}],
    "tsodyks_synapse": [kind | {"y": 0.2, "tau_psc": 2.0} for kind in DEPRESSING[:1]] + [*DEPRESSING[1:]],
    "tsodyks_synapse_hom": [kind | {"y": 0.2, "tau_psc": 2.0} for kind in DEPRESSING[:1]] + [*DEPRESSING[1:]],
    "tsodyks2_synapse": DEPRESSING,
    "quantal_stp_synapse": [
        {"n": 5, "a": 3, "tau_rec": 60.0, "tau_fac": 40.0, "U": 0.3}, {"n": 2, "a": 2, "u": 0.8, "tau_rec": 20.0},
    ],
    "bernoulli_synapse": [{"p_transmit": 0.3}, {}],
}  # fmt: skip


def protocols(name, pairs, *, duration):
    """Two neurons fired by generators, and a synapse of one of the kinds of a model from one to the other, for each pair of
    trains."""
    pairs, n = list(pairs), 0
    n, kinds = len(pairs), KINDS[name]
    kind = np.arange(n) % len(kinds)
    half = np.array([0.5 * k.get("Wmax", 1.0) for k in kinds])
    params = FIRED | {
        "tau_minus": np.tile([p[4] for p in pairs], 2),
        "tau_minus_triplet": np.tile([60.0 + p[4] for p in pairs], 2),
    }
    fired = [on_grid(np.asarray(times) - DT) for side in (0, 1) for times in (p[side] for p in pairs)]
    variables = tuple(v for v, declared in CHANGING[name].variables.items() if not declared.hidden)
    return Description(
        populations=(Population(model="iaf_psc_delta", size=2 * n, params=params),),
        spike_times=tuple(fired),
        source=np.concatenate([2 * n + np.arange(2 * n), np.arange(n)]),
        target=np.concatenate([np.arange(2 * n), n + np.arange(n)]),
        weight=np.concatenate([np.full(2 * n, 1000.0), half[kind]]),
        delay=np.concatenate([np.full(2 * n, DT), [p[2] for p in pairs]]),
        plastic=np.concatenate([np.full(2 * n, -1), kind]),
        stdp=tuple(k | {"synapse_model": name} for k in kinds),
        # NEST does not give away Kplus of this one.
        read=() if name == "stdp_nn_pre_centered_synapse" else variables,
        watched=True,
        duration=duration,
        dt=DT,
    )


def trains():
    """Random trains at low to high rates, with bursts; then a last presynaptic spike that reads all."""
    rng = np.random.default_rng(4)
    for k, (rate_pre, rate_post) in enumerate(((5, 40), (40, 5), (30, 30), (150, 150), (0.5, 300), (300, 1)) * 4):
        pre, post = (np.unique(np.concatenate(poisson_trains(rng, 1, rate, 800.0))) for rate in (rate_pre, rate_post))
        post = np.unique(on_grid(np.concatenate([post[post > 2], 400 + 2 * DT * np.arange(20)])))
        yield np.append(pre[pre > 2], 900.0), post, rng.integers(1, 40) * DT, 0, (20.0, 9.1, 50.0)[k % 3]
