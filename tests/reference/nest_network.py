"""Runs a saved Description in NEST: `python nest_network.py DESCRIPTION.npz RECORDING.npz THREADS`.

A process of its own: NEST is GPL-2, a tool of the tests, and nothing that dist_sim imports.
"""

# NEST fills its namespace while it is imported, where no type checker sees it.
# pyright: reportAttributeAccessIssue=false

import json
import sys

import nest
import numpy as np


def main(description_path: str, recording_path: str, threads: int) -> None:
    with np.load(description_path) as arrays:
        given = {name: arrays[name] for name in arrays.files}
    header = json.loads(str(given["header"]))
    dt, duration = header["dt"], header["duration"]

    nest.verbosity = nest.VerbosityLevel.ERROR
    nest.ResetKernel()
    nest.resolution = dt
    nest.local_num_threads = threads

    neurons = nest.NodeCollection([])
    for index, (model, size) in enumerate(header["populations"]):
        population = nest.Create(model, size)
        prefix = f"params/{index}/"
        params = {name.removeprefix(prefix): given[name].tolist() for name in given if name.startswith(prefix)}
        # V_m last: NEST keeps the distance of V_m to E_L when E_L is set.
        initial = {name: params.pop(name) for name in ("V_m",) if name in params}
        population.set(params)
        population.set(initial)
        neurons += population
    first_id = 1  # NEST counts from 1, and neurons come first.

    for generator in range(header["generators"]):
        nest.Create("spike_generator", params={"spike_times": given["spike_time"][given["generator"] == generator].tolist()})

    # With one_to_one and arrays of ids, every entry is one synapse; ids may repeat.
    watcher = nest.Create("weight_recorder", params={"time_in_steps": True})
    watched = {"weight_recorder": watcher} if header["watched"] else {}
    nest.CopyModel("static_synapse", "static", watched)
    plastic = [f"stdp_{kind}" for kind in range(len(header["stdp"]))]
    for name, parameters in zip(plastic, header["stdp"], strict=True):
        nest.CopyModel("stdp_synapse", name, parameters | {"weight": parameters["Wmax"]} | watched)
    generated = given["source"] >= len(neurons)
    static = given["kind/-1"]
    kinds = [("static_synapse", static & generated), ("static", static & ~generated)]
    for name, chosen in [*kinds, *((name, given[f"kind/{kind}"]) for kind, name in enumerate(plastic))]:
        if chosen.any():
            nest.Connect(
                given["source"][chosen] + first_id,
                given["target"][chosen] + first_id,
                {"rule": "one_to_one"},
                {"synapse_model": name, "weight": given["weight"][chosen], "delay": given["delay"][chosen]},
            )
    for index, current in enumerate(header["currents"]):
        times = {name: current[name] for name in ("start", "stop") if current[name] is not None}
        source = nest.Create("dc_generator", params={"amplitude": current["amplitude"], **times})
        targets = nest.NodeCollection(sorted(given[f"targets/{index}"] + first_id))
        nest.Connect(source, targets, syn_spec={"delay": current["delay"]})

    recorder = nest.Create("spike_recorder", params={"time_in_steps": True})
    nest.Connect(neurons, recorder)
    meters = []
    for neuron in header["traced"]:
        meter = nest.Create("multimeter", params={"record_from": header["recordables"], "interval": dt})
        nest.Connect(meter, neurons[neuron])
        meters.append(meter)

    # Meters deliver one slice late: run a little longer than asked and cut.
    steps = round(duration / dt)
    nest.Simulate(duration + 2 * max(nest.max_delay, 1.0))

    events = recorder.events
    inside = events["times"] <= steps
    order = np.lexsort((events["senders"][inside], events["times"][inside]))
    recording = {
        "steps": events["times"][inside][order],
        "senders": events["senders"][inside][order] - first_id,
    }
    for name in header["recordables"] if meters else []:
        recording[f"traces/{name}"] = np.stack([meter.events[name][:steps] for meter in meters], axis=1)
        assert (np.rint(meters[0].events["times"][:steps] / dt) == np.arange(1, steps + 1)).all()
    if header["watched"]:
        found = watcher.events
        columns = [found["times"] - 1, found["senders"] - first_id, found["targets"] - first_id, found["weights"]]
        rows = np.stack(columns, axis=1)
        recording["passed"] = rows[np.lexsort(rows.T[::-1])]
    if plastic:
        names = ("source", "target", "delay", "weight")
        found = [nest.GetConnections(synapse_model=name).get(names) for name in plastic]
        source, target, delay, weight = (np.concatenate([np.atleast_1d(f[name]) for f in found]) for name in names)
        rows = np.stack([source - first_id, target - first_id, np.rint(delay / dt), weight], axis=1)
        recording["plastic"] = rows[np.lexsort(rows.T[::-1])]
    np.savez(recording_path, **recording)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
