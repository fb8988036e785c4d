"""Small networks that use everything at once, for laws that must hold however they are run."""

from __future__ import annotations

from typing import Any

import brainunit as u
import nest_microcircuit as pd14
import numpy as np

import dist_sim as ds
from dist_sim.nest.devices import Meter
from dist_sim.network import Projection
from dist_sim.simulator import NodeView, SimulationResult

DT = 0.1 * u.ms
STEP_EVENTS = ("emitted_events", "delivered_events", "in_flight_events")


def mixed(**options: Any) -> ds.Simulator:
    """Every model, source, rule and distribution. Delays are from one step, shorter than t_ref, to 3 ms; sizes fit no block."""
    sim = ds.Simulator(dt=DT, **({"seed": 11} | options))
    at_rest = dict(V_m=ds.dist.Uniform(-65 * u.mV, -54 * u.mV), t_ref=1.0 * u.ms)
    # Two time constants per model: channels of their own for excitation and inhibition.
    exp = sim.create(ds.iaf_psc_exp, 203, params=at_rest | dict(tau_syn_ex=0.5 * u.ms, tau_syn_in=2.0 * u.ms))
    alpha = sim.create(ds.iaf_psc_alpha, 97, params=at_rest | dict(tau_m=ds.dist.Normal(10 * u.ms, 1 * u.ms, min=5 * u.ms)))
    delta = sim.create(ds.iaf_psc_delta, 151, params=at_rest | dict(I_e=150 * u.pA))
    more = sim.create(ds.iaf_psc_exp, 61, params=at_rest)
    trains = np.random.default_rng(5).integers(1, 1500, (7, 40))
    clock = sim.create(ds.spike_generator, 7, params=dict(spike_times=[np.sort(train) * DT for train in trains]))
    noise = sim.create(ds.poisson_generator, rate=6000 * u.Hz)
    pair = sim.create(ds.poisson_generator, 2, params=dict(rate=np.array([1500.0, 800.0]) * u.Hz, start=5 * u.ms))
    current = sim.create(ds.dc_generator, amplitude=120 * u.pA, start=10 * u.ms, stop=60 * u.ms)
    recorder = sim.create(ds.spike_recorder)

    for targets, weight in ((exp, 120 * u.pA), (alpha, 25 * u.pA), (delta, 0.25 * u.mV), (more, 40 * u.pA)):
        sim.connect(noise, targets, weight=weight, delay=1.5 * u.ms)
    sim.connect(pair, exp, weight=ds.dist.Normal(40 * u.pA, 20 * u.pA), delay=0.1 * u.ms)
    sim.connect(pair, delta, weight=ds.dist.Uniform(-0.2 * u.mV, 0.4 * u.mV), delay=0.1 * u.ms)
    sim.connect(current, alpha[10:50])

    pairs = np.random.default_rng(6)
    sim.connect(
        exp, exp, rule=ds.fixed_indegree(30), weight=ds.dist.Normal(60 * u.pA, 25 * u.pA, min=0 * u.pA),
        delay=ds.dist.Normal(1.0 * u.ms, 0.5 * u.ms, min=0.05 * u.ms, max=3 * u.ms),
    )  # fmt: skip
    sim.connect(
        exp, delta, rule=ds.fixed_total_number(3001), weight=ds.dist.LogNormal(0.3 * u.mV, 0.2 * u.mV, max=3 * u.mV),
        delay=ds.dist.Uniform(0.1 * u.ms, 2.9 * u.ms),
    )  # fmt: skip
    simple = dict(allow_autapses=False, allow_multapses=False)
    sim.connect(delta, exp, rule=ds.pairwise_bernoulli(0.1), weight=-40 * u.pA, delay=0.1 * u.ms, **simple)
    sim.connect(delta, delta, rule=ds.fixed_indegree(12), weight=-0.4 * u.mV, delay=0.7 * u.ms, **simple)
    sim.connect(delta, alpha, rule=ds.pairwise_poisson(0.08), weight=ds.dist.Normal(-60 * u.pA, 30 * u.pA), delay=0.4 * u.ms)
    late = ds.dist.LogNormal(1 * u.ms, 0.5 * u.ms, min=0.05 * u.ms, max=2.5 * u.ms)
    sim.connect(alpha, more + exp, rule=ds.fixed_outdegree(20), weight=35 * u.pA, delay=late)
    sim.connect(alpha, alpha, rule=ds.fixed_outdegree(9), weight=15 * u.pA, delay=0.2 * u.ms, **simple)
    each = dict(weight=pairs.normal(1.0, 0.5, 61) * u.mV, delay=pairs.integers(1, 30, 61) * DT)
    sim.connect(more, delta[:61], rule=ds.one_to_one, **each)
    sim.connect(more, more, weight=pairs.normal(10.0, 20.0, (61, 61)) * u.pA, delay=0.1 * u.ms, allow_autapses=False)
    sim.connect(clock, exp, rule=ds.fixed_indegree(2), weight=ds.dist.Normal(300 * u.pA, 50 * u.pA), delay=0.1 * u.ms)
    sim.connect(
        clock + delta, delta, rule=ds.explicit_edges(pairs.integers(0, 158, 300), pairs.integers(0, 151, 300)),
        weight=pairs.normal(0.5, 1.0, 300) * u.mV, delay=pairs.integers(1, 31, 300) * DT,
    )  # fmt: skip
    for population in (exp, alpha, delta, more):
        sim.connect(population, recorder)
    # An interval that cuts chunks at other places than they end.
    sim.connect(sim.create(ds.multimeter, record_from=("V_m", "I_syn_ex", "I_syn_in"), interval=0.3 * u.ms), exp[::7])
    sim.connect(sim.create(ds.voltmeter, interval=1.1 * u.ms), delta)
    return sim


