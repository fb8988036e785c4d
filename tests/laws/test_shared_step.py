"""Law 4 over several Simulators: one of a structure that was compiled before compiles nothing, and has its own numbers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import brainunit as u
import jax
import numpy as np
import pytest
from laws.networks import mixed

import dist_sim as ds
from dist_sim.core import transform
from dist_sim.core.transform import shared

TRAINS = np.arange(1, 60) * 0.7
FIRST: dict[str, Any] = dict(
    seed=1, rate=6000.0, start=0.0, mean_V=-60.0, tau_m=10.0, I_e=100.0, weight=60.0, inhibition=-200.0, delay=0.7,
    noise_delay=1.5, amplitude=150.0, std=200.0, own_rate=3000.0, depth=2000.0, packets=[10.0, 30.0], trains=TRAINS,
    lambda_=0.05, tau_plus=15.0, tau_minus=20.0, U=0.5, p=0.8, escape=3.0,
)  # fmt: skip
CHANGED: dict[str, dict[str, Any]] = {
    "the same": {},
    "seed": dict(seed=2**40 + 5),
    "rate": dict(rate=9500.0, own_rate=2000.0, depth=500.0),
    "window": dict(start=7.3),
    "parameters": dict(tau_m=17.0, I_e=390.0, mean_V=-56.0, escape=9.0),
    "weights": dict(weight=75.0, inhibition=-40.0),
    "delays": dict(delay=1.9, noise_delay=0.4),
    "amplitudes": dict(amplitude=330.0, std=90.0),
    "spike times": dict(packets=[12.5, 21.0], trains=TRAINS + 0.4),
    "plasticity": dict(lambda_=0.2, tau_plus=20.0, tau_minus=33.0, U=0.2, p=0.4),
}


def network(devices: int = 1, **changed: Any) -> ds.Simulator:
    """Models with random numbers and without, generators of each kind, meters, synapses that change, all with numbers to give."""
    p = FIRST | changed
    sim = ds.Simulator(seed=p["seed"], devices=devices)
    starts = dict(V_m=ds.dist.Normal(p["mean_V"] * u.mV, 2 * u.mV))
    exc = sim.create(ds.iaf_psc_exp, 203, params=starts | dict(tau_m=p["tau_m"] * u.ms, I_e=p["I_e"] * u.pA))
    exc_tau = dict(tau_minus=p["tau_minus"] * u.ms)
    inh = sim.create(ds.iaf_psc_alpha, 97, params=starts | exc_tau)
    escaping = sim.create(ds.pp_psc_delta, 40, c_1=p["escape"] * u.Hz / u.mV, with_reset=True, I_e=300 * u.pA)
    cells = exc + inh
    noise = sim.create(ds.poisson_generator, rate=p["rate"] * u.Hz, start=p["start"] * u.ms)
    sim.connect(noise, cells, weight=60 * u.pA, delay=p["noise_delay"] * u.ms)
    generators = {
        "own": sim.create(ds.sinusoidal_poisson_generator, rate=p["own_rate"] * u.Hz, amplitude=p["depth"] * u.Hz,
                          frequency=50 * u.Hz),
        "packets": sim.create(ds.pulsepacket_generator, pulse_times=p["packets"] * u.ms, activity=60, sdev=2 * u.ms),
        "clock": sim.create(ds.spike_generator, spike_times=np.round(p["trains"], 1) * u.ms),
    }  # fmt: skip
    for generator in generators.values():
        sim.connect(generator, cells, weight=40 * u.pA, delay=p["noise_delay"] * u.ms)
    sim.connect(sim.create(ds.dc_generator, amplitude=p["amplitude"] * u.pA), exc[:80])
    sim.connect(sim.create(ds.noise_generator, mean=50 * u.pA, std=p["std"] * u.pA), inh)
    sim.connect(
        exc, cells, "fixed_indegree", indegree=20, weight=p["weight"] * u.pA, delay=ds.dist.Uniform(0.1 * u.ms, 2.5 * u.ms)
    )
    sim.connect(inh, cells, "fixed_indegree", indegree=9, weight=p["inhibition"] * u.pA, delay=p["delay"] * u.ms)
    sim.connect(exc, escaping, "fixed_indegree", indegree=5, weight=1 * u.mV, delay=2.5 * u.ms)
    stdp = ds.stdp_synapse(weight=40 * u.pA, delay=p["delay"] * u.ms, lambda_=p["lambda_"], tau_plus=p["tau_plus"] * u.ms)
    sim.connect(exc, inh, "fixed_indegree", indegree=6, synapse=stdp)
    short = ds.tsodyks2_synapse(weight=90 * u.pA, delay=1.2 * u.ms, U=p["U"])
    sim.connect(exc, exc, "fixed_indegree", indegree=4, synapse=short)
    sim.connect(inh, exc, "fixed_indegree", indegree=4, synapse=ds.bernoulli_synapse(weight=-50 * u.pA, p_transmit=p["p"]))
    sim.connect(cells + escaping, sim.create(ds.spike_recorder))
    sim.connect(sim.create(ds.multimeter, record_from=("V_m", "I_syn_ex"), interval=0.3 * u.ms), exc[::9])
    return sim


def simulated(devices: int = 1, **changed: Any) -> tuple[str, int]:
    result = network(devices, **changed).simulate(50 * u.ms)
    return result.digest, result.summary["spikes"]


_LISTENING: list[list[str]] = []


def _heard(event: str, _: float, **more: Any) -> None:
    for found in _LISTENING:
        found.append(event)


jax.monitoring.register_event_duration_secs_listener(_heard)


@contextmanager
def events() -> Iterator[list[str]]:
    """What JAX traces and compiles meanwhile."""
    found: list[str] = []
    _LISTENING.append(found)
    try:
        yield found
    finally:
        _LISTENING.remove(found)


def compiled(found: list[str]) -> list[str]:
    return [event for event in found if event.startswith("/jax/core/compile")]


@pytest.fixture(scope="module")
def of_fresh_programs():
    """Digest and number of spikes of each case, on one device of another process, each compiled for itself."""
    code = """if True:
        import json
        from dist_sim.core import transform
        from laws.test_shared_step import CHANGED, simulated
        found = {}
        for name in reversed(CHANGED):
            transform.forget_programs()
            found[name] = simulated(**CHANGED[name])
        print(json.dumps(found))"""
    env = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, check=True, env=env)
    return {name: tuple(found) for name, found in json.loads(done.stdout.splitlines()[-1]).items()}


@pytest.mark.parametrize("devices", [1, 2])
def test_another_simulator_compiles_nothing_and_has_spikes_of_its_own(devices, of_fresh_programs):
    transform.forget_programs()
    with events() as found:
        simulated(devices)
    assert compiled(found)  # they would be seen
    for name, changed in CHANGED.items():
        with events() as found:
            result = simulated(devices, **changed)
        assert not compiled(found), f"{name}: {compiled(found)}"
        assert result == of_fresh_programs[name], name
    assert len(set(of_fresh_programs.values())) == len(CHANGED), "each of the changes changes the spikes"


def test_what_is_another_program_is_compiled():
    """Another longest delay, a generator that is silent and left out, another number of devices."""
    transform.forget_programs()
    simulated()
    for changed in (dict(delay=3.4), dict(rate=0.0), dict(devices=2)):
        with events() as found:
            simulated(**changed)
        assert compiled(found), changed


def test_random_numbers_of_synapses_change_no_length():
    """Rules with random numbers of synapses give other numbers, in arrays of the same lengths."""

    def drawn(seed: int) -> str:
        sim = ds.Simulator(seed=seed)
        cells = sim.create(ds.iaf_psc_exp, 500, I_e=400 * u.pA, V_m=ds.dist.Uniform(-70 * u.mV, -55 * u.mV))
        sim.connect(cells, cells, ds.pairwise_bernoulli(0.002), weight=50 * u.pA, delay=1 * u.ms)
        sim.connect(cells, sim.create(ds.spike_recorder))
        return sim.simulate(30 * u.ms).digest

    transform.forget_programs()
    with events() as found:
        digests = {drawn(seed) for seed in range(20)}
    loops = [event for event in compiled(found) if event.endswith("backend_compile_duration")]
    assert len(digests) == 20 and len(loops) < 40


def test_programs_keep_no_values_of_networks():
    transform.forget_programs()
    sim = mixed()
    sim.simulate(1 * u.ms)
    ((program, states),) = shared.PROGRAMS.values()
    assert all(state._value is None for state in states)
    largest = max((np.asarray(const).nbytes for const in program.staged.consts), default=0)
    assert largest < 1000, f"a constant of {largest} bytes"


def test_a_step_has_what_its_structure_says_and_no_more(monkeypatch):
    """A generator whose step reads a number of its own, which would be that of the first network for ever, is refused."""
    monkeypatch.setattr(ds.dc_generator, "current", lambda self, p, step, to: self.amplitude)
    sim = ds.Simulator()
    sim.connect(sim.create(ds.dc_generator, amplitude=3 * u.pA), sim.create(ds.iaf_psc_exp, 3))
    with pytest.raises(AttributeError, match="dc_generator has no 'amplitude'. In the step it has what its `structure` names"):
        sim.simulate(1 * u.ms)


def test_few_programs_are_kept(monkeypatch):
    monkeypatch.setattr(shared.PROGRAMS, "most", 3)
    transform.forget_programs()
    for size in range(1, 6):
        sim = ds.Simulator()
        sim.create(ds.iaf_psc_exp, 128 * size)
        sim.simulate(0.1 * u.ms)
    assert len(shared.PROGRAMS.values()) == 3
