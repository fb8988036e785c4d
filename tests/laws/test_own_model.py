"""A model in a user's script is a model like any other: on any devices, backend, as a Module, and through a checkpoint."""

from __future__ import annotations

import importlib.util

import brainunit as u
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from run.checkpointed import StopAt

import dist_sim as ds
from dist_sim.run.checkpoint import CheckpointPolicy
from dist_sim.run.directory import RunDirectory
from dist_sim.run.session import Session
from dist_sim.run.stop import Stopped

SCRIPT = '''
"""A quadratic integrate-and-fire neuron with adaptation."""

import brainunit as u
import jax.numpy as jnp

import dist_sim as ds
from dist_sim.nest import Adaptive, Counter, NESTNeuron, Parameter, Receptor, State, crossed


class adaptive_quadratic(NESTNeuron):
    """C dV/dt = k (V - E_L) (V - V_c) - w + I_syn + I, dw/dt = (a (V - E_L) - w) / tau_w."""

    C_m = Parameter(u.pF, 100.0, above=0.0)
    k = Parameter(u.nS / u.mV, 0.7, above=0.0)
    E_L = Parameter(u.mV, -60.0)
    V_c = Parameter(u.mV, -40.0)
    V_peak = Parameter(u.mV, 35.0)
    V_reset = Parameter(u.mV, -50.0)
    a, b = Parameter(u.nS, -2.0), Parameter(u.pA, 100.0)
    tau_w, tau_syn = Parameter(u.ms, 33.0, above=0.0), Parameter(u.ms, 3.0, above=0.0)

    V_m, w, I_syn = State(u.mV, -60.0), State(u.pA), State(u.pA)
    spikes = Receptor(u.pA)
    law = Adaptive(tolerance=1e-4)

    @staticmethod
    def derivatives(y, p, x):
        V = jnp.minimum(y.V_m, p.V_peak)
        return {
            "V_m": (p.k * (V - p.E_L) * (V - p.V_c) - y.w + y.I_syn + x.current) / p.C_m,
            "w": (p.a * (V - p.E_L) - y.w) / p.tau_w,
            "I_syn": -y.I_syn / p.tau_syn,
        }

    @staticmethod
    def step(y, p, x):
        spike = crossed(y.V_m, p.V_peak)
        return {
            "V_m": jnp.where(spike, p.V_reset, y.V_m),
            "w": jnp.where(spike, y.w + p.b, y.w),
            "I_syn": y.I_syn + x.spikes,
        }, spike


def network(**options):
    sim = ds.Simulator(seed=4, chunk=13 * u.ms, **options)
    cells = sim.create(adaptive_quadratic, 300, V_m=ds.dist.Uniform(-62 * u.mV, -45 * u.mV))
    noise = sim.create(ds.poisson_generator, rate=900 * u.Hz)
    sim.connect(noise, cells, weight=60 * u.pA)
    sim.connect(cells, cells, rule=ds.fixed_indegree(20), weight=15 * u.pA, delay=1.5 * u.ms)
    sim.connect(cells, sim.create(ds.spike_recorder))
    return sim
'''


@pytest.fixture(scope="module")
def script(tmp_path_factory):
    file = tmp_path_factory.mktemp("own") / "own_model.py"
    file.write_text(SCRIPT)
    spec = importlib.util.spec_from_file_location("own_model", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module", params=[32, 64], ids=["32 bits", "64 bits"])
def precision(request):
    return request.param


@pytest.fixture(scope="module")
def digest(script, precision):
    result = script.network(precision=precision).simulate(60 * u.ms)
    assert result.summary["spikes"] > 300
    return result.digest


@pytest.mark.parametrize("options", [dict(devices=3), dict(backend="reference"), dict(devices=3, backend="reference")], ids=str)
def test_spikes_depend_neither_on_devices_nor_on_the_backend(script, precision, digest, options):
    assert script.network(precision=precision, **options).simulate(60 * u.ms).digest == digest


def test_a_checkpoint_goes_on_elsewhere(script, precision, digest, tmp_path):
    policy = CheckpointPolicy(every=0.0, keep_last=2)
    directory = RunDirectory(tmp_path / "run")
    with Session(directory=directory, checkpoints=policy, stop=StopAt(3)).active(), pytest.raises(Stopped):
        script.network(precision=precision, devices=2).simulate(60 * u.ms)
    directory.close()
    directory = RunDirectory.resume(tmp_path / "run")
    with Session(directory=directory, checkpoints=policy, stop=StopAt(99)).active():
        result = script.network(precision=precision, devices=3, backend="reference").simulate(60 * u.ms)
    directory.close()
    assert result.digest == digest


def test_it_runs_alone_as_a_module(script):
    """The same steps of current: the same spikes as in a Simulator."""
    sim = ds.Simulator(precision=64)
    cells = sim.create(script.adaptive_quadratic, 5, a=np.linspace(-2, 2, 5) * u.nS)
    generator = sim.create(ds.dc_generator, amplitude=200 * u.pA)
    sim.connect(generator, cells)
    recorder = sim.create(ds.spike_recorder)
    sim.connect(cells, recorder)
    times, senders = sim.simulate(200 * u.ms).events(recorder)
    steps = np.rint(times.to_decimal(u.ms) / 0.1).astype(int) - 1
    with jax.enable_x64(True), ds.environ.context(dt=0.1 * u.ms):
        alone = script.adaptive_quadratic(5, a=np.linspace(-2, 2, 5) * u.nS)
        ds.nn.init_all_states(alone)
        # A generator's current acts from its delay and one step on.
        current = np.where(np.arange(2000) >= 11, 200.0, 0.0)
        spikes = ds.transform.for_loop(lambda I: alone(I * u.pA), jnp.asarray(current))
    found = np.argwhere(np.asarray(spikes) > 0)
    assert len(found) > 20
    np.testing.assert_array_equal(found, np.stack([steps, senders], axis=1))
