"""Generators in NEST on neurons that add up what they get: `python nest_devices.py CASES.json OUT.npz`.

A process of its own, as nest_network.py is.
"""

# NEST fills its namespace while it is imported, where no type checker sees it.
# pyright: reportAttributeAccessIssue=false

import json
import sys

import nest
import numpy as np


def run(case: dict) -> np.ndarray:
    """(steps, targets) V at the end of each step, of neurons of 1 pF that never spike."""
    nest.ResetKernel()
    nest.resolution, nest.rng_seed = case["dt"], case["seed"]
    params = dict(case["params"])
    defaults = {name: params.pop(name) for name in ("individual_spike_trains",) if name in params}
    model = case["model"]
    if defaults:
        nest.CopyModel(model, "changed", defaults)
        model = "changed"
    generator = nest.Create(model, params=params)
    at_rest = {"C_m": 1.0, "tau_m": case["tau_m"], "V_th": 1e15, "E_L": 0.0, "V_m": 0.0, "t_ref": 0.1}
    cells = nest.Create("iaf_psc_delta", case["targets"], params=at_rest)
    meter = nest.Create("multimeter", params={"record_from": ["V_m"], "interval": case["dt"]})
    nest.Connect(generator, cells, syn_spec={"weight": case["weight"], "delay": case["delay"]})
    nest.Connect(meter, cells)
    steps = round(case["duration"] / case["dt"])
    nest.Simulate(case["duration"] + 2 * max(nest.max_delay, 1.0))
    events = meter.events
    order = np.lexsort((events["senders"], np.rint(events["times"] / case["dt"])))
    V = events["V_m"][order].reshape(-1, case["targets"])[:steps]
    return V


if __name__ == "__main__":
    nest.verbosity = nest.VerbosityLevel.ERROR
    with open(sys.argv[1]) as file:
        cases = json.load(file)
    np.savez_compressed(sys.argv[2], **{name: run(case) for name, case in cases.items()})
