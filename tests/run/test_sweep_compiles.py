"""A sweep compiles at its first point and keeps no memory: of networks of the Simulator, and of Modules in each way."""

import gc

import brainunit as u
import jax
import numpy as np
import pytest
from core.test_eager import compiled, resident

import dist_sim as ds
from dist_sim.core import State, environ, transform

POINTS = 20


def network(weight, seed):
    sim = ds.Simulator(dt=0.1 * u.ms, seed=seed)
    exc, inh = sim.create(ds.iaf_psc_exp, 80, name="exc"), sim.create(ds.iaf_psc_exp, 20)
    noise = sim.create(ds.poisson_generator, rate=8 * u.kHz)
    sim.connect(noise, exc + inh, weight=87.8 * u.pA, delay=1.5 * u.ms)
    sim.connect(exc, exc + inh, rule=ds.fixed_indegree(8), weight=87.8 * u.pA, delay=1.5 * u.ms)
    sim.connect(inh, exc + inh, rule=ds.fixed_indegree(2), weight=weight, delay=0.8 * u.ms)
    sim.connect(exc, sim.create(ds.spike_recorder))
    return sim.simulate(100 * u.ms).summary["rates"]["exc"]


class Net(ds.Module):
    def __init__(self, weight, tau):
        super().__init__()
        self.tau = State(tau)
        self.cells = ds.LIFRef(
            200, tau=self.tau, V_th=15 * u.mV, tau_ref=2 * u.ms, V_initializer=ds.init.Uniform(0, 15, unit=u.mV)
        )
        self.proj = ds.DeltaProj(comm=ds.nn.EventFixedProb(200, 200, 0.1, weight), post=self.cells, delay=1 * u.ms)

    def update(self):
        self.proj(self.cells.get_spike() != 0.0)
        return self.cells(20 * u.mA).sum()


def made(weight, tau):
    ds.random.seed(1)
    return ds.nn.init_all_states(Net(weight, tau))


def loop(weight, tau):
    net = made(weight, tau)
    return float(transform.for_loop(net.update, length=300).sum())


def jitted(weight, tau):
    net = made(weight, tau)
    return float(transform.jit(lambda: transform.for_loop(net.update, length=300).sum())())


def run(weight, tau):
    net = made(weight, tau)
    return ds.Run(net.update, record={"cells": net.cells}).advance(30 * u.ms).summary["spikes"]


def run_on_a_mesh(weight, tau):
    with ds.use_mesh(devices=2):
        return run(weight, tau)


class arguments:
    """One network for all points, whose weight and time constant are arguments of a compiled function."""

    def __init__(self):
        with environ.context(dt=0.1 * u.ms):
            self.net = made(0.1 * u.mV, 20 * u.ms)
        self.program = transform.jit(self.run)

    def run(self, weight, tau):
        self.net.proj.comm.weight.value, self.net.tau.value = weight, tau
        return transform.for_loop(self.net.update, length=300).sum()

    def __call__(self, weight, tau):
        ds.random.seed(1)
        ds.nn.init_all_states(self.net)
        return float(self.program(weight, tau))


MODULES = {"loop": lambda: loop, "jit": lambda: jitted, "Run": lambda: run, "Run on a mesh": lambda: run_on_a_mesh,
           "arguments": arguments}  # fmt: skip


def swept(function, points):
    """The results; after each point, what has been compiled so far, arrays that there are, and bytes of memory."""
    seen = []

    def point(**given):
        found = function(**given)
        gc.collect()
        seen.append((compiled[0], sum(x.nbytes for x in jax.live_arrays()), resident()))
        return found

    with environ.context(dt=0.1 * u.ms):
        table = ds.sweep(point, points, show=False)
    return [row["result"] for row in table], seen


def check(seen):
    programs, arrays, memory = zip(*seen, strict=True)
    assert len(set(programs)) == 1, programs
    assert max(arrays[2:]) == arrays[2], arrays
    assert memory[-1] - memory[4] < 4 * 2**20, memory


def test_of_networks_of_the_simulator():
    weights = np.linspace(-900, -300, POINTS) * u.pA
    found, seen = swept(network, [{"weight": weight, "seed": n + 1} for n, weight in enumerate(weights)])
    assert len(set(found)) > POINTS // 2 and min(found) > 0
    check(seen)


@pytest.mark.parametrize("way", MODULES)
def test_of_programs_of_modules(way):
    weights, taus = np.linspace(0.05, 0.2, POINTS) * u.mV, np.linspace(10, 30, POINTS) * u.ms
    points = [{"weight": weight, "tau": tau} for weight, tau in zip(weights, taus, strict=True)]
    found, seen = swept(MODULES[way](), points)
    assert found[0] > found[-1] > 0 and len(set(found)) > POINTS // 2
    check(seen)


def test_programs_that_differ_in_an_array_that_they_close_over_are_not_one():
    for n in (1.0, 2.0):
        held = np.full(5, n, np.float32)
        assert transform.jit(lambda held=held: (jax.numpy.asarray(held) * 2).sum())() == 10 * n
    for donate in (True, False):
        state = State(jax.numpy.ones(4))
        double = transform.jit(lambda state=state: setattr(state, "value", state.value * 2), donate=donate)
        double(), double()
        assert (state.value == 4).all()
