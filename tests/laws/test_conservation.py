"""Law 3: every synaptic event that is emitted is delivered once, or still in flight; a buffer that overflows loses none."""

import brainunit as u
import jax.numpy as jnp
import numpy as np
import pytest
from laws.networks import NETWORKS, assert_conserved, brunel, mixed, projection_of, saturating

import dist_sim as ds
from dist_sim.kernels import DueCapacity
from dist_sim.network import Projection, projection
from dist_sim.partition import AllGather


@pytest.mark.parametrize("exchange", ["mask", "ids"])
@pytest.mark.parametrize("name", NETWORKS)
def test_wherever_a_run_ends(name, exchange):
    """The ends lie inside intervals of exchange and inside chunks; the counts are those of the spikes so far."""
    sim = NETWORKS[name](devices=2, exchange=exchange, chunk=1.1 * u.ms)
    in_flight = []
    result = sim.simulate(20.3 * u.ms)
    for piece in (0.1, 0.1, 0.7, 1.5, 3.4, 0.0):
        result = sim.cont(piece * u.ms)
        assert_conserved(result)
        in_flight.append(result.summary["in_flight_events"])
    assert max(in_flight) > 0


def test_emitted_is_spikes_times_out_degree():
    sim = brunel(devices=3)
    result = sim.simulate(50 * u.ms)
    _, senders = result.events(ds.NodeView(tuple(n for n in sim._nodes if n.name == "spike_recorder_0"), np.arange(1)))
    projection = projection_of(sim)
    out_degree = projection.out_degree[projection.layout.slot]
    assert out_degree.sum() == result.summary["synapses"] == 300 * 30
    assert result.summary["emitted_events"] == out_degree[senders].sum()
    assert_conserved(result)


def test_all_is_delivered_when_the_spikes_have_ended():
    sim = ds.Simulator(devices=2)
    clock = sim.create(ds.spike_generator, 2, params=dict(spike_times=[np.array([1.0, 1.0, 2.0]) * u.ms, np.array([3.0]) * u.ms]))
    cells = sim.create(ds.iaf_psc_exp, 5)
    sim.connect(clock, cells, weight=1 * u.pA, delay=ds.dist.Uniform(0.1 * u.ms, 6 * u.ms))
    result = sim.simulate(2 * u.ms)
    assert_conserved(result)
    assert result.summary["in_flight_events"] > 0
    result = sim.cont(8 * u.ms)
    counts = [result.summary[f"{what}_events"] for what in ("emitted", "delivered", "in_flight")]
    assert counts == [20, 20, 0]


@pytest.mark.parametrize("devices", [1, 3])
def test_ids_that_overflow_give_the_spikes_of_the_mask(devices):
    _, wanted = finish(saturating(devices=devices))
    sim, result = finish(saturating(devices=devices, exchange=ds.AllGatherIds(capacity=3)))
    assert projection_of(sim).exchange.capacity > 3, "the network was to overflow the ids"
    assert result.digest == wanted.digest
    assert result.summary["delivered_events"] == wanted.summary["delivered_events"]


@pytest.mark.parametrize("exchange", [ds.AllGather(), ds.AllGatherIds(capacity=3)], ids=["mask", "ids"])
@pytest.mark.parametrize("devices", [1, 3])
def test_a_history_that_overflows_loses_nothing(monkeypatch, devices, exchange):
    _, wanted = finish(saturating(devices=devices))
    build = Projection.__init__
    monkeypatch.setattr(Projection, "__init__", lambda self, *args, **options: build(self, *args, **options | {"capacity": 7}))
    sim = saturating(devices=devices, exchange=exchange)
    _, result = finish(sim)
    assert projection_of(sim).ring.value.shape[0] > 7 * devices, "the network was to overflow the history"
    assert result.digest == wanted.digest
    assert result.summary["delivered_events"] == wanted.summary["delivered_events"]
    # From the start again, now with room enough.
    _, again = finish(sim)
    assert again.digest == wanted.digest


@pytest.mark.parametrize("whole", [True, False], ids=["runs", "tiles"])
@pytest.mark.parametrize("devices", [1, 3])
def test_deliveries_that_overflow_lose_nothing(monkeypatch, devices, whole):
    _, wanted = finish(saturating(devices=devices))
    small = DueCapacity(runs=10, width=24 if whole else 2, whole=whole)
    monkeypatch.setattr(projection, "first_due_capacity", lambda *_: small)
    sim = saturating(devices=devices, backend="reference")
    _, result = finish(sim)
    grown = projection_of(sim).due_capacity
    assert grown is not None and grown.runs > 10, "more runs were to be due than that"
    assert result.digest == wanted.digest
    assert result.summary["delivered_events"] == wanted.summary["delivered_events"]
    _, again = finish(sim)
    assert again.digest == wanted.digest and projection_of(sim).due_capacity == grown


def finish(sim):
    """Runs to an odd end, in pieces that are not the chunks."""
    sim.simulate(7.7 * u.ms)
    result = sim.cont(12.6 * u.ms)
    assert_conserved(result)
    return sim, result


def test_a_lost_spike_is_seen(monkeypatch):
    """The law can be broken: an exchange that never sends one neuron of each device loses events."""
    send = AllGather.__call__

    def without_the_first(self, step, outbox, events, sources, history, **options):
        return send(self, step, outbox.at[:, 0].set(outbox[:, 0] & ~jnp.uint32(1)), events, sources, history, **options)

    monkeypatch.setattr(AllGather, "__call__", without_the_first)
    sim = mixed(devices=2, exchange=AllGather())
    with pytest.raises(AssertionError, match="emitted"):
        assert_conserved(sim.simulate(40 * u.ms))
