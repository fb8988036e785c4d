"""Receptors where a spike brings what its sender releases: iaf_tum_2000's second one, NMDA of iaf_bw_2001; and NMDA of
iaf_bw_2001_exact, where every synapse has states of its own."""

from __future__ import annotations

from typing import Any

import brainunit as u
import numpy as np
import pytest
from reference.neurons import run_nest, run_ours
from scipy.special import gamma, gammainc

import dist_sim as ds
from dist_sim.core import environ
from dist_sim.errors import ConnectError, ParameterError, UnknownNameError
from dist_sim.nest.neurons import NEURONS
from dist_sim.nest.neurons.nmda_release import lower_gamma

DT = 0.1  # ms
TRACES = {
    "iaf_tum_2000": ["I_syn_ex", "I_syn_in", "V_m"],
    **dict.fromkeys(("iaf_bw_2001", "iaf_bw_2001_exact"), ["V_m", "s_AMPA", "s_NMDA", "I_NMDA"]),
}


def irregular(seed: int, mean: float, duration: float) -> list[float]:
    """Times [ms] at least 2.5 ms apart, with pauses and bursts."""
    gaps = 2.5 + np.random.default_rng(seed).gamma(0.4, (mean - 2.5) / 0.4, 400)
    times = np.unique(np.round(np.cumsum(gaps), 1))
    return times[times < duration].tolist()


# ((parameters of a sender, what drives it, its synapses), ...): drive and synapses by receptor type, weight and times or delay.
SENDERS: dict[str, tuple[Any, ...]] = {
    "iaf_tum_2000": (
        ({"x": 1.0}, ((0, 9e3, irregular(1, 12.0, 400.0)),), ((1, 1500.0, 1.0), (1, -90.0, 2.4))),
        ({"tau_rec": 90.0, "tau_fac": 40.0, "tau_psc": 7.0, "U": 0.15, "x": 0.3, "y": 0.6, "u": 0.9, "t_ref": 1.0},
         ((0, 9e3, irregular(2, 30.0, 400.0)),), ((1, 900.0, 0.1),)),
        ({"x": 0.8, "tau_fac": 0.0, "tau_psc": 60.0, "tau_rec": 50.0},
         ((0, 9e3, irregular(3, 6.0, 400.0)),), ((1, -300.0, 1.7),)),
        ({"I_e": 600.0, "x": 1.0}, (), ((1, 100.0, 1.0),)),
    ),
    "iaf_bw_2001": (
        ({}, ((1, 900.0, irregular(1, 12.0, 400.0)),), ((3, 12.0, 1.0), (1, 5.0, 1.0))),
        ({"alpha": 0.2, "tau_rise_NMDA": 6.0, "tau_decay_NMDA": 35.0, "t_ref": 1.0},
         ((1, 900.0, irregular(2, 30.0, 400.0)),), ((3, 9.0, 0.1), (3, 2.0, 3.0))),
        ({"alpha": 30.0, "tau_decay_NMDA": 12.0}, ((1, 900.0, irregular(3, 6.0, 400.0)),), ((3, 2.5, 1.7),)),
        ({"alpha": 0.01, "tau_rise_NMDA": 0.5}, ((1, 900.0, irregular(4, 20.0, 400.0)),), ((3, 300.0, 1.0),)),
    ),
    "iaf_bw_2001_exact": (
        ({}, ((1, 900.0, irregular(1, 12.0, 400.0)),), ((3, 90.0, 1.0, slice(3)), (1, 5.0, 1.0))),
        ({"t_ref": 1.0}, ((1, 900.0, irregular(2, 30.0, 400.0)),), ((3, 60.0, 0.1), (3, -9.0, 3.0, slice(1, 4)))),
        ({}, ((1, 900.0, irregular(3, 6.0, 400.0)),), ((3, 40.0, 1.7, slice(2)), (3, 25.0, 0.6, slice(3, 4)))),
    ),
}  # fmt: skip
TARGETS = {
    "iaf_tum_2000": [{"I_e": 370.0}, {"tau_syn_ex": 5.0, "tau_syn_in": 1.0}, {"tau_rec": 3.0, "I_e": 400.0}],
    "iaf_bw_2001": [{}, {"tau_decay_NMDA": 60.0, "V_th": -50.0}, {"conc_Mg2": 0.4, "C_m": 300.0}],
    "iaf_bw_2001_exact": [
        {}, {"tau_decay_NMDA": 60.0, "V_th": -50.0}, {"conc_Mg2": 0.4, "C_m": 300.0}, {"alpha": 3.0, "tau_rise_NMDA": 0.3},
    ],
}  # fmt: skip
# Of spike_generators to all targets, twice in one step too.
STIMULI = {"iaf_tum_2000": [], "iaf_bw_2001": [], "iaf_bw_2001_exact": [(3, 7.0, [4.0, 4.0, 30.5, 31.0, 150.0])]}


