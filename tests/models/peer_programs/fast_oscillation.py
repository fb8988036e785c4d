"""Sparse inhibition and noise: SDE steps, a delay of booleans, jumps by DeltaProj (as example 109)."""

import brainunit as u
import jax
import numpy as np

from .connections import fixed_prob, total

NUM = 500


def run(brainstate, brainpy, braintools):
    brainstate.random.seed(6)
    rng = np.random.default_rng(6)

    class LIF(brainpy.state.Neuron):
        def init_state(self, *args, **kwargs):
            self.V = brainstate.HiddenState(braintools.init.param(braintools.init.Constant(10.0 * u.mV), self.varshape))
            self.last = brainstate.ShortTermState(braintools.init.param(braintools.init.Constant(-1e7 * u.ms), self.varshape))

        def update(self):
            tau = 20.0 * u.ms
            V = brainstate.nn.exp_euler_step(
                lambda V: (self.sum_current_inputs(25.0 * u.mV, V) - V) / tau, lambda V: 1.0 * u.mV / u.math.sqrt(tau),
                self.V.value,
            )
            V = self.sum_delta_inputs(V)
            t = brainstate.environ.get("t")
            V = u.math.where(t - self.last.value <= 2.0 * u.ms, self.V.value, V)
            spike = V >= 20.0 * u.mV
            self.V.value = u.math.where(spike, 10.0 * u.mV, V)
            self.last.value = u.math.where(spike, t, self.last.value)
            return spike

    class Net(brainstate.nn.Module):
        def __init__(self):
            super().__init__()
            self.group = LIF(NUM)
            self.delay = brainstate.nn.Delay(jax.ShapeDtypeStruct((NUM,), bool), 2.0 * u.ms)
            self.syn = brainpy.state.DeltaProj(comm=fixed_prob(brainstate, rng, NUM, NUM, 0.2, -1.0 * u.mV), post=self.group)

        def update(self, t, i):
            with brainstate.environ.context(t=t, i=i):
                steps = jax.numpy.asarray(2.0 * u.ms / brainstate.environ.get_dt(), dtype=int)
                self.syn(self.delay.retrieve_at_step(steps) * 1.0)
                spike = self.group()
                self.delay(spike)
                return spike

    with brainstate.environ.context(dt=0.1 * u.ms):
        net = Net()
        brainstate.nn.init_all_states(net)
        times = u.math.arange(0.0 * u.ms, 100.0 * u.ms, brainstate.environ.get_dt())
        return {"spikes": total(brainstate.transform.for_loop(net.update, times, u.math.arange(times.size)))}
