"""One process of networks that are spread over several: leaves what it knows at the end of each in a file of its own.

Argument: a JSON object with processes, process and coordinator (or none of them, under a launcher), devices (of all processes),
duration_ms by network, folder, and cases, each a network and its options.
"""

import hashlib
import json
import os
import sys
from pathlib import Path

import numpy as np

from dist_sim.cluster.bootstrap import start
from dist_sim.cluster.launch import detect


def main(wanted):
    launch = detect(os.environ, **{name: wanted.get(name) for name in ("coordinator", "processes", "process")})
    start(launch, wanted["devices"], heartbeat_s=60)
    import jax

    for k, (network, options) in enumerate(wanted["cases"]):
        found = outcome(network, options | {"devices": wanted["devices"]}, wanted["duration_ms"][network])
        found["placed"].append(launch.process)
        (Path(wanted["folder"]) / f"{k}-{launch.process}.json").write_text(json.dumps(found))
    if launch.processes > 1:
        jax.distributed.shutdown()


def outcome(network, options, duration_ms):
    """What a process knows of a network that was simulated in two calls."""
    import brainunit as u
    from laws.networks import MORE_NETWORKS, assert_conserved, projection_of, traces_of
    from laws.test_plasticity import plastic, synapses_of

    from dist_sim.nest.devices import spike_recorder
    from dist_sim.simulator import NodeView

    sim = (MORE_NETWORKS | {"plastic": plastic})[network](**options)
    sim.simulate(duration_ms / 2 * u.ms)
    result = sim.cont(duration_ms / 2 * u.ms)
    assert_conserved(result)
    recorder = next(node for node in sim._nodes if node.model is spike_recorder)
    times, senders = result.events(NodeView((recorder,), np.arange(1)))
    return {
        "digest": result.digest,
        "events": checksum(times.mantissa, senders),
        "traces": checksum(*traces_of(sim, result)),
        "weights": checksum(*synapses_of(sim)) if network == "plastic" else "",
        "rates": result.summary["rates"],
        "counts": [result.summary[n] for n in ("spikes", "synapses", "emitted_events", "delivered_events", "in_flight_events")],
        "placed": [result.summary["devices"], result.summary["processes"]],
        "drawn": len(projection_of(sim).synapses.value.addressable_shards),
    }


def checksum(*arrays):
    return hashlib.sha256(b"".join(np.ascontiguousarray(a).tobytes() for a in arrays)).hexdigest()


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
