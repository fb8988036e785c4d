"""Every synapse model against NEST, in double precision: defaults, weights and variables after protocols, spikes passed on."""

from __future__ import annotations

import json
import subprocess
import sys

import brainunit as u
import numpy as np
import pytest
from reference.description import assert_same_spikes
from reference.oracle import run_nest
from reference.ours import run_dist_sim
from reference.protocols import DT, intervals
from reference.synapses import CHANGING, KINDS, RANDOM, protocols, trains

import dist_sim as ds
from dist_sim.errors import ParameterError, UnitError, UnknownNameError
from dist_sim.nest.synapses import SYNAPSES
from dist_sim.nest.synapses.declared import WEIGHT


@pytest.mark.nest
@pytest.mark.parametrize("name", [name for name in CHANGING if name not in RANDOM])
@pytest.mark.parametrize("pairs", [intervals, trains])
def test_weights_and_variables_after_protocols_are_nests(name, pairs, parity):
    """Pairs, triplets (of repeated pairs) and trains."""
    description = protocols(name, pairs(), duration=720.0 if pairs is intervals else 920.0)
    reference, ours = run_nest(description), run_dist_sim(description, devices=2)
    assert_same_spikes(ours, reference, DT)
    assert ours.plastic.shape == reference.plastic.shape
    np.testing.assert_array_equal(ours.plastic[:, :3], reference.plastic[:, :3])
    np.testing.assert_allclose(ours.plastic[:, 3:], reference.plastic[:, 3:], rtol=1e-9, atol=1e-13)
    latest = description.duration / DT - 60
    passed, wanted = (rows[rows[:, 0] < latest] for rows in (ours.passed, reference.passed))
    np.testing.assert_array_equal(passed[:, :3], wanted[:, :3])
    np.testing.assert_allclose(passed[:, 3], wanted[:, 3], rtol=1e-9, atol=1e-13)
    assert len(np.unique(np.round(wanted[:, 3], 6))) > 10
    relative = [
        float((np.abs(mine - theirs) / np.maximum(np.abs(theirs), 1e-4)).max(initial=0.0))
        for mine, theirs in ((passed[:, 3], wanted[:, 3]), (ours.plastic[:, 3:], reference.plastic[:, 3:]))
    ]
    what = {"model": name, "protocol": "pairs and triplets" if pairs is intervals else "trains", "synapses": len(ours.plastic)}
    parity("synapses", what | {"weights passed on": len(wanted), "their deviation": relative[0], "at the end": relative[1]})


@pytest.mark.nest
@pytest.mark.parametrize("name", RANDOM)
def test_random_ones_pass_on_what_nests_do_in_distribution(name):
    """How often each multiple of the weight is passed on, after long and after short intervals, over 400 synapses of each
    kind."""
    times = np.concatenate([50.0 + 40.0 * np.arange(10), 500.0 + 5.0 * np.arange(20)])
    description = protocols(name, [(times, [100.0], 1.0, 0, 20.0)] * (400 * len(KINDS[name])), duration=650.0)
    counts = []
    for passed in (run_nest(description).passed, run_dist_sim(description, devices=2).passed):
        kind = passed[:, 1].astype(int) % len(KINDS[name])
        step = np.searchsorted(times, passed[:, 0] * DT - 1.0)
        released = np.rint(passed[:, 3] / 0.5).astype(int)
        counts.append(
            np.bincount(
                np.ravel_multi_index((kind, step, released), (len(KINDS[name]), 31, 7)), minlength=7 * 31 * len(KINDS[name])
            )
        )
    theirs, ours = np.array(counts, float)
    assert theirs.sum() > 5000
    # Two samples of the same binomial numbers differ by a few of their deviations; the sum of squares is that of so many numbers.
    expected = (theirs + ours) / 2
    variance = np.maximum(2 * expected * (1 - np.minimum(expected / 400, 1)), 1e-9)
    z = ((ours - theirs) / np.sqrt(variance))[expected > 10]
    assert (np.abs(z) < 5).all() and abs((z[np.abs(z) > 0] ** 2).mean() - 1) < 5 * np.sqrt(2 / len(z)), z


