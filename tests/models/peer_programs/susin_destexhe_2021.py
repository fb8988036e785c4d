"""AdEx of one's own, with conductances that DeltaProj labels add to: four networks that make gamma (as examples 110 to 113)."""

import brainunit as u
import jax.numpy as jnp
import numpy as np

from .connections import fixed_prob, total, uniform

EXT = 200
RS = dict(delta=2.0 * u.mV, tau_ref=5.0 * u.ms, tau_w=500 * u.ms, a=4 * u.nS, b=20 * u.pA, EL=-65 * u.mV)
FS = dict(delta=0.5 * u.mV, tau_ref=5.0 * u.ms, tau_w=500 * u.ms, a=0 * u.nS, b=0 * u.pA, EL=-65 * u.mV)
CH = dict(delta=0.5 * u.mV, tau_ref=1.0 * u.ms, tau_w=50 * u.ms, a=80 * u.nS, b=150 * u.pA, EL=-58 * u.mV)

# Populations with their parameters and sizes; time constants; projections: from, to, weight in nS.
NETWORKS = {
    "AI": ({"RS": (RS, 200), "FS": (FS, 50)}, (5.0, 5.0), [("RS", "RS", 8), ("RS", "FS", 8), ("FS", "RS", 40), ("FS", "FS", 40)]),
    "CHING": (
        {"RS": (RS, 190), "FS": (FS, 50), "CH": (CH, 20)},
        (5.0, 5.0),
        [(a, b, 8) for a in ("RS", "CH") for b in ("RS", "FS", "CH")] + [("FS", b, 40) for b in ("RS", "FS", "CH")],
    ),
    "ING": ({"RS": (RS, 200), "FS": (FS, 50)}, (5.0, 5.0), [("FS", "RS", 50), ("FS", "FS", 50)]),
    "PING": (
        {"RS": (RS, 200), "FS": (FS, 50)},
        (1.5, 7.5),
        [("RS", "RS", 20), ("RS", "FS", 20), ("FS", "RS", 26), ("FS", "FS", 26)],
    ),
}  # fmt: skip


def run(brainstate, brainpy, braintools):
    class AdEx(brainpy.state.Neuron):
        def __init__(self, in_size, start, tau_e, tau_i, delta, tau_ref, tau_w, a, b, EL):
            super().__init__(in_size=in_size)
            self.V_initializer, self.tau_e, self.tau_i = start, tau_e, tau_i
            self.delta, self.tau_ref, self.tau_w, self.a, self.b, self.EL = delta, tau_ref, tau_w, a, b, EL

        def init_state(self):
            param, constant = braintools.init.param, braintools.init.Constant
            self.V = brainstate.HiddenState(param(self.V_initializer, self.varshape))
            self.w = brainstate.HiddenState(param(constant(0.0 * u.pA), self.varshape))
            self.last = brainstate.HiddenState(param(constant(-1e7 * u.ms), self.varshape))
            self.spike = brainstate.HiddenState(param(lambda s: u.math.zeros(s, dtype=bool), self.varshape))
            self.ge = brainstate.HiddenState(param(constant(0.0 * u.nS), self.varshape))
            self.gi = brainstate.HiddenState(param(constant(0.0 * u.nS), self.varshape))

        def dV(self, V, w, ge, gi, x):
            rise = 10 * u.nS * self.delta * u.math.exp(u.math.minimum((V + 50.0 * u.mV) / self.delta, 30.0))
            synaptic = ge * (0.0 * u.mV - V) + gi * (-80.0 * u.mV - V)
            return (rise - w + 10 * u.nS * (self.EL - V) + synaptic + self.sum_current_inputs(x)) / (150 * u.pF)

        def update(self, x=0.0 * u.pA):
            ge = brainstate.nn.exp_euler_step(lambda g: -g / self.tau_e, self.ge.value)
            gi = brainstate.nn.exp_euler_step(lambda g: -g / self.tau_i, self.gi.value)
            ge, gi = self.sum_delta_inputs(ge, label="ge"), self.sum_delta_inputs(gi, label="gi")
            V = brainstate.nn.exp_euler_step(self.dV, self.V.value, self.w.value, self.ge.value, self.gi.value, x)
            V = self.sum_delta_inputs(V, label="V")
            w = brainstate.nn.exp_euler_step(lambda w, V: (self.a * (V - self.EL) - w) / self.tau_w, self.w.value, self.V.value)
            t = brainstate.environ.get("t")
            V = u.math.where(t - self.last.value <= self.tau_ref, self.V.value, V)
            spike = V >= -40.0 * u.mV
            self.V.value = u.math.where(spike, -65.0 * u.mV, V)
            self.w.value = u.math.where(spike, w + self.b, w)
            self.ge.value, self.gi.value, self.spike.value = ge, gi, spike
            self.last.value = u.math.where(spike, t, self.last.value)
            return spike

    class Net(brainstate.nn.Module):
        def __init__(self, rng, populations, taus, projections):
            super().__init__()
            self.pops = {
                name: AdEx(size, uniform(rng, -65.0, -50.0, size), taus[0] * u.ms, taus[1] * u.ms, **pars)
                for name, (pars, size) in populations.items()
            }
            self.inputs = [
                brainpy.state.DeltaProj(
                    comm=fixed_prob(brainstate, rng, EXT, pop.varshape[0], 0.2, 1.5 * u.nS), post=pop, label="ge"
                )
                for pop in self.pops.values()
            ]
            self.projections = [
                brainpy.state.DeltaProj(
                    self.pops[pre].prefetch("spike").delay.at(1.5 * u.ms),
                    comm=fixed_prob(brainstate, rng, populations[pre][1], populations[post][1], 0.1, weight * u.nS),
                    post=self.pops[post],
                    label="gi" if pre == "FS" else "ge",
                )
                for pre, post, weight in projections
            ]

        def update(self, i, t, spikes):
            with brainstate.environ.context(t=t, i=i):
                for proj in self.inputs:
                    proj(spikes)
                for proj in self.projections:
                    proj()
                for pop in self.pops.values():
                    pop()
                return {name: pop.spike.value for name, pop in self.pops.items()}

    # The libraries draw other numbers: the networks are driven by the same spikes, and encoders compared by their rate.
    brainstate.random.seed(7)
    with brainstate.environ.context(dt=0.1 * u.ms):
        encoder = brainpy.state.PoissonEncoder(2000)
        counts = {"encoder": total(brainstate.transform.for_loop(encoder, u.math.ones(500) * 200.0 * u.Hz))}
    for name, network in NETWORKS.items():
        with brainstate.environ.context(dt=0.1 * u.ms):
            net = brainstate.nn.init_all_states(Net(np.random.default_rng(7), *network))
            times = u.math.arange(0.0 * u.ms, 100.0 * u.ms, brainstate.environ.get_dt())
            external = jnp.asarray(np.random.default_rng(8).random((len(times), EXT)) < 0.006, jnp.float32)
            spikes = brainstate.transform.for_loop(net.update, u.math.arange(0, len(times)), times, external)
        counts |= {f"{name} {pop}": total(raster) for pop, raster in spikes.items()}
    return counts
