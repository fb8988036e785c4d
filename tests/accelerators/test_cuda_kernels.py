"""The CUDA kernels without a GPU: nvcc builds them, JAX's programs call them and no others, and their twin under g++, called by
XLA on CPUs, gives the digest of the reference."""

from __future__ import annotations

import ctypes
import re
import shutil

import brainunit as u
import jax
import microcircuit
import numpy as np
import pytest

import dist_sim as ds
from dist_sim.errors import DeviceError
from dist_sim.kernels import backend, cuda, history
from dist_sim.kernels.neurons import cuda_of
from dist_sim.nest.neurons.shape import default_shape
from dist_sim.nest.neurons.text import neuron_text

MOST_REGISTERS = 80  # of a thread; blocks of 1,024 have room for 64


@pytest.fixture
def twin(monkeypatch):
    if shutil.which("g++") is None:
        pytest.skip("g++ is not installed")
    monkeypatch.setattr(cuda, "toolchain", cuda.TWIN)


def circuit(**options):
    sim = ds.Simulator(dt=0.1 * u.ms, seed=3, **options)
    microcircuit.build(sim, microcircuit.scaled_circuit(0.05, "poisson"), "optimized")
    return sim


def adaptive(**options):
    sim = ds.Simulator(dt=0.1 * u.ms, seed=5, **options)
    cells = sim.create(ds.aeif_cond_exp, 300, params=dict(I_e=1000 * u.pA))
    noise = sim.create(ds.poisson_generator, rate=9000 * u.Hz)
    sim.connect(noise, cells, weight=2.0 * u.nS, delay=1.0 * u.ms)
    sim.connect(cells, cells, rule=ds.fixed_indegree(30), weight=0.5 * u.nS, delay=ds.dist.Uniform(1.0 * u.ms, 4.0 * u.ms))
    sim.connect(cells, sim.create(ds.spike_recorder))
    return sim


def binary(**options):
    """Neurons that send changes of state, and a source from outside that sends several spikes in a step."""
    sim = ds.Simulator(dt=0.1 * u.ms, seed=7, **options)
    cells = sim.create(ds.ginzburg_neuron, 200, params=dict(tau_m=1 * u.ms, theta=1 * u.mV))
    beat = sim.create(ds.spike_generator, spike_times=[1.0, 1.0, 2.0, 5.0] * u.ms)
    sim.connect(cells, cells, rule=ds.fixed_indegree(20), weight=0.2 * u.mV, delay=1.0 * u.ms)
    sim.connect(beat, cells, weight=1.0 * u.mV, delay=0.5 * u.ms)
    sim.connect(cells, sim.create(ds.spike_recorder))
    return sim


@pytest.mark.parametrize(
    ("network", "precision"),
    [
        (circuit, 32),
        (circuit, 64),
        (adaptive, 32),
        (binary, 32),
        pytest.param(adaptive, 64, marks=pytest.mark.slow),
        pytest.param(binary, 64, marks=pytest.mark.slow),
    ],
)
def test_the_twin_gives_the_digest_of_the_reference(twin, network, precision):
    ours, theirs = (network(backend=b, precision=precision).simulate(40 * u.ms) for b in ("cuda", "reference"))
    assert ours.digest == theirs.digest
    for name in ("spikes", "events"):
        assert ours.summary[name] == theirs.summary[name] > 0


@pytest.mark.parametrize("exchange", ["mask", "ids"])
def test_the_twin_on_two_devices(twin, exchange):
    ours = circuit(backend="cuda", devices=2, exchange=exchange).simulate(20 * u.ms)
    assert ours.digest == circuit(backend="reference").simulate(20 * u.ms).digest


def test_a_history_that_overflows_as_the_reference_does(twin):
    """Counters and ring, word by word, on both sides of the capacity."""
    rng = np.random.default_rng(1)
    slots, delays, steps, capacity = 256, 3, 2, 40
    present = rng.integers(0, 2**32, slots // 32, dtype=np.uint32)
    counts = np.bitwise_count(present)
    rank = (np.cumsum(counts) - counts).astype(np.uint32)
    pointers = np.cumsum(rng.integers(0, 5, int(counts.sum()) * delays + 1)).astype(np.uint32)
    events = np.array([[0, 1, 1, 3], [1, 2, 3, 4]], np.uint32)
    run = {b: jax.jit(lambda *x, b=b: history.push_masks(*x, num_delays=delays, backend=b)) for b in ("cuda", "reference")}
    histories = {
        b: (np.zeros(capacity, np.uint32), np.zeros((4, 2), np.uint32), np.zeros(history.NUM_COUNTERS, np.uint32)) for b in run
    }
    for first in range(0, 8, steps):
        masks = np.packbits(rng.random((1, steps, slots)) < 0.02 * (first + 2), axis=-1, bitorder="little").view(np.uint32)
        for b, push in run.items():
            histories[b] = push(np.int32(first), masks, events, (present, rank, pointers), histories[b])
        for ours, theirs in zip(histories["cuda"], histories["reference"], strict=True):
            np.testing.assert_array_equal(ours, theirs)
    assert histories["cuda"][2][history.OVERFLOW] == 1


def exported_circuit():
    """The compiled loop for GPUs, the kernels that it may call, and the text of its model."""
    sim = circuit(backend="cuda")
    sim.simulate(0.1 * u.ms)
    (population,) = sim._simulation.network.populations
    targets = [f"dist_sim.cuda.{k}" for k in ("deliver", "poisson", "push_masks", population.text.target)]
    program = sim._simulation.loop.advance.exported(["cuda"], np.int32(0), np.int32(10), kernels=targets)
    return program, targets, population.text


def test_a_program_for_gpus_calls_the_stated_kernels(twin):
    """Exported for CUDA from a machine without one: four kernels in a step, of which one is printed."""
    program, targets, _ = exported_circuit()
    text = program.mlir_module()
    called = re.findall(r"custom_call @([\w.]+)", text)
    assert sorted(t for t in called if t.startswith("dist_sim")) == sorted(targets)


@pytest.mark.skipif(shutil.which("nvcc") is None, reason="nvcc is not installed")
def test_nvcc_builds_the_kernels_for_all_cards():
    """Without spilled registers; the library loads without a driver, and its handlers are taken for the platform CUDA."""
    neuron = ds.iaf_psc_exp
    model = neuron_text(neuron, default_shape(neuron), np.dtype(np.float32))
    found = []
    for library in (cuda.load("kernels"), cuda.register(cuda_of(model))):
        ctypes.CDLL(str(library))
        found += cuda.compiled_in(library)
    assert {k.architecture for k in found} == set(cuda.ARCHITECTURES)
    assert len(found) == len(cuda.ARCHITECTURES) * (7 + 1)
    assert not [k for k in found if k.spilled or k.registers > MOST_REGISTERS]
    assert max(k.registers for k in found if "push" in k.kernel or "compact" in k.kernel) <= 64


def test_cuda_where_it_cannot_run():
    with pytest.raises(DeviceError, match="needs NVIDIA GPUs and nvcc"):
        backend.choose("cuda", "cpu")


def test_a_gpu_without_nvcc(monkeypatch, capsys):
    monkeypatch.setenv("PATH", "")
    backend._say_plain.cache_clear()
    assert backend.choose(None, "gpu") == "reference"
    assert backend.choose(None, "gpu") == "reference"
    assert capsys.readouterr().err.count("nvcc is not on PATH") == 1
