"""The forecast of memory is what the built network takes; nothing is built for it, and what cannot fit is refused."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import brainunit as u
import jax
import numpy as np
import pytest

import dist_sim as ds
from dist_sim.__main__ import main
from dist_sim.errors import DeviceError, ParameterError, UnknownNameError
from dist_sim.forecast import calibration, machines
from dist_sim.forecast.forecast import forecast
from dist_sim.forecast.machines import MACHINES, cpu, memory_here
from dist_sim.forecast.scaled import scaled
from dist_sim.forecast.table import machine_named, numbers
from dist_sim.run.loop import ChunkedLoop
from dist_sim.run.progress import Phases
from dist_sim.simulator import assembly
from dist_sim.simulator.assembly import assemble

VARIED = ds.dist.Normal(1.5 * u.ms, 0.8 * u.ms, min=0.1 * u.ms, max=20 * u.ms)


def two_populations(sim, scale=1.0, rule=None, delay=1.5 * u.ms, model=ds.iaf_psc_exp, **params):
    exc = sim.create(model, int(3200 * scale), params=params)
    inh = sim.create(model, int(800 * scale), params=params)
    pA = u.mV if model is ds.iaf_psc_delta else u.pA
    for target in (exc, inh):
        sim.connect(exc, target, rule=rule or ds.fixed_indegree(80), weight=20 * pA, delay=delay)
        sim.connect(inh, target, rule=rule or ds.fixed_indegree(20), weight=-80 * pA, delay=delay)
    sim.connect(sim.create(ds.poisson_generator, rate=8000 * u.Hz), exc, weight=20 * pA, delay=1.5 * u.ms)
    sim.connect(exc, sim.create(ds.spike_recorder))
    return exc, inh


def one_each(sim):
    a, b = sim.create(ds.iaf_psc_alpha, 20_000), sim.create(ds.iaf_psc_alpha, 20_000)
    sim.connect(a, b, rule="one_to_one", weight=20 * u.pA)
    sim.connect(a[:200], b, rule="all_to_all", weight=20 * u.pA, delay=3 * u.ms)


def listed(sim):
    cells = sim.create(ds.iaf_psc_exp, 5000, params=dict(I_e=ds.dist.Uniform(0 * u.pA, 400 * u.pA)))
    random = np.random.default_rng(1)
    edges = ds.explicit_edges(random.integers(0, 500, 200_000), random.integers(0, 5000, 200_000))
    sim.connect(cells, cells, rule=edges, weight=20 * u.pA, delay=2 * u.ms)
    sim.connect(sim.create(ds.multimeter, record_from=["V_m"]), cells[:1000])


def plastic(sim):
    exc, inh = two_populations(sim, scale=0.5)
    sim.connect(exc, exc, rule=ds.fixed_indegree(50), weight=20 * u.pA, delay=1.5 * u.ms, synapse="stdp_synapse")


CASES = {
    "as it comes": (1, {}, two_populations),
    "small": (1, {}, lambda sim: two_populations(sim, scale=0.05)),
    "8 devices": (8, {}, two_populations),
    "8 devices, few synapses each": (8, {}, lambda sim: two_populations(sim, rule=ds.fixed_indegree(2))),
    "many delays": (3, {}, lambda sim: two_populations(sim, delay=VARIED)),
    "64 bits": (2, {"precision": 64}, lambda sim: two_populations(sim, model=ds.iaf_psc_delta)),
    "bernoulli": (2, {"placement": "round_robin"}, lambda sim: two_populations(sim, rule=ds.pairwise_bernoulli(0.02))),
    "total number": (4, {}, lambda sim: two_populations(sim, rule=ds.fixed_total_number(5000))),
    "out-degree": (8, {"placement": "balanced"}, lambda sim: two_populations(sim, rule=ds.fixed_outdegree(30))),
    "one to one, and all to all": (8, {}, one_each),
    "listed, different neurons, a meter": (3, {"chunk": 20 * u.ms}, listed),
    "plastic": (3, {}, plastic),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_the_bytes_of_a_network_are_foretold(case):
    devices, options, make = CASES[case]
    sim = ds.Simulator(dt=0.1 * u.ms, seed=3, devices=devices, **options)
    make(sim)
    description = sim._description()
    foretold = forecast(description, devices, cpu(1), rate=5.0)
    with jax.enable_x64(description.precision == 64):
        network = assemble(description, Phases())
    total = sum(state.value.nbytes for state in network.states().values()) / devices
    table = network.projection.table_bytes / devices
    names = ("synapses", "plastic synapses", "runs of synapses", "known sources")
    assert foretold.device_bytes - foretold.arrays["while a chunk runs"] == pytest.approx(total, rel=0.15)
    assert sum(foretold.arrays[name] for name in names) == pytest.approx(table, rel=0.15)
    assert foretold.synapses == pytest.approx(network.projection.num_synapses, rel=0.05)


def test_more_devices_take_less_each_and_the_exchange_more():
    sim = ds.Simulator(seed=1)
    two_populations(sim, scale=20)
    found = [forecast(sim._description(), n, MACHINES["h200"], rate=5.0) for n in (1, 10, 100, 1000, 10_000)]
    assert all(a.device_bytes > b.device_bytes for a, b in zip(found, found[1:], strict=False))
    assert [f.exchange_bytes for f in found] == sorted(f.exchange_bytes for f in found)
    assert len({round(f.synapses) for f in found}) == 1


NETWORK = """
import brainunit as u
import dist_sim as ds
sim = ds.Simulator(seed=1, devices=ds.param("devices", 1), precision=ds.param("bits", 32))
cells = sim.create(ds.iaf_psc_exp, ds.param("n", 1000))
sim.connect(cells, cells, rule=ds.fixed_indegree(ds.param("indegree", 100)), weight=20 * u.pA, delay=1.5 * u.ms)
try:
    sim.simulate(2000 * u.ms)