@pytest.mark.nest
@pytest.mark.parametrize("model", SENDERS)
def test_what_arrives_is_nests(model):
    asked = {
        "model": model, "dt": DT, "duration": 400.0, "neurons": TARGETS[model], "stimuli": STIMULI[model], "currents": [],
        "senders": SENDERS[model], "recordables": TRACES[model],
    }  # fmt: skip
    theirs = run_nest(asked)
    assert len(theirs["steps"]) > 10
    for options in (dict(devices=1), dict(devices=3, placement="round_robin")):
        ours = run_ours(asked, **options)
        for name in ("steps", "senders"):
            np.testing.assert_array_equal(ours[name], theirs[name])
        for name, wanted in theirs["traces"].items():
            found = ours["traces"][name][: len(wanted)]
            scale = 1.0 if model == "iaf_tum_2000" else np.abs(wanted).max()
            deviation = np.abs(found - wanted[: len(found)]).max() / scale
            assert deviation <= (1e-9 if model == "iaf_tum_2000" else 1e-6), name
            assert np.abs(wanted).max() > 1.0, f"{name} stays where it is"


@pytest.mark.parametrize(("tau_psc", "tau_rec"), [(2.0, 400.0), (30.0, 30.0), (30.0, 30.0 + 1e-7), (30.0, 30.5), (80.0, 20.0)])
@pytest.mark.parametrize("tau_fac", [0.0, 50.0])
def test_what_arrives_is_what_the_neuron_itself_releases(tau_psc, tau_rec, tau_fac):
    time, weight, decay = dict(tau_psc=tau_psc, tau_rec=tau_rec, tau_fac=tau_fac), 100.0, np.exp(-DT / 2.0)
    params = dict(I_e=800 * u.pA, U=0.3, x=0.6, y=0.3, u=0.2) | {name: value * u.ms for name, value in time.items()}
    with environ.context(dt=DT * u.ms, precision=64):
        neuron = ds.iaf_tum_2000(1, **params)
        neuron.init_state()
        spikes = ds.transform.for_loop(lambda k: (neuron()[0], u.get_magnitude(neuron.released)[0]), np.arange(1500))
    released = np.asarray(spikes[1])[np.asarray(spikes[0]) > 0]
    assert len(released) > 10
    sim = ds.Simulator(dt=DT * u.ms, precision=64)
    sender, target = sim.create(ds.iaf_tum_2000, params=params), sim.create(ds.iaf_tum_2000)
    meter = sim.create(ds.multimeter, record_from=["I_syn_ex"], interval=DT * u.ms)
    sim.connect(sender, target, weight=weight * u.pA, delay=DT * u.ms, receptor_type=1)
    sim.connect(meter, target)
    trace = np.asarray(u.get_magnitude(sim.simulate(150.2 * u.ms).trace(meter, "I_syn_ex")))[:, 0]
    arrived = trace[1:] - trace[:-1] * decay
    np.testing.assert_allclose(arrived[arrived > 1e-6][: len(released)] / weight, released, rtol=1e-9)


@pytest.mark.parametrize("a", [1e-3, 0.3, 0.8, 0.98, 1.0])
def test_the_incomplete_gamma_function(a):
    for x in (1e-8, 1e-3, 0.3, 1.0, 7.0, 39.0, 41.0, 1e4):
        np.testing.assert_allclose(lower_gamma(a, x), gammainc(a, x) * gamma(a), rtol=1e-13)


# ---- how it is computed changes nothing, and what users see ----


