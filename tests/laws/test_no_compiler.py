"""A machine without a compiler runs slower, never otherwise."""

import os
import subprocess
import sys

import pytest

SCRIPT = """
import brainunit as u, dist_sim as ds
sim = ds.Simulator(seed=2, precision=PRECISION)
start = dict(V_m=ds.dist.Uniform(-65 * u.mV, -56 * u.mV))
exp = sim.create(ds.iaf_psc_exp, 90, params=start)
cond = sim.create(ds.aeif_cond_exp, 60, params=start)
gif = sim.create(ds.gif_psc_exp, 30)
noise = sim.create(ds.poisson_generator, rate=9000 * u.Hz)
sim.connect(noise, exp + gif, weight=60 * u.pA)
sim.connect(noise, cond, weight=4 * u.nS)
sim.connect(exp, cond, rule=ds.fixed_indegree(9), weight=9 * u.nS)
sim.connect(cond, exp, rule=ds.fixed_indegree(9), weight=90 * u.pA, synapse="tsodyks2_synapse")
sim.connect(gif, exp, rule=ds.fixed_indegree(5), weight=40 * u.pA, synapse=ds.stdp_synapse(Wmax=80 * u.pA))
sim.connect(exp + cond + gif, sim.create(ds.spike_recorder))
for part in range(2):
    res = sim.cont(25 * u.ms)
print(res.digest, res.summary["spikes"], res.summary["backend"])
"""


def run(environment, precision):
    script = SCRIPT.replace("PRECISION", str(precision))
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=environment, timeout=280)
    assert done.returncode == 0, done.stderr
    return done.stdout.split(), done.stderr


@pytest.mark.parametrize("precision", [32, 64])
def test_without_a_compiler_the_digest_is_the_same(tmp_path, precision):
    with_it, said = run(dict(os.environ), precision)
    assert with_it[2] == "native" and int(with_it[1]) > 200 and "C++ compiler" not in said
    without, said = run(os.environ | {"PATH": str(tmp_path)}, precision)
    assert without == [*with_it[:2], "reference"]
    assert said.count("no C++ compiler") == 1
