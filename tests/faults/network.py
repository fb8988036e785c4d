"""What the fault campaigns run: a network with plastic synapses, delays, Poisson input, a meter and a recorder.

As a script it says all that must be the same in the file that its argument names: the final weights, the samples, the spikes.
"""

import os
import sys
from pathlib import Path
from typing import Any

import brainunit as u
import numpy as np

import dist_sim as ds


def plastic(**options: Any) -> tuple[ds.Simulator, dict[str, Any]]:
    """The Simulator, and its nodes by name."""
    sim = ds.Simulator(dt=0.1 * u.ms, **({"seed": 3, "chunk": 5 * u.ms} | options))
    start = dict(V_m=ds.dist.Uniform(-68 * u.mV, -56 * u.mV))
    pre, post = (sim.create(ds.iaf_psc_exp, size, params=start, name=name) for name, size in (("pre", 300), ("post", 100)))
    noise, recorder = sim.create(ds.poisson_generator, rate=3000 * u.Hz), sim.create(ds.spike_recorder)
    meter = sim.create(ds.voltmeter, interval=7.3 * u.ms)
    late = ds.dist.Uniform(0.5 * u.ms, 3 * u.ms)
    stdp = ds.stdp_synapse(
        weight=ds.dist.Uniform(10 * u.pA, 60 * u.pA), delay=late, lambda_=0.02, alpha=1.1, mu_plus=0.2, mu_minus=0.2
    )
    sim.connect(noise, pre, weight=60 * u.pA, delay=1.5 * u.ms)
    sim.connect(noise, post, weight=55 * u.pA, delay=1.5 * u.ms)
    sim.connect(pre, pre, rule=ds.fixed_indegree(40), weight=ds.dist.Uniform(-20 * u.pA, 20 * u.pA), delay=late)
    sim.connect(pre, post, rule=ds.fixed_indegree(50), synapse=stdp)
    sim.connect(pre + post, recorder)
    sim.connect(meter, post[:3])
    return sim, {"pre": pre, "post": post, "recorder": recorder, "meter": meter}


def weights(sim: ds.Simulator) -> np.ndarray:
    """Of all plastic synapses, now [pA]."""
    return np.asarray(sim.get_connections(synapse="stdp_synapse").get("weight").mantissa)


if __name__ == "__main__":
    network, nodes = plastic()
    first = weights(network)
    result = network.simulate(ds.param("ms", 1000.0) * u.ms)
    last, (times, senders) = weights(network), result.events(nodes["recorder"])
    assert len(times) == result.summary["spikes"] and (first != last).mean() > 0.9
    target = Path(sys.argv[1])
    with target.with_suffix(".tmp").open("wb") as file:
        trace = np.asarray(result.trace(nodes["meter"]).mantissa)
        np.savez(file, weights=last, trace=trace, times=np.asarray(times.mantissa), senders=senders)
    os.replace(target.with_suffix(".tmp"), target)
