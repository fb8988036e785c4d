"""What the jobs of the tests run: a recurrent network whose synapses are plastic; says at the end what they have become."""

import hashlib

import brainunit as u
import numpy as np

import dist_sim as ds

sim = ds.Simulator(dt=0.1 * u.ms, seed=ds.param("seed", 1), exchange=ds.param("exchange", "mask"))
cells = sim.create(ds.iaf_psc_exp, 500, tau_minus=ds.dist.Uniform(15 * u.ms, 25 * u.ms), name="cells")
sim.connect(sim.create(ds.poisson_generator, rate=9000 * u.Hz), cells, weight=18 * u.pA, delay=1.5 * u.ms)
sim.connect(
    cells, cells, rule=ds.fixed_indegree(50), delay=ds.dist.Uniform(1.5 * u.ms, 4 * u.ms),
    synapse=ds.stdp_synapse(weight=ds.dist.Uniform(5 * u.pA, 30 * u.pA), Wmax=40 * u.pA, mu_plus=0.4, mu_minus=0.4),
)  # fmt: skip
sim.connect(cells, sim.create(ds.spike_recorder))
sim.simulate(ds.param("ms", 100.0) * u.ms)
weights = sim.get_connections(synapse="stdp_synapse").get("weight").mantissa
print("weights", hashlib.sha256(np.ascontiguousarray(weights).tobytes()).hexdigest())
