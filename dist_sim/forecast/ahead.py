"""Before a run builds a network: will it have the memory?"""

from __future__ import annotations

import os
import socket
import zlib
from dataclasses import replace

import numpy as np

from dist_sim.forecast.forecast import forecast
from dist_sim.forecast.machines import cpu, memory_here
from dist_sim.partition.processes import processes_of
from dist_sim.run.control_group import memory_limit
from dist_sim.run.session import current_session, tell
from dist_sim.simulator.assembly import Description

# Bytes of a synapse and of a neuron, more than any takes: what then takes a quarter of the memory is looked at closely.
_SYNAPSE, _NEURON, _CLOSELY = 100, 4000, 0.25
_RATE = 5.0  # Hz: of the spikes that plastic synapses wait for


def warn_of_memory(d: Description) -> None:
    """Tells the user, before a network is built, that its processes will take more memory than their host or control groups let
    them have. All processes call it."""
    processes = processes_of(d.mesh)
    host = zlib.crc32(socket.gethostname().encode())
    hosts = processes.gather(np.array([host], np.uint32)).reshape(-1)
    together = int(np.unique(hosts, return_counts=True)[1].max())
    allowed = -processes.largest([-memory_here()])[0]
    size = d.mesh.size // processes.count
    synapses = sum(c.mean_indegree() * len(c.post_ids) for c in d.connections)
    if together / processes.count * (synapses * _SYNAPSE + d.num_ids * _NEURON) < _CLOSELY * allowed:
        return
    of_device = cpu(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
    machine = replace(of_device, host=d.mesh.devices.flat[0].platform == "cpu", sharing=size)
    found = forecast(d, d.mesh.size, machine, rate=_RATE)
    if (needed := together * found.process) <= allowed:
        return
    name, largest = max(found.arrays.items(), key=lambda item: item[1])
    limit = memory_limit()
    says = f" by {limit.file}" if limit is not None and limit.bytes == allowed else " of its host"
    each = "" if together == 1 else f" by the {together} processes of a host"
    tell(
        f"warning: about {needed / 2**30:.1f} GiB will be taken{each}, and {allowed / 2**30:.1f} GiB is the limit{says}: the "
        f"system may end this run without a word. The largest part of a device is {name}, {largest / 2**30:.1f} GiB. Use more "
        "hosts or a smaller network, or ask for more memory (--memory of a container or of dist-sim submit).",
        session=current_session(), process=processes.index,
    )  # fmt: skip
