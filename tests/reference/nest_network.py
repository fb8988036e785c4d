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
    common = {"static_synapse_hom_w", "tsodyks_synapse_hom"}  # one weight for all
    of_model = {"static_synapse": "static_synapse", "static": "static_synapse"}
    for kind, (name, given_parameters) in enumerate(zip(plastic, header["stdp"], strict=True)):
        parameters = dict(given_parameters)
        of_model[name] = parameters.pop("synapse_model", "stdp_synapse")
        # Before the weights are given, they must fit Wmax too.
        weight = given["weight"][given[f"kind/{kind}"]][0] if of_model[name] in common else parameters.get("Wmax", 1.0)
        nest.CopyModel(of_model[name], name, parameters | {"weight": weight} | watched)
    generated = given["source"] >= len(neurons)
    static = given["kind/-1"]
    kinds = [("static_synapse", static & generated), ("static", static & ~generated)]
    for name, chosen in [*kinds, *((name, given[f"kind/{kind}"]) for kind, name in enumerate(plastic))]:
        if chosen.any():
            own = {} if of_model[name] in common else {"weight": given["weight"][chosen]}
            nest.Connect(
                given["source"][chosen] + first_id,
                given["target"][chosen] + first_id,
                {"rule": "one_to_one"},
                {"synapse_model": name, "delay": given["delay"][chosen], **own},
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
        parts = []
        for name in plastic:
            synapses = nest.GetConnections(synapse_model=name)
            known = [n for n in header["read"] if n in nest.GetDefaults(name)]
            own = [] if of_model[name] in common else ["weight"]
            found = synapses.get(["source", "target", "delay", *own, *known])
            found |= {} if own else {"weight": np.full(len(synapses), nest.GetDefaults(name)["weight"])}
            missing = np.full(len(synapses), np.nan)
            columns = [np.atleast_1d(found[n]) for n in ("source", "target", "delay", "weight")]
            columns += [np.atleast_1d(found[n]) if n in known else missing for n in header["read"]]
            parts.append(np.stack(columns, axis=1))
        rows = np.concatenate(parts)
        rows[:, :2] -= first_id
        rows[:, 2] = np.rint(rows[:, 2] / dt)
        recording["plastic"] = rows[np.lexsort(rows.T[::-1])]
    np.savez(recording_path, **recording)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
