"""Law 5 on the host: what a process computes and keeps while it builds follows its own neurons, not the network."""

import tracemalloc

import brainunit as u
import numpy as np
import pytest

import dist_sim as ds
from dist_sim.network import Backend
from dist_sim.network.tables import draw_table
from dist_sim.partition.share import Share
from dist_sim.simulator.assembly import input_channels, layout_on, shapes_of, values_of_share
from dist_sim.simulator.stimuli import draw_stimuli

NEURONS, DEVICES = 400_000, 400


@pytest.fixture(scope="module")
def description():
    sim = ds.Simulator(seed=1)
    start = ds.dist.Normal(-60 * u.mV, 5 * u.mV)
    exc = sim.create(ds.iaf_psc_exp, NEURONS * 4 // 5, params=dict(V_m=start))
    inh = sim.create(ds.iaf_psc_exp, NEURONS // 5, params=dict(V_m=start, tau_minus=ds.dist.Uniform(15 * u.ms, 25 * u.ms)))
    noise = sim.create(ds.poisson_generator, rate=8000 * u.Hz)
    for target in (exc, inh):
        sim.connect(noise, target, weight=20 * u.pA, delay=1.5 * u.ms)
        sim.connect(exc, target, rule=ds.fixed_indegree(8), weight=20 * u.pA, delay=1.5 * u.ms)
        sim.connect(inh, target, rule=ds.fixed_indegree(2), weight=-80 * u.pA, delay=1.5 * u.ms)
    return sim._description()


def build_part(d, layout, devices):
    """What one process does before it puts arrays on its devices."""
    share = Share(layout=layout, devices=np.array(devices))
    values = [values_of_share(d, share, group) for group in range(len(d.models))]
    channels = input_channels(d, shapes_of(d, values, share), share, draw_stimuli(d, share))
    backend = Backend(name=d.backend, builder=d.builder, threads=1, wide=False)
    tables = [
        draw_table(
            d.connections, layout, device, position, channels, backend, 1, min_delay=15, num_delays=1, seed=d.seed, dt=d.dt
        )
        for position, device in enumerate(devices)
    ]
    return share, values, channels, tables


def test_a_small_part_of_the_network_takes_little(description):
    layout = layout_on(description, DEVICES)
    assert layout.slot.dtype == np.uint32
    kept = layout.owner.nbytes + layout.slot.nbytes
    assert kept == 6 * NEURONS, "bytes that every process keeps of every neuron: 5 up to 128 devices"
    build_part(description, layout, [3])  # what is made once is not counted
    layout._ids_on.clear()
    tracemalloc.start()
    try:
        made = build_part(description, layout, [3])
        held, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(made[0].ids) < 1.3 * NEURONS / DEVICES
    # A byte more for each neuron of the network would be seen. While it is built there are flags of them, never a number of each.
    assert held < 1.5 * NEURONS
    assert peak < held + 6 * NEURONS


@pytest.mark.parametrize("placement", ["block", "round_robin", "balanced"])
def test_the_parts_are_those_of_the_whole(placement):
    sim = ds.Simulator(seed=1, placement=placement)
    a = sim.create(ds.iaf_psc_exp, 700, params=dict(V_m=ds.dist.Normal(-60 * u.mV, 5 * u.mV)))
    b = sim.create(ds.iaf_psc_alpha, 300, params=dict(tau_m=np.linspace(5, 15, 300) * u.ms))
    noise = sim.create(ds.poisson_generator, 2, rate=[3000, 5000] * u.Hz)
    sim.connect(noise, a[100:], weight=ds.dist.Uniform(5 * u.pA, 9 * u.pA), delay=1.5 * u.ms)
    sim.connect(a, b, rule=ds.fixed_indegree(30), weight=3 * u.pA, delay=2 * u.ms)
    d = sim._description()
    layout = layout_on(d, 5)

    def of(*devices):
        share, found = Share(layout=layout, devices=np.array(devices)), {}
        drives = [drive for s in draw_stimuli(d, share) for drive in s.drives]
        for group in range(2):
            ids, values = share.of_group(group, share.ids), values_of_share(d, share, group)
            found |= {(int(n), name): v[k] for k, n in enumerate(ids) if n >= 0 for name, v in values.items()}
        for number, drive in enumerate(drives):
            numbers = zip(share.ids[drive.place], drive.mean, drive.weight, drive.order, strict=True)
            found |= {(int(n), number): told for n, *told in numbers}
        return found

    together = of(0, 3) | of(1, 2, 4)
    assert together == of(0, 1, 2, 3, 4)
    assert len(together) > 10_000 and len({n for n, _ in together}) == 1000