@pytest.mark.nest
def test_defaults_are_nests():
    script = (
        "import json, sys, nest; names = json.loads(sys.argv[1]); "
        "numbers = lambda d: {k: v for k, v in d.items() if isinstance(v, (int, float))}; "
        "print('RESULT', json.dumps({n: numbers(nest.GetDefaults(n)) for n in names}))"
    )
    done = subprocess.run([sys.executable, "-c", script, json.dumps(list(SYNAPSES))], capture_output=True, text=True, check=True)
    theirs = json.loads(next(line for line in done.stdout.splitlines() if line.startswith("RESULT")).removeprefix("RESULT "))
    for name, model in SYNAPSES.items():
        ours = {n.rstrip("_"): p.default for n, p in model.settable().items()} | {"weight": model.default_weight}
        known = {n: v for n, v in theirs[name].items() if n in ours}
        assert known == {n: ours[n] for n in known}, name
        assert set(ours) - set(known) == set(), name
        unknown = (
            set(theirs[name])
            - set(ours)
            - {"delay", "num_connections", "sizeof", "synapse_id", "synapse_modelid", "receptor_type"}
        )
        assert all(isinstance(theirs[name][n], bool) for n in unknown), (name, unknown)


# ---- every model, without NEST ----


def network(name, **options):
    """Random spikes on both sides, delays from one step on, multapses, and a source that spikes several times in a step."""
    sim = ds.Simulator(dt=DT * u.ms, **({"seed": 3} | options))
    start = dict(V_m=ds.dist.Uniform(-70 * u.mV, -55 * u.mV), I_e=480 * u.pA, t_ref=1.0 * u.ms)
    cells = sim.create(ds.iaf_psc_exp, 61, params=start, tau_minus=ds.dist.Uniform(15 * u.ms, 16 * u.ms))
    trains = [np.sort(np.random.default_rng(k).integers(1, 300, 40)) * DT * u.ms for k in range(3)]
    clock = sim.create(ds.spike_generator, 3, params=dict(spike_times=trains))
    recorder, watcher = sim.create(ds.spike_recorder), sim.create(ds.weight_recorder)
    model = SYNAPSES[name]
    for factor, source in ((1, cells), (2, cells + clock)):
        given = KINDS.get(name, [{}])[factor % len(KINDS.get(name, [{}]))]
        declared = {n.rstrip("_"): p.unit for n, p in model.settable().items()}
        given = {n: v * (100 * u.pA if declared[n] is WEIGHT else declared[n]) for n, v in given.items()}
        sign = -1 if "Wmax" in given and given["Wmax"] < 0 * u.pA else 1
        if "Wmax" in model.parameters:
            given.setdefault("Wmax", 100 * u.pA)
        delay = ds.dist.Uniform(0.1 * u.ms, 1.5 * u.ms)
        synapse = model(weight=sign * 40 * u.pA, delay=delay, weight_recorder=watcher, **given)
        sim.connect(source, cells, rule=ds.fixed_indegree(7), synapse=synapse)
    sim.connect(cells, recorder)
    return sim, watcher


def outcome(sim, watcher, result, name):
    found = sim.get_connections(synapse=name)
    values = [np.asarray(getattr(v, "mantissa", v)) for v in found.get(["weight", *SYNAPSES[name].settable()]).values()]
    return [
        result.digest,
        found.source,
        found.target,
        *values,
        *(np.asarray(getattr(c, "mantissa", c)) for c in result.events(watcher)),
    ]