def network(**options):
    """Recurrent neurons of each model, with delays, multapses and weights of both signs, and a watched synapse of each."""
    sim = ds.Simulator(dt=DT * u.ms, **({"seed": 3, "precision": 64} | options))
    recorder, seen = sim.create(ds.spike_recorder), []
    noise = sim.create(ds.poisson_generator, rate=900 * u.Hz)
    for model, port, weights, drive in (
        ("iaf_tum_2000", 1, (150 * u.pA, -200 * u.pA), 900 * u.pA), ("iaf_bw_2001", 3, (2 * u.nS, 4 * u.nS), 60 * u.nS),
        ("iaf_bw_2001_exact", 3, (2 * u.nS, -3 * u.nS), 60 * u.nS),
    ):  # fmt: skip
        start = dict(V_m=ds.dist.Uniform(-70 * u.mV, -56 * u.mV), **({"x": 1.0} if port == 1 else {}))
        cells = sim.create(model, 41, params=start)
        sim.connect(noise, cells, weight=drive, receptor_type=0 if port == 1 else 1)
        watcher = sim.create(ds.weight_recorder)
        for weight in weights:
            delay = ds.dist.Uniform(0.1 * u.ms, 1.5 * u.ms)
            synapse = ds.static_synapse(weight=weight, delay=delay, weight_recorder=watcher)
            rule = ds.fixed_indegree(7) if model != "iaf_bw_2001_exact" else ds.pairwise_poisson(0.03)
            sim.connect(cells, cells, rule=rule, synapse=synapse, receptor_type=port)
        meter = sim.create(ds.multimeter, record_from=TRACES[model], interval=DT * u.ms)
        sim.connect(meter, cells)
        sim.connect(cells, recorder)
        seen.append((meter, watcher, cells, model, weights))
    return sim, seen


def outcome(sim, seen, duration=25.0):
    result = sim.simulate(duration * u.ms)
    found = [np.frombuffer(result.digest.encode(), np.uint8)]
    for meter, watcher, _, model, _ in seen:
        found += [np.asarray(u.get_magnitude(result.trace(meter, name))) for name in TRACES[model]]
        found += [np.asarray(getattr(column, "mantissa", column)) for column in result.events(watcher)]
    return found


def assert_equal(found, wanted):
    for a, b in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(a, b)


def test_devices_and_backends_change_nothing():
    wanted = outcome(*network())
    _, excitation, inhibition, _, passed = wanted[:5]
    assert len(passed) > 300 and excitation.max() > 10 and inhibition.min() < -10
    for options in (dict(devices=2, placement="round_robin", chunk=1.7 * u.ms), dict(devices=3)):
        assert_equal(outcome(*network(**options)), wanted)
    for precision in (32, 64):
        runs = [outcome(*network(precision=precision, **more), 6.0) for more in ({"backend": "reference", "devices": 2}, {})]
        assert_equal(*runs)


def test_a_run_goes_on_on_other_devices(tmp_path):
    from run.checkpointed import StopAt

    from dist_sim.run.checkpoint import CheckpointPolicy
    from dist_sim.run.directory import RunDirectory
    from dist_sim.run.session import Session
    from dist_sim.run.stop import Stopped

    policy = CheckpointPolicy(every=0.0, keep_last=1)
    directory = RunDirectory(tmp_path / "run")
    with pytest.raises(Stopped), Session(directory=directory, checkpoints=policy, stop=StopAt(3)).active():
        outcome(*network(devices=3, chunk=3.3 * u.ms))
    directory.close()
    directory = RunDirectory.resume(tmp_path / "run")
    with Session(directory=directory, checkpoints=policy).active():
        found = outcome(*network(devices=2, placement="round_robin"))
    directory.close()
    assert_equal(found, outcome(*network()))


def test_users_see_static_synapses():
    """As in NEST: the weight stays, and a weight_recorder takes down the weight."""
    sim, seen = network()
    before = [sim.get_connections(target=cells).get("weight").mantissa for _, _, cells, _, _ in seen]
    result = sim.simulate(20 * u.ms)
    for (_, watcher, cells, model, weights), first in zip(seen, before, strict=True):
        known = sim.get_connections(source=cells, target=cells)
        assert (len(known) == 41 * 14 or model == "iaf_bw_2001_exact") and set(known.get("synapse_model")) == {"static_synapse"}
        np.testing.assert_array_equal(known.get("weight").mantissa, first)
        assert set(first) == {w.mantissa for w in weights}
        seen_by_watcher = result.events(watcher)
        assert set(seen_by_watcher.weights.mantissa) == set(first)
        assert len(seen_by_watcher.receptors) and set(seen_by_watcher.receptors) == {1 if model == "iaf_tum_2000" else 3}


# ---- what senders are like ----


