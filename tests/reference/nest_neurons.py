"""NEST's side of a comparison of single neurons: run as a script, reads a pickle and writes one. NEST is imported here alone.

Asked: {"model", "dt", "duration", "neurons": [params], "stimuli": [(receptor, weight, times)], "senders": more neurons, as
[(params, stimuli of its own, [(receptor, weight, delay)])], where a slice after the delay chooses targets, "currents":
[(amplitude, start, stop)], "recordables": [names], "seed"}. Given: {"defaults", "recordables", "steps", "senders", "offsets",
"traces": {name: (samples, neurons)}}.
"""

import pickle
import sys

import nest
import numpy as np


def plain(value):
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (np.ndarray, list, tuple)):
        return [plain(v) for v in np.asarray(value).tolist()] if not isinstance(value, list) else [plain(v) for v in value]
    if isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, np.generic):
        return value.item()
    return str(value)


def main(asked, given):
    with open(asked, "rb") as file:
        d = pickle.load(file)
    nest.set_verbosity("M_ERROR")
    nest.ResetKernel()
    nest.resolution = d["dt"]
    nest.rng_seed = d.get("seed", 1)
    defaults = plain(nest.GetDefaults(d["model"]))
    result = {"defaults": defaults}
    if d.get("neurons"):
        nodes = nest.NodeCollection([])
        for params in d["neurons"]:
            node = nest.Create(d["model"], 1)
            if params:
                node.set(params)
            nodes = nodes + node
        for receptor, weight, times in d["stimuli"]:
            source = nest.Create("spike_generator", params={"spike_times": times})
            nest.Connect(source, nodes, syn_spec={"weight": weight, "delay": 1.0, "receptor_type": receptor})
        for params, driven, to in d.get("senders", []):
            cell = nest.Create(d["model"], 1)
            cell.set(params)
            for receptor, weight, times in driven:
                source = nest.Create("spike_generator", params={"spike_times": times})
                nest.Connect(source, cell, syn_spec={"weight": weight, "delay": 1.0, "receptor_type": receptor})
            for receptor, weight, delay, *some in to:
                targets = nodes[some[0]] if some else nodes
                nest.Connect(cell, targets, syn_spec={"weight": weight, "delay": delay, "receptor_type": receptor})
        for amplitude, start, stop in d["currents"]:
            source = nest.Create("dc_generator", params={"amplitude": amplitude, "start": start, "stop": stop})
            nest.Connect(source, nodes, syn_spec={"delay": 1.0})
        recorder = nest.Create("spike_recorder", params={"time_in_steps": True})
        if d.get("spikes", True):
            nest.Connect(nodes, recorder)
        meters = []
        if d["recordables"]:
            for node in nodes:
                names = [n for n in d["recordables"] if n in node.get("recordables")] if d.get("some") else d["recordables"]
                meter = nest.Create("multimeter", params={"record_from": names, "interval": d["dt"]})
                nest.Connect(meter, node)
                meters.append(meter)
        nest.Simulate(d["duration"])
        events = recorder.events
        first = nodes[0].global_id
        # Whole steps, whatever a model sends beside them: a time within the step, or a jump.
        steps = np.asarray(events["times"]).astype(int)
        senders = np.asarray(events["senders"]) - first
        order = np.lexsort((senders, steps))
        result["steps"], result["senders"] = steps[order], senders[order]
        result["offsets"] = np.asarray(events["offsets"])[order]
        result["traces"] = {name: np.stack([np.asarray(m.events[name]) for m in meters], axis=1) for name in d["recordables"]}
    with open(given, "wb") as file:
        pickle.dump(result, file)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