except Exception:
    pass
print("went on")
"""


@pytest.fixture
def script(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("net.py").write_text(NETWORK)
    Path("empty.py").write_text("print('nothing')")
    # A million synapses per neuron would not be refused, they would be built.
    monkeypatch.setattr(assembly, "Projection", None)
    return "net.py"


def test_a_script_is_planned_without_building_its_network(script, capsys):
    assert main(["plan", script, "--devices", "1,8", "--device", "h200", "--set", "n=200000", "--set", "indegree=5000"]) == 0
    printed = capsys.readouterr()
    assert "200,000 neurons, 1,000,000,000 synapses expected" in printed.out and "went on" not in printed.out
    rows = [line.split() for line in printed.out.splitlines() if line.rstrip().endswith("fits")]
    assert [row[0] for row in rows] == ["1", "8"] and rows[0][1:3] == ["7.5", "GiB"]
    assert not list(Path().glob("runs*"))


def test_a_step_of_an_accelerator_is_foretold_by_its_launches(script, capsys):
    launches = {}
    for device, backend in ("h200", "cuda"), ("h200", "reference"), ("v5p", "reference"):
        assert main(["plan", script, "--devices", "1", "--device", device, "--backend", backend]) == 0
        printed = " ".join(capsys.readouterr().out.split())
        found = re.search(f"{device}: .*; backend {backend}, ([0-9]+) launches of a step; its times are estimates", printed)
        launches[device, backend] = int(found[1])
    assert launches == {("h200", "cuda"): 6, ("h200", "reference"): 20, ("v5p", "reference"): 130}


def test_what_cannot_fit_is_refused_and_the_largest_array_named(script, capsys):
    words = ["plan", script, "--device", "a100-40gb", "--set", "n=1000000", "--set", "indegree=10000"]
    assert main([*words, "--devices", "1"]) == 64
    told = capsys.readouterr()
    assert "10,000,000,000 synapses on one device" in told.err and "does not fit" in told.out
    # Of several numbers one that fits is an answer.
    assert main([*words, "--devices", "1,10"]) == 0
    told = capsys.readouterr().out
    assert [line.split()[0] for line in told.splitlines() if line.rstrip().endswith(" fits")] == ["10"] and "does not fit" in told


def test_a_device_that_is_too_small_names_what_is_largest():
    sim = ds.Simulator(seed=1, precision=64)
    cells = sim.create(ds.iaf_psc_exp, 400_000)
    sim.connect(cells, cells, rule=ds.fixed_indegree(10_000), weight=20 * u.pA)
    found = forecast(sim._description(), 1, MACHINES["h200"], rate=5.0)
    found.check(MACHINES["h200"], "h200")
    with pytest.raises(DeviceError, match=r"59\.\d GiB are needed .* has 37\.3 GiB. The largest part is synapses with 59\.6"):
        found.check(MACHINES["a100-40gb"], "a100-40gb")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["net.py", "--device", "h300"], "Did you mean 'h200'"), (["net.py", "--devices", "0"], "--devices 0"),
        (["net.py", "--devices", "1,x"], "--devices 1,x"), (["net.py", "--cores", "0"], "--cores 0"),
        (["net.py", "--device", "h200", "--cores", "4"], "--cores 4"), (["nett.py"], "unknown script"),
        (["empty.py"], "without a simulation"), (["net.py", "--set", "m=1"], "unknown parameter 'm'"),
        (["net.py", "--backend", "cuda"], "--backend cuda"),
        (["net.py", "--device", "v5p", "--backend", "cuda"], "unknown backend 'cuda'. Known: reference"),
        (["net.py", "--device", "h200", "--backend", "native"], "cuda"),
        (["net.py", "--device", "v5e", "--set", "bits=64"], "v5e: it has no floating-point numbers of 64 bits"),
    ],
)  # fmt: skip
def test_bad_questions_are_refused(script, capsys, words, told):
    assert main(["plan", *words]) == 64
    assert told in capsys.readouterr().err


RULES = {
    "fixed_indegree": ds.fixed_indegree(80), "fixed_total_number": ds.fixed_total_number(24_000),
    "fixed_outdegree": ds.fixed_outdegree(50), "pairwise_bernoulli": ds.pairwise_bernoulli(0.02),
    "all_to_all": ds.all_to_all(), "dense": ds.pairwise_bernoulli(0.8), "pairwise_poisson": ds.pairwise_poisson(0.05),
    "listed": ds.explicit_edges(np.arange(30_000) % 3200, np.arange(30_000) % 300),
}  # fmt: skip


@pytest.mark.parametrize("rule", RULES)
def test_a_piece_of_a_network_has_its_in_degrees(rule):
    sim = ds.Simulator(seed=3)
    exc, inh = two_populations(sim, delay=VARIED)
    sim.connect(exc, inh[:300], rule=RULES[rule], weight=20 * u.pA, delay=2 * u.ms)
    sim.connect(sim.create(ds.multimeter, record_from=["V_m"]), inh[5:9])
    whole = sim._description()
    part = scaled(whole, 0.1)
    assert [n.size for n in part.nodes if n.is_neuron] == [320, 80] and part.num_ids == 400
    for before, after in zip(whole.connections, part.connections, strict=True):
        assert after.mean_indegree() == pytest.approx(before.mean_indegree(), rel=0.02)
        assert after.delay == before.delay and after.post_ids.max() < 400
        after.check(part.dt)
    with jax.enable_x64(False):
        network = assemble(part, Phases())
    expected = sum(c.mean_indegree() * len(c.post_ids) for c in part.connections)
    assert network.projection.num_synapses == pytest.approx(expected, rel=0.05)
    assert scaled(whole, 1e-9).num_ids == 2, "at least one neuron of each population"


def test_a_device_of_this_machine_is_measured(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(calibration, "_SECONDS", 0.01)
    Path("net.py").write_text(NETWORK)
    assert main(["plan", "net.py", "--device", "here", "--devices", "1,100", "--set", "n=4000", "--rate", "20"]) == 0
    told = capsys.readouterr().out
    assert "measured here, on 2,000 neurons and 200,000 synapses" in told and "estimates" not in told


def test_what_is_measured_makes_the_forecast(monkeypatch):
    monkeypatch.setattr(calibration, "_SECONDS", 0.01)
    monkeypatch.setattr(calibration.plastic, "PERIOD", 100)  # steps that are timed at least
    sim = ds.Simulator(seed=3)
    plastic(sim)
    d = sim._description()
    machine = calibration.measured_here(d, rate=10.0)
    assert machine.measured and machine.step_us > 1 and machine.process_bytes > 50 * 2**20
    found = [forecast(d, 1, machine, rate=rate) for rate in (0.0, 10.0)]
    assert found[0].step_s <= found[1].step_s and found[0].build_s >= machine.build_s > 0
    assert found[0].process > machine.process_bytes + found[0].device_bytes


def test_dealt_spikes_are_compiled_as_a_networks_own():
    # What is timed must not copy in every step what a run changes in place: the spikes that plastic synapses wait for. Before the
    # first step it does, for what a chunk begins with is kept.
    sim = ds.Simulator(seed=3)
    plastic(sim)
    d = sim._description()
    with jax.enable_x64(False):
        network = assemble(d, Phases())
        calibration.deal(network, d, 0.01)
        loop = ChunkedLoop(network, network.chunk, overflow=network.projection.overflow)
        steps, _ = loop.advance.lower(np.int32(0), np.int32(0)).compile().as_text().split("\nENTRY ")
    posts = network.projection.plastic["stdp_synapse"]
    for kind, state in (("s", posts.post_steps), ("f", posts.post_traces)):
        shape = ",".join(map(str, state.value.shape))
        assert f"{kind}32[{shape}]" in steps and not re.search(rf"= {kind}32\[{shape}\]\S* copy\(", steps)


def test_the_memory_of_the_host_and_of_its_limits_is_honoured(monkeypatch):
    sim = ds.Simulator(seed=1)
    cells = sim.create(ds.iaf_psc_exp, 100_000)
    sim.connect(cells, cells, rule=ds.fixed_indegree(10_000), weight=20 * u.pA)
    monkeypatch.setattr(machines.resource, "getrlimit", lambda which: (4 * 2**30, -1))
    assert memory_here() == cpu(1).memory <= 4 * 2**30
    with pytest.raises(DeviceError, match=r"[78]\.\d GiB are needed on one, which has"):
        forecast(sim._description(), 1, cpu(1), rate=5.0).check(cpu(1), "cpu")
    forecast(sim._description(), 4, cpu(1), rate=5.0).check(cpu(1), "cpu")
    # Four devices of one process share its memory.
    shared = replace(cpu(1), sharing=4)
    with pytest.raises(DeviceError, match="on one process with 4"):
        forecast(sim._description(), 4, shared, rate=5.0).check(shared, "cpu")


def test_kinds_and_numbers():
    assert machine_named("cpu", 4).neuron_ns == machine_named("cpu", 1).neuron_ns / 4
    assert numbers("8, 1,1_000") == [1, 8, 1000]
    for wrong in ("", "-1", "1.5", "20000"):
        with pytest.raises(ParameterError):
            numbers(wrong)
    with pytest.raises(UnknownNameError, match="h200"):
        machine_named("abacus", None)
