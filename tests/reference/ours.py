"""The same Description, run by dist_sim."""

from __future__ import annotations

import brainunit as u
import numpy as np

import dist_sim as ds
from dist_sim.nest.synapses import SYNAPSES
from dist_sim.nest.synapses.declared import WEIGHT
from reference.description import Description, Recording

UNITS = {
    "C_m": u.pF, "tau_m": u.ms, "tau_syn_ex": u.ms, "tau_syn_in": u.ms, "t_ref": u.ms,
    "tau_minus": u.ms, "tau_minus_triplet": u.ms,
    "E_L": u.mV, "V_reset": u.mV, "V_th": u.mV, "V_m": u.mV, "I_e": u.pA, "I_syn_ex": u.pA, "I_syn_in": u.pA,
}  # fmt: skip


def run_dist_sim(description: Description, *, devices: int = 1, precision: int = 64, **options: object) -> Recording:
    """Simulates the description with `ds.Simulator`; `options` go to it."""
    sim = ds.Simulator(dt=description.dt * u.ms, seed=1, devices=devices, precision=precision, **options)
    blocks = [
        sim.create(getattr(ds, p.model), p.size, params={name: value * UNITS[name] for name, value in p.params.items()})
        for p in description.populations
    ]
    sizes = [p.size for p in description.populations]
    if description.spike_times:
        times = [np.asarray(train) * u.ms for train in description.spike_times]
        blocks.append(sim.create(ds.spike_generator, len(times), params=dict(spike_times=times)))
        sizes.append(len(times))
    ends = np.cumsum(sizes)
    starts = ends - sizes

    def block_of(ids: np.ndarray) -> np.ndarray:
        return np.searchsorted(ends, ids, side="right")

    watchers = {unit: sim.create(ds.weight_recorder) for unit in (u.mV, u.pA)} if description.watched else {}
    pairs = np.stack([block_of(description.source), block_of(description.target)], axis=1)
    for pre, post in np.unique(pairs, axis=0).tolist():
        unit = u.mV if description.populations[post].model == "iaf_psc_delta" else u.pA
        for kind, parameters in enumerate([None, *description.stdp], start=-1):
            chosen = (pairs == (pre, post)).all(axis=1) & description.of_kind(kind)
            if not chosen.any():
                continue
            edges = ds.explicit_edges(description.source[chosen] - starts[pre], description.target[chosen] - starts[post])
            numbers = dict(weight=description.weight[chosen] * unit, delay=description.delay[chosen] * u.ms)
            watcher = {"weight_recorder": watchers[unit]} if watchers and starts[pre] < description.num_neurons else {}
            if parameters is None:
                sim.connect(blocks[pre], blocks[post], rule=edges, synapse=ds.static_synapse(**watcher, **numbers))
            else:
                model = SYNAPSES[parameters.get("synapse_model", "stdp_synapse")]
                declared = {n.rstrip("_"): p.unit for n, p in model.settable().items()}
                given = {n: value for n, value in parameters.items() if n != "synapse_model"}
                given = {n: value * (unit if declared[n] is WEIGHT else declared[n]) for n, value in given.items()}
                if model.common_weight:
                    numbers["weight"] = numbers["weight"][0]
                sim.connect(blocks[pre], blocks[post], rule=edges, synapse=model(**given, **watcher, **numbers))
    for current in description.currents:
        stop = {} if current.stop is None else {"stop": current.stop * u.ms}
        source = sim.create(ds.dc_generator, amplitude=current.amplitude * u.pA, start=current.start * u.ms, **stop)
        for post in np.unique(block_of(current.targets)).tolist():
            index = current.targets[block_of(current.targets) == post] - starts[post]
            edges = ds.explicit_edges(np.zeros_like(index), index)
            sim.connect(source, blocks[post], rule=edges, delay=current.delay * u.ms)

    recorder = sim.create(ds.spike_recorder)
    for block in blocks[: len(description.populations)]:
        sim.connect(block, recorder)
    # One meter per population that holds a traced neuron; the columns are put in the order asked for afterwards.
    traced_blocks = block_of(np.asarray(description.traced, np.int64))
    meters = {}
    for post in np.unique(traced_blocks).tolist():
        meters[post] = sim.create(ds.multimeter, record_from=list(description.recordables), interval=description.dt * u.ms)
        sim.connect(meters[post], blocks[post])

    result = sim.simulate(description.duration * u.ms)
    spike_times, senders = result.events(recorder)
    traces = {}
    for name in description.recordables if meters else ():
        columns = {post: result.trace(meter, name).to_decimal(UNITS[name]) for post, meter in meters.items()}
        chosen = zip(description.traced, traced_blocks.tolist(), strict=True)
        traces[name] = np.stack([columns[post][:, i - starts[post]] for i, post in chosen], axis=1)
    plastic = np.zeros((0, 4 + len(description.read)))
    for post in blocks[: len(description.populations)] if description.stdp else ():
        for model in {parameters.get("synapse_model", "stdp_synapse") for parameters in description.stdp}:
            found = sim.get_connections(target=post, synapse=model)
            columns = [found.source, found.target, np.rint(found.delay.to_decimal(u.ms) / description.dt)]
            columns.append(found.get("weight").mantissa)
            for name in description.read:
                known = name in SYNAPSES[model].settable()
                columns.append(found.get(name) if known else np.full(len(found), np.nan))
            plastic = np.concatenate([plastic, np.stack(columns, axis=1)])
    plastic = plastic[np.lexsort(plastic.T[::-1])]
    passed = np.zeros((0, 4))
    for watcher in watchers.values():
        found = result.events(watcher)
        columns = np.rint(found.times.to_decimal(u.ms) / description.dt) - 1, found.senders, found.targets
        passed = np.concatenate([passed, np.stack([*columns, found.weights.mantissa], axis=1)])
    return Recording(
        times=np.asarray(spike_times.to_decimal(u.ms)), senders=np.asarray(senders), traces=traces, plastic=plastic,
        passed=passed[np.lexsort(passed.T[::-1])],
    )  # fmt: skip
