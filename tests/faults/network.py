"""What the fault harness runs: delays, Poisson input, a meter, and two seconds in which to be killed."""

import brainunit as u

import dist_sim as ds

sim = ds.Simulator(dt=0.1 * u.ms, seed=3, chunk=5 * u.ms)
cells = sim.create(
    ds.iaf_psc_exp, ds.param("neurons", 400), params=dict(V_m=ds.dist.Uniform(-68 * u.mV, -56 * u.mV)), name="cells"
)
noise, recorder = sim.create(ds.poisson_generator, rate=9000 * u.Hz), sim.create(ds.spike_recorder)
meter = sim.create(ds.voltmeter, interval=7.3 * u.ms)
sim.connect(noise, cells, weight=60 * u.pA, delay=1.5 * u.ms)
sim.connect(cells, cells, rule=ds.fixed_indegree(40), weight=10 * u.pA, delay=ds.dist.Uniform(0.5 * u.ms, 3 * u.ms))
sim.connect(cells, recorder)
sim.connect(meter, cells[:3])
result = sim.simulate(ds.param("ms", 2000.0) * u.ms)
assert len(result.events(recorder)[1]) == result.summary["spikes"]
print("mean of V_m:", result.trace(meter).mean())