def brunel(**options: Any) -> ds.Simulator:
    """Brunel (2000) with 300 neurons: iaf_psc_delta, one delay of 15 steps, so that spikes are exchanged once in 15 steps."""
    sim = ds.Simulator(dt=DT, **({"seed": 3} | options))
    neuron = dict(
        tau_m=20 * u.ms, t_ref=2 * u.ms, E_L=0 * u.mV, V_reset=10 * u.mV, V_th=20 * u.mV, C_m=250 * u.pF,
        V_m=ds.dist.Uniform(0 * u.mV, 20 * u.mV),
    )  # fmt: skip
    exc, inh = (sim.create(ds.iaf_psc_delta, n, params=neuron, name=name) for n, name in ((240, "exc"), (60, "inh")))
    noise, recorder = sim.create(ds.poisson_generator, rate=11_000 * u.Hz), sim.create(ds.spike_recorder)
    for targets in (exc, inh):
        sim.connect(noise, targets, weight=0.1 * u.mV, delay=1.5 * u.ms)
        sim.connect(targets, recorder)
    sim.connect(exc, exc + inh, rule=ds.fixed_indegree(24), weight=0.4 * u.mV, delay=1.5 * u.ms)
    sim.connect(inh, exc + inh, rule=ds.fixed_indegree(6), weight=-2.0 * u.mV, delay=1.5 * u.ms)
    return sim


def microcircuit(**options: Any) -> ds.Simulator:
    """The circuit of Potjans & Diesmann (2014) with its 8 populations and its distributions, both drives at once."""
    sim = ds.Simulator(dt=DT, **({"seed": 7} | options))
    numbers = pd14.circuit(0.01, 0.05, "poisson")
    neuron = dict(
        C_m=250 * u.pF, tau_m=10 * u.ms, tau_syn_ex=0.5 * u.ms, tau_syn_in=0.5 * u.ms, t_ref=2 * u.ms, E_L=-65 * u.mV,
        V_reset=-65 * u.mV, V_th=-50 * u.mV,
    )  # fmt: skip
    recorder = sim.create(ds.spike_recorder)
    populations = []
    for size, dc, mean, std in zip(numbers.sizes, numbers.dc, pd14.V0_MEAN, pd14.V0_STD, strict=True):
        start = ds.dist.Normal(mean * u.mV, std * u.mV)
        populations.append(sim.create(ds.iaf_psc_exp, int(size), params=neuron | dict(V_m=start, I_e=dc * u.pA)))
        sim.connect(populations[-1], recorder)
    for (post, pre), number in np.ndenumerate(numbers.synapses):
        weight, delay = numbers.weights[post, pre], pd14.DELAYS[pre]
        side = dict(min=0 * u.pA) if weight > 0 else dict(max=0 * u.pA)
        sim.connect(
            populations[pre], populations[post], rule=ds.fixed_total_number(int(number)),
            weight=ds.dist.Normal(weight * u.pA, abs(weight) * pd14.WEIGHT_CV * u.pA, **side),
            delay=ds.dist.Normal(delay * u.ms, delay * pd14.DELAY_CV * u.ms, min=0.05 * u.ms, max=6 * u.ms),
        )  # fmt: skip
    for population, rate in zip(populations, numbers.poisson_rate, strict=True):
        noise = sim.create(ds.poisson_generator, rate=1.1 * rate * u.Hz)
        sim.connect(noise, population, weight=numbers.external_weight * u.pA, delay=pd14.EXTERNAL_DELAY * u.ms)
    return sim


