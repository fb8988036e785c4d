"""One process of a network that is spread over several: prints what it knows at the end, as one line of JSON.

Arguments: a JSON object with processes, process, coordinator (or nothing of them, under mpirun), devices (of all processes),
network, options and duration_ms.
"""

import hashlib
import json
import os
import sys

import numpy as np

from dist_sim.cluster.bootstrap import start
from dist_sim.cluster.launch import detect


def main(wanted):
    launch = detect(os.environ, **{name: wanted.get(name) for name in ("coordinator", "processes", "process")})
    start(launch, wanted["devices"], heartbeat_s=20)
    import brainunit as u
    import jax
    from laws.networks import MORE_NETWORKS, assert_conserved, projection_of, traces_of

    from dist_sim.nest import NodeView
    from dist_sim.nest.devices import spike_recorder

    sim = MORE_NETWORKS[wanted["network"]](devices=wanted["devices"], **wanted["options"])
    result = sim.simulate(wanted["duration_ms"] / 2 * u.ms)
    result = sim.cont(wanted["duration_ms"] / 2 * u.ms)
    assert_conserved(result)
    recorder = next(node for node in sim._nodes if node.model is spike_recorder)
    times, senders = result.events(NodeView((recorder,), np.arange(1)))
    found = {
        "digest": result.digest,
        "events": checksum(times.mantissa, senders),
        "traces": checksum(*traces_of(sim, result)),
        "rates": result.summary["rates"],
        "counts": [result.summary[n] for n in ("spikes", "synapses", "emitted_events", "delivered_events", "in_flight_events")],
        "placed": [result.summary["devices"], result.summary["processes"], launch.process],
        "drawn": len(projection_of(sim).synapses.value.addressable_shards),
    }
    print(json.dumps(found), flush=True)
    if launch.processes > 1:
        jax.distributed.shutdown()


def checksum(*arrays):
    return hashlib.sha256(b"".join(np.ascontiguousarray(a).tobytes() for a in arrays)).hexdigest()


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