def one_to_one(model, port, **params):
    sim = ds.Simulator(dt=DT * u.ms, precision=64)
    unit = u.pA if model == "iaf_tum_2000" else u.nS
    senders, targets = sim.create(model, 4, params=params), sim.create(model, 4)
    clock = sim.create(ds.spike_generator, spike_times=np.array([2.0, 9.0, 11.5]) * u.ms)
    sim.connect(clock, senders, weight=9000 * unit, receptor_type=0 if port == 1 else 1)
    sim.connect(senders, targets, weight=30 * unit, receptor_type=port)
    meter = sim.create(ds.multimeter, record_from=["I_syn_ex" if port == 1 else "s_NMDA"], interval=DT * u.ms)
    sim.connect(meter, targets)

    def run():
        return np.asarray(u.get_magnitude(sim.simulate(20 * u.ms).trace(meter, meter.node.device.record_from[0])))

    return sim, senders, targets, run


CHANGED = [("iaf_tum_2000", 1, dict(x=0.7, U=0.2)), ("iaf_bw_2001", 3, dict(alpha=0.1 / u.ms, tau_decay_NMDA=30 * u.ms))]


@pytest.mark.parametrize(("model", "port", "params"), CHANGED)
def test_senders_may_be_set_until_the_network_is_built(model, port, params):
    wanted, plain = one_to_one(model, port, **params)[-1](), one_to_one(model, port)[-1]()
    sim, senders, _, run = one_to_one(model, port)
    senders.set(**params)
    np.testing.assert_array_equal(run(), wanted)
    assert np.abs(wanted - plain).max() > 0.1
    with pytest.raises(ConnectError, match="the network is built"):
        senders.set(**params)
    np.testing.assert_array_equal(run(), wanted)  # a second call begins again


@pytest.mark.parametrize(("model", "port", "params"), CHANGED)
def test_senders_that_differ_are_connected_apart(model, port, params):
    name, value = next(iter(params.items()))
    sim, senders, targets, run = one_to_one(model, port)
    setattr(senders[:2], name, value)
    with pytest.raises(ConnectError, match=rf"receptor_type={port} of a {model} needs senders of one {name}; these have .* to "):
        run()
    # Their other parameters, and those of the targets, may differ.
    sim = ds.Simulator(dt=DT * u.ms)
    cells = sim.create(model, 6, V_m=ds.dist.Uniform(-70 * u.mV, -60 * u.mV))
    setattr(cells[:3], name, value)
    for half in (cells[:3], cells[3:]):
        sim.connect(half, cells, receptor_type=port)
    sim.simulate(1 * u.ms)


@pytest.mark.parametrize(("model", "port", "others"), [("iaf_tum_2000", 1, "0"), ("iaf_bw_2001", 3, "1 or 2")])
def test_what_else_is_refused(model, port, others):
    sim = ds.Simulator(dt=DT * u.ms)
    cells, parrot = sim.create(model, 3), sim.create(ds.parrot_neuron)
    words = rf"receptor_type={port} of a {model} takes what {model} neurons release; .* is a .*, or use receptor_type={others}\."
    for other in (parrot, sim.create(ds.spike_generator), sim.create(ds.poisson_generator), sim.create(ds.iaf_psc_exp)):
        with pytest.raises(ConnectError, match=words):
            sim.connect(other, cells, receptor_type=port)
    with pytest.raises(ConnectError, match=words):
        sim.connect(cells + parrot, cells, receptor_type=port)
    for synapse in ("tsodyks_synapse", "stdp_synapse", "bernoulli_synapse"):
        with pytest.raises(ConnectError, match=f"takes static synapses.*got {synapse}"):
            sim.connect(cells, cells, receptor_type=port, synapse=synapse)
    sim.connect(cells, cells, receptor_type=port, synapse="static_synapse_hom_w")
    assert set(sim.get_connections().get("synapse_model")) == {"static_synapse_hom_w"}


def test_neurons_of_the_model_itself_take_receptor_1():
    """As in NEST: at receptor 0 what iaf_tum_2000 releases would be lost without a word."""
    sim = ds.Simulator(dt=DT * u.ms)
    cells = sim.create(ds.iaf_tum_2000, 3)
    with pytest.raises(ConnectError, match="receptor_type=0 of a iaf_tum_2000 is not for iaf_tum_2000 neurons. Give .*=1"):
        sim.connect(cells, cells)
    sim.connect(sim.create(ds.iaf_psc_exp), cells)


# ---- NMDA of iaf_bw_2001_exact: an entry for each synapse ----