def saturating(**options: Any) -> ds.Simulator:
    """Neurons that all spike together every third millisecond: what any buffer made for sparse spikes is too small for."""
    sim = ds.Simulator(dt=DT, **({"seed": 2} | options))
    cells = sim.create(ds.iaf_psc_exp, 500, params=dict(I_e=3000 * u.pA, V_m=ds.dist.Uniform(-70 * u.mV, -69.5 * u.mV)))
    recorder = sim.create(ds.spike_recorder)
    sim.connect(cells, recorder)
    delay = ds.dist.Uniform(0.1 * u.ms, 4.9 * u.ms)
    sim.connect(cells, cells, rule=ds.fixed_indegree(20), weight=ds.dist.Normal(0 * u.pA, 30 * u.pA), delay=delay)
    return sim


NETWORKS = {"mixed": mixed, "brunel": brunel, "microcircuit": microcircuit}
MORE_NETWORKS = NETWORKS | {"saturating": saturating}


def projection_of(sim: ds.Simulator) -> Projection:
    """The synapses of a network that has been simulated."""
    assert sim._simulation is not None
    return sim._simulation.network.projection


def traces_of(sim: ds.Simulator, result: SimulationResult) -> list[np.ndarray]:
    """What the meters of a network sampled."""
    meters = [NodeView((node,), np.arange(node.size)) for node in sim._nodes if issubclass(node.model, Meter)]
    return [result.trace(m, name).mantissa for m in meters for name in m.node.device.record_from]  # pyright: ignore


def assert_conserved(result: SimulationResult) -> None:
    """Every synaptic event that was emitted has been delivered or is in flight, and there were some."""
    emitted, delivered, in_flight = (result.summary[name] for name in STEP_EVENTS)
    assert emitted == delivered + in_flight, f"{emitted} emitted, {delivered} delivered, {in_flight} in flight"
    assert delivered > 0


def synapses_of(sim: ds.Simulator) -> np.ndarray:
    """Every synapse on every device, (n, 4) int64 of source id, target id, integer weight, delay in steps: sorted rows."""
    network = sim._simulation.network  # pyright: ignore[reportOptionalMemberAccess]
    projection, layout = network.projection, network.layout
    names = ("present", "pointers", "synapses")
    blocks = [np.split(np.asarray(getattr(projection, name).value), layout.num_devices) for name in names]
    slot_ids = np.concatenate([layout.id_of_slot, layout.external_ids])
    found = []
    for device, (present, pointers, synapses) in enumerate(zip(*blocks, strict=True)):
        sources = slot_ids[np.flatnonzero(np.unpackbits(present.view(np.uint8), bitorder="little"))]
        nd = projection.num_delays
        lengths = np.diff(pointers.astype(np.int64))[: len(sources) * nd]
        run = np.repeat(np.arange(len(lengths)), lengths)
        place, weight = synapses[: len(run)].astype(np.int64).T
        targets = _target_ids(network, device)[place]
        found.append(np.stack([sources[run // nd], targets, weight, run % nd + projection.min_delay], axis=1))
    table = np.concatenate(found)
    return table[np.lexsort(table.T[::-1])]


def _target_ids(network: Any, device: int) -> np.ndarray:
    """Global id of the neuron behind each place of a device's input vector."""
    blocks = np.split(network.layout.ids_on(device), network.layout.first[1:])
    return np.concatenate([np.tile(at, p.channels.count) for at, p in zip(blocks, network.populations, strict=True)])
