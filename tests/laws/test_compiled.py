"""Law 4: time runs compiled: one compilation for a run of any length, and in the step no communication but the exchange."""

import re

import brainunit as u
import jax
import numpy as np
import pytest
from laws.networks import brunel, microcircuit, mixed

import dist_sim as ds
from dist_sim.core import transform
from dist_sim.simulator.network import Network

COLLECTIVES = re.compile(r" (all-gather|all-reduce|all-to-all|reduce-scatter|collective-\w+)(?:-start)?\(")


@pytest.fixture(autouse=True)
def nothing_compiled():
    transform.forget_programs()


@pytest.mark.parametrize("devices", [1, 3])
@pytest.mark.parametrize("network", [brunel, mixed], ids=["brunel", "mixed"])
def test_one_compilation_for_a_run_of_any_length(network, devices):
    sim = network(devices=devices, chunk=3.7 * u.ms)
    sim.simulate(0.0 * u.ms)
    loop = sim._simulation.loop
    (program,) = programs_of(loop)
    for duration in (0.1, 3.7, 11.0, 23.9):
        sim.cont(duration * u.ms)
    sim.simulate(5.0 * u.ms)
    assert loop.advance.compilations == 1
    # JAX's own count: the program was made once, for one shape and sharding of everything.
    assert programs_of(loop) == [program] and program.donating._cache_size() == 1


def test_python_is_not_in_the_time_loop(monkeypatch):
    steps = []
    update = Network.update
    monkeypatch.setattr(Network, "update", lambda self, *args: (steps.append(1), update(self, *args))[1])
    sim = brunel(chunk=1.0 * u.ms)
    sim.simulate(0.0 * u.ms)
    traced = len(steps)
    sim.cont(50.0 * u.ms)
    assert len(steps) == traced


def test_an_overflow_compiles_once_more():
    sim = brunel(devices=2, exchange=ds.AllGatherIds(capacity=1), chunk=2.0 * u.ms)
    sim.simulate(40.0 * u.ms)
    grown = sim._simulation.network.projection.exchange.capacity
    assert grown > 1
    assert sim._simulation.loop.advance.compilations == 1 + np.log2(grown)


@pytest.mark.parametrize("exchange", ["mask", "ids", "memory"])
@pytest.mark.parametrize("network", [brunel, microcircuit], ids=["once in 15 steps", "every step"])
def test_the_step_on_one_device_communicates_nothing(network, exchange):
    assert collectives(network(devices=1, exchange=exchange)) == []


@pytest.mark.parametrize(("exchange", "gathers"), [("mask", 1), ("ids", 2)])
@pytest.mark.parametrize("network", [brunel, microcircuit], ids=["once in 15 steps", "every step"])
def test_the_step_on_two_devices_gathers_spikes_and_nothing_else(network, exchange, gathers):
    """Ids travel with their counts."""
    assert collectives(network(devices=2, exchange=exchange)) == ["all-gather"] * gathers


@pytest.mark.parametrize("network", [brunel, microcircuit], ids=["once in 15 steps", "every step"])
def test_the_exchange_in_memory_is_one_call_and_no_collective(network):
    """The exchange by MPI is the same call; tests/cluster/test_mpi.py looks at it under mpirun."""
    sim = network(devices=2, exchange="memory")
    assert collectives(sim) == []
    assert compiled(sim).count('custom_call_target="dist_sim.gather"') == 1


def test_communication_would_be_seen():
    mesh = ds.neuron_mesh(2)
    island = jax.shard_map(lambda x: jax.lax.psum(x, "neuron"), mesh=mesh, in_specs=jax.P("neuron"), out_specs=jax.P())
    assert COLLECTIVES.findall(jax.jit(island).lower(np.zeros(4, np.float32)).compile().as_text()) == ["all-reduce"]


def collectives(sim):
    """The collective operations of the compiled loop."""
    return COLLECTIVES.findall(compiled(sim))


def compiled(sim):
    """The text of the compiled loop."""
    sim.simulate(0.0 * u.ms)
    zero = np.int32(0)
    text = sim._simulation.loop.advance.lower(zero, zero).compile().as_text()
    assert "while" in text and "dist_sim.deliver" in text
    return text


def programs_of(loop):
    return [program for _, program in loop.advance._programs]