def exact(*sources, **options):
    """A neuron of the exact model with synapses of 5 nS from (model, parameters) each, and what runs it."""
    sim = ds.Simulator(dt=DT * u.ms, precision=64, **options)
    cell, meter = sim.create(ds.iaf_bw_2001_exact), sim.create(ds.multimeter, record_from=["s_NMDA"], interval=DT * u.ms)
    sim.connect(meter, cell)
    for model, params, delay in sources:
        source = sim.create(model, params=params)
        if model == "parrot_neuron":
            clock = sim.create(ds.spike_generator, spike_times=TIMES * u.ms)
            sim.connect(clock, source, delay=1 * u.ms)
        sim.connect(source, cell, weight=5 * u.nS, delay=delay * u.ms, receptor_type=3)
    return sim, cell, lambda: np.asarray(u.get_magnitude(sim.simulate(20 * u.ms).trace(meter, "s_NMDA")))[:, 0]


TIMES = np.array([3.0, 3.0, 3.0, 7.5, 9.0])


def test_whoever_sends_a_spike_opens_the_gate():
    """As in NEST, which asks no sender for its model; several spikes in one step count one by one."""
    wanted = exact(("spike_generator", dict(spike_times=TIMES * u.ms), 2.0))[-1]()
    np.testing.assert_array_equal(exact(("parrot_neuron", {}, 1.0))[-1](), wanted)
    with environ.context(dt=DT * u.ms, precision=64):
        alone = ds.iaf_bw_2001_exact(1, w_NMDA=np.array([5.0, 0.0]) * u.nS)
        alone.init_state()
        arriving = np.bincount(np.rint((TIMES + 2.0) / DT).astype(int) - 1, minlength=199).astype(float)
        found = ds.transform.for_loop(lambda n: (alone(spikes_NMDA=(n, 3.0)), u.get_magnitude(alone.s_NMDA)[0])[1], arriving)
        with pytest.raises(ParameterError, match=r"update\(spikes_NMDA=...\): 1 are given, and these neurons take 2"):
            alone(spikes_NMDA=(1.0,))
    np.testing.assert_allclose(found, wanted[: len(found)], rtol=1e-12)
    assert wanted.max() > 3.0


def test_a_neuron_has_room_for_so_many_synapses():
    sim, cell, run = exact()
    sim.connect(sim.create(ds.parrot_neuron, 20), cell, receptor_type=3)
    cells = sim.create(ds.iaf_bw_2001_exact, 2)
    sim.connect(sim.create(ds.parrot_neuron, 5), cells, rule=ds.pairwise_bernoulli(0.0), receptor_type=3)
    sim.connect(sim.create(ds.parrot_neuron, 13), cell, receptor_type=3)
    words = r"connect\(parrot_neuron_2, iaf_bw_2001_exact_0\): neuron 0 has 33 synapses of receptor_type=3; .* at most 32\."
    with pytest.raises(ConnectError, match=words):
        run()


def test_no_synapse_is_no_entry():
    sim, cell, run = exact()
    sim.connect(sim.create(ds.parrot_neuron, 5), cell, rule=ds.pairwise_bernoulli(0.0), receptor_type=3)
    assert not run().any() and len(sim.get_connections()) == 0


def test_what_has_no_entries():
    sim, cell, _ = exact()
    with pytest.raises(ConnectError, match="receptor_type=3 of a iaf_bw_2001_exact has states for each synapse.*parrot_neuron"):
        sim.connect(sim.create(ds.poisson_generator), cell, receptor_type=3)
    for synapse in ("tsodyks_synapse", "stdp_synapse", "bernoulli_synapse"):
        with pytest.raises(ConnectError, match=f"takes static synapses, whose weights stay; got {synapse}"):
            sim.connect(cell, cell, receptor_type=3, synapse=synapse)
    for port in (0, 4):
        with pytest.raises(ConnectError, match=f"receptor_type={port}: a iaf_bw_2001_exact has receptors 1, 2, 3"):
            sim.connect(cell, cell, receptor_type=port)
    with pytest.raises(UnknownNameError, match="w_NMDA"):
        sim.create(ds.iaf_bw_2001_exact, w_NMDA=np.ones(2) * u.nS)


CHANNELS = [("iaf_bw_2001", "spikes_NMDA", "s_NMDA"), ("iaf_tum_2000", "released_ex", "I_syn_ex")]


@pytest.mark.parametrize(("model", "channel", "state"), CHANNELS)
def test_alone_it_is_an_input_like_any_other(model, channel, state):
    with environ.context(dt=DT * u.ms):
        neurons = NEURONS[model](2)
        neurons.init_state()
        neurons(**{channel: 3.0 * (u.nS if model == "iaf_bw_2001" else u.pA)})
        np.testing.assert_allclose(u.get_magnitude(getattr(neurons, state)), 3.0)
