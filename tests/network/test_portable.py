"""What a checkpoint holds has no placement: it is equal on any of them, and the simulation goes on from it on any other."""

from __future__ import annotations

import brainunit as u
import numpy as np
import pytest
from laws import networks
from laws.test_plasticity import plastic

from dist_sim.partition.processes import Processes


def held(simulation):
    return simulation.network.portable(lambda state: np.asarray(state.value), simulation.step)


def differing(found, wanted):
    assert list(found) == list(wanted)
    return [name for name in wanted if found[name].dtype != wanted[name].dtype or not np.array_equal(found[name], wanted[name])]


@pytest.mark.parametrize(
    ("build", "options"),
    [
        (networks.mixed, dict(devices=3, placement="round_robin", precision=64)),
        (networks.brunel, dict(devices=3, placement="balanced", exchange="ids")),
    ],
)
def test_state_has_no_placement(build, options):
    # 35.7 ms is in the middle of an exchange interval of 15 steps.
    precision = options.get("precision", 32)
    one, other = build(devices=1, precision=precision), build(**options)
    for sim in (one, other):
        sim.simulate(35.7 * u.ms)
    wanted = held(one._simulation)
    assert len(wanted["projection.spike_ids"]) > 10
    assert differing(held(other._simulation), wanted) == []

    resumed = build(devices=2, precision=precision)
    resumed.simulate(0 * u.ms)
    with resumed._simulation.environment():
        resumed._simulation.network.restore_portable([wanted], one._simulation.step)
    resumed._simulation.step = one._simulation.step
    assert differing(held(resumed._simulation), wanted) == []
    for sim in (one, resumed):
        sim.cont(20 * u.ms)
    assert differing(held(resumed._simulation), held(one._simulation)) == []
    left, right = (s._simulation.network.projection.in_flight(s._simulation.step) for s in (one, resumed))
    assert left == right > 0


@pytest.mark.parametrize("placement", ["block", "round_robin"])
def test_parts_of_several_processes_are_the_whole(monkeypatch, placement):
    """Each gives what its devices have, and the parts together are the state: as of two processes with two of four devices."""
    sim = plastic(devices=4, placement=placement)
    sim.simulate(21.3 * u.ms)
    network, step = sim._simulation.network, sim._simulation.step
    wanted, parts = held(sim._simulation), []
    for process in range(2):
        with monkeypatch.context() as patch:
            for module in (network.projection, network.projection.plastic["stdp_synapse"]):
                patch.setattr(module, "processes", Processes(process, 2))
                patch.setattr(module, "local", np.arange(2) + 2 * process)
            network.__dict__.pop("_mine", None)
            parts.append(network.portable(lambda state, half=process: halves(state)[half], step))
    network.__dict__.pop("_mine")
    weights = [len(part["plastic.stdp_synapse.weight"]) for part in parts]
    assert sum(weights) == len(wanted["plastic.stdp_synapse.weight"]) and min(weights) > 1000
    name = "iaf_psc_exp.variables"
    assert sum(part[name].shape[1] for part in parts) == wanted[name].shape[1]

    resumed = plastic(devices=3)
    resumed.simulate(0 * u.ms)
    with resumed._simulation.environment():
        resumed._simulation.network.restore_portable(iter(parts), step)
    resumed._simulation.step = step
    assert differing(held(resumed._simulation), wanted) == []


def halves(state):
    value = state.value
    axis = value.sharding.spec.index("neuron") if "neuron" in value.sharding.spec else None
    return [np.asarray(value)] * 2 if axis is None else np.split(np.asarray(value), 2, axis=axis)


def test_a_history_too_small_for_the_spikes_is_made_larger():
    full = networks.saturating(devices=1)
    full.simulate(30 * u.ms)
    wanted = held(full._simulation)
    small = networks.saturating(devices=2)
    small.simulate(0 * u.ms)
    simulation = small._simulation
    simulation.network.projection._reset(1)
    simulation.network.restore_portable([wanted], full._simulation.step)
    simulation.step = full._simulation.step
    assert len(simulation.network.projection.ring.value) > 2
    assert differing(held(simulation), wanted) == []
    for sim in (full, small):
        sim.cont(10 * u.ms)
    assert differing(held(simulation), held(full._simulation)) == []