def assert_equal(ours, wanted):
    assert ours[0] == wanted[0]
    for a, b in zip(ours[1:], wanted[1:], strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("name", SYNAPSES)
def test_devices_backends_and_interruptions_change_nothing(name, tmp_path):
    def of(duration=12.0, **options):
        sim, watcher = network(name, **options)
        return outcome(sim, watcher, sim.simulate(duration * u.ms), name)

    wanted = of(devices=1)
    assert len(wanted[-1]) > 300
    for options in (dict(devices=2, placement="round_robin", chunk=1.7 * u.ms), dict(devices=3)):
        assert_equal(of(**options), wanted)
    for precision in (32, 64):
        assert_equal(of(3.0, devices=2, backend="reference", precision=precision), of(3.0, devices=1, precision=precision))


@pytest.mark.parametrize("name", CHANGING)
def test_a_run_goes_on_on_other_devices(name, tmp_path):
    from run.checkpointed import StopAt

    from dist_sim.run.checkpoint import CheckpointPolicy
    from dist_sim.run.directory import RunDirectory
    from dist_sim.run.session import Session
    from dist_sim.run.stop import Stopped

    sim, watcher = network(name, devices=1)
    wanted = outcome(sim, watcher, sim.simulate(12 * u.ms), name)
    policy = CheckpointPolicy(every=0.0, keep_last=1)
    directory = RunDirectory(tmp_path / "run")
    with pytest.raises(Stopped), Session(directory=directory, checkpoints=policy, stop=StopAt(3)).active():
        sim, _ = network(name, devices=3, chunk=2.3 * u.ms)
        sim.simulate(12 * u.ms)
    directory.close()
    directory = RunDirectory.resume(tmp_path / "run")
    with Session(directory=directory, checkpoints=policy).active():
        sim, watcher = network(name, devices=2, placement="round_robin")
        assert_equal(outcome(sim, watcher, sim.simulate(12 * u.ms), name), wanted)
    directory.close()


def test_several_models_in_one_network():
    """Each as if it were alone: what they pass on is so little that the spikes are those of static synapses."""
    weights = {}
    for names in (["stdp_synapse"], ["tsodyks2_synapse"], ["stdp_synapse", "tsodyks2_synapse", "stdp_triplet_synapse"]):
        sim = ds.Simulator(dt=DT * u.ms, seed=3, devices=2)
        cells = sim.create(ds.iaf_psc_exp, 50, params=dict(V_m=ds.dist.Uniform(-70 * u.mV, -55 * u.mV), I_e=480 * u.pA))
        for name in names:
            bound = {"Wmax": 1e-5 * u.pA} if "Wmax" in SYNAPSES[name].parameters else {}
            sim.connect(cells, cells, synapse=SYNAPSES[name](weight=1e-6 * u.pA, **bound))
        sim.simulate(40 * u.ms)
        found = sim.get_connections()
        assert set(found.get("synapse_model")) == set(names)
        for name in names:
            mine = sim.get_connections(synapse=name)
            weights.setdefault(name, []).append(mine.get(["weight", *SYNAPSES[name].settable()]))
    for name in ("stdp_synapse", "tsodyks2_synapse"):
        alone, together = weights[name]
        for variable, values in alone.items():
            np.testing.assert_array_equal(
                np.asarray(getattr(values, "mantissa", values)),
                np.asarray(getattr(together[variable], "mantissa", together[variable])),
            )


WRONG = [
    (ParameterError, "at most 1", lambda: ds.tsodyks2_synapse(U=1.5)),
    (ParameterError, "x \\+ y must be at most 1", lambda: ds.tsodyks_synapse(x=0.8, y=0.3)),
    (ParameterError, "must differ from tau_rec", lambda: ds.tsodyks_synapse(tau_psc=5 * u.ms, tau_rec=5 * u.ms)),
    (ParameterError, "above 0", lambda: ds.tsodyks_synapse(tau_rec=0 * u.ms)),
    (UnitError, "needs a time", lambda: ds.tsodyks2_synapse(tau_rec=100.0)),
    (ParameterError, "a whole number", lambda: ds.quantal_stp_synapse(n=2.5)),
    (ParameterError, "at most n=1", lambda: ds.quantal_stp_synapse(a=2)),
    (ParameterError, "at most 1", lambda: ds.bernoulli_synapse(p_transmit=1.1)),
    (UnknownNameError, "Did you mean 'p_transmit'", lambda: ds.bernoulli_synapse(p_transmitt=0.5)),
    (ParameterError, "parameter of the target neurons", lambda: ds.stdp_triplet_synapse(tau_minus_triplet=20 * u.ms)),
    (UnknownNameError, "tau_minus", lambda: ds.tsodyks2_synapse(tau_minus=20 * u.ms)),
    (ParameterError, "one weight", lambda: ds.static_synapse_hom_w(weight=np.ones(9) * u.pA)),
    (ParameterError, "same sign", lambda: ds.vogels_sprekeler_synapse(weight=-0.5 * u.pA)),
]  # fmt: skip


@pytest.mark.parametrize(("error", "words", "wrong"), WRONG)
def test_wrong_parameters_are_refused(error, words, wrong):
    sim = ds.Simulator(dt=DT * u.ms)
    cells = sim.create(ds.iaf_psc_exp, 3)
    with pytest.raises(error, match=words):
        sim.connect(cells, cells, synapse=wrong())


def test_a_weight_without_a_bound_that_grows_too_large_is_found():
    from dist_sim.errors import NumericalError

    sim = ds.Simulator(dt=DT * u.ms)
    cells = sim.create(ds.iaf_psc_exp, 5, params=dict(I_e=600 * u.pA))
    sim.connect(cells, cells, synapse=ds.stdp_pl_synapse_hom(weight=1e-3 * u.pA, lambda_=10.0, alpha=0.0))
    with pytest.raises(NumericalError, match="64 times the largest initial one"):
        sim.simulate(300 * u.ms)
