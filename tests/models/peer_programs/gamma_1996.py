"""Interneurons that oscillate together: a neuron and a synapse of one's own, all to all by CurrentProj (as example 107)."""

import brainunit as u
import numpy as np

from .connections import total, uniform

NUM = 50


def run(brainstate, brainpy, braintools):
    rng = np.random.default_rng(4)

    class Interneuron(brainpy.state.Neuron):
        def init_state(self, *args, **kwargs):
            self.V = brainstate.HiddenState(uniform(rng, -75.0, -60.0, self.varshape)(self.varshape))
            self.h = brainstate.HiddenState(braintools.init.param(braintools.init.Constant(0.6), self.varshape))
            self.n = brainstate.HiddenState(braintools.init.param(braintools.init.Constant(0.3), self.varshape))
            self.spike = brainstate.HiddenState(braintools.init.param(lambda s: u.math.zeros(s, dtype=bool), self.varshape))

        def dV(self, V, h, n, x):
            v = V / u.mV
            opening, closing = 1.0 / u.math.exprel(-0.1 * (v + 35)), 4 * u.math.exp(-(v + 60) / 18)
            m = opening / (opening + closing)
            ionic = 35 * u.mS * m**3 * h * (V - 55 * u.mV) + 9 * u.mS * n**4 * (V + 90 * u.mV) + 0.1 * u.mS * (V + 65 * u.mV)
            return (self.sum_current_inputs(x, V) - ionic) / (1.0 * u.uF)

        def dh(self, h, V):
            v = V / u.mV
            return 5 * (0.07 * u.math.exp(-(v + 58) / 20) * (1 - h) - h / (u.math.exp(-0.1 * (v + 28)) + 1)) / u.ms

        def dn(self, n, V):
            v = V / u.mV
            return 5 * (0.1 / u.math.exprel(-0.1 * (v + 34)) * (1 - n) - 0.125 * u.math.exp(-(v + 44) / 80) * n) / u.ms

        def update(self, x=0.0 * u.uA):
            V = brainstate.nn.exp_euler_step(self.dV, self.V.value, self.h.value, self.n.value, x)
            self.h.value = brainstate.nn.exp_euler_step(self.dh, self.h.value, V)
            self.n.value = brainstate.nn.exp_euler_step(self.dn, self.n.value, V)
            self.spike.value = u.math.logical_and(self.V.value < 20 * u.mV, V >= 20 * u.mV)
            self.V.value = V
            return V

    class Inhibition(brainpy.state.Synapse):
        def init_state(self, *args, **kwargs):
            self.g = brainstate.HiddenState(braintools.init.param(braintools.init.ZeroInit(), self.varshape))

        def update(self, V):
            opening = 12 / (1 + u.math.exp(-V / u.mV / 2))
            self.g.value = brainstate.nn.exp_euler_step(lambda g: (opening * (1 - g) - 0.1 * g) / u.ms, self.g.value)
            return self.g.value

    class GammaNet(brainstate.nn.Module):
        def __init__(self):
            super().__init__()
            self.neu, self.syn = Interneuron(NUM), Inhibition(NUM)
            self.proj = brainpy.state.CurrentProj(
                self.syn.prefetch("g"),
                comm=brainstate.nn.AllToAll(self.neu.varshape, self.neu.varshape, include_self=False, w_init=0.1 * u.mS / NUM),
                out=brainpy.state.COBA(E=-75.0 * u.mV),
                post=self.neu,
            )

        def update(self, t):
            with brainstate.environ.context(t=t):
                self.proj()
                self.syn(self.neu(1.0 * u.uA))
                return self.neu.spike.value

    net = GammaNet()
    brainstate.nn.init_all_states(net)
    with brainstate.environ.context(dt=0.02 * u.ms):
        times = u.math.arange(0.0 * u.ms, 100.0 * u.ms, brainstate.environ.get_dt())
        return {"spikes": total(brainstate.transform.for_loop(net.update, times))}
