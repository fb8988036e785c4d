"""Where devices are no CPUs the step is plain JAX, and connections and tables are still drawn by compiled C++ on the host."""

import shutil

import brainunit as u
import pytest

import dist_sim as ds
from dist_sim import kernels
from dist_sim.kernels import backend

STEP = {"prepare", "deliver", "push_masks", "poisson", "update"}


@pytest.mark.parametrize("platform, with_nvcc", [("cuda", "cuda"), ("rocm", "reference"), ("tpu", "reference")])
def test_builder_and_step_choose_apart(monkeypatch, platform, with_nvcc):
    step = kernels.choose(None, platform)
    assert step == (with_nvcc if shutil.which("nvcc") else "reference")
    assert kernels.choose_builder(step, platform) == "native"
    monkeypatch.setattr(backend, "can_compile", lambda: False)
    assert kernels.choose_builder(step, platform) == "reference"


@pytest.mark.parametrize("name", ["reference", "native"])
def test_on_cpus_they_are_one(name):
    assert kernels.choose_builder(kernels.choose(name, "cpu"), "cpu") == name


def test_a_network_on_other_devices_is_drawn_by_compiled_kernels(monkeypatch):
    """The devices say that they are GPUs where backends are chosen; the network is that of CPUs."""

    def digest(**options):
        sim = ds.Simulator(dt=0.1 * u.ms, seed=1, **options)
        cells = sim.create(ds.iaf_psc_exp, 100, params=dict(V_m=ds.dist.Uniform(-65 * u.mV, -56 * u.mV)))
        sim.connect(sim.create(ds.poisson_generator, rate=9000 * u.Hz), cells, weight=60 * u.pA)
        delay = ds.dist.Uniform(0.1 * u.ms, 2 * u.ms)
        sim.connect(cells, cells, rule=ds.fixed_indegree(9), weight=ds.dist.Normal(20 * u.pA, 5 * u.pA), delay=delay)
        sim.connect(cells, sim.create(ds.spike_recorder))
        result = sim.simulate(20 * u.ms)
        return result.digest, result.summary["spikes"]

    wanted, spikes = digest()
    assert spikes > 50
    choose, choose_builder, call = kernels.choose, kernels.choose_builder, backend.Kernel.__call__
    ran: dict[str, set[str]] = {}

    def spied(self, *args, backend, **options):
        ran.setdefault(self.__name__, set()).add(backend)
        return call(self, *args, backend=backend, **options)

    monkeypatch.setattr(kernels, "choose", lambda name, _: choose(name, "rocm"))
    monkeypatch.setattr(kernels, "choose_builder", lambda step, _: choose_builder(step, "rocm"))
    monkeypatch.setattr(backend.Kernel, "__call__", spied)
    assert digest() == (wanted, spikes)
    assert {name for name, used in ran.items() if used == {"reference"}} == STEP
    drawn = {name for name, used in ran.items() if used == {"native"}}
    assert drawn and drawn == set(ran) - STEP
