"""A Hodgkin-Huxley neuron of one's own, in a conductance-based network (as example 106)."""

import brainunit as u
import numpy as np

from .connections import fixed_prob, total, uniform

EXC, INH = 160, 40
AREA = (20000 * u.um**2).in_unit(u.cm**2)
CM, GL = 1 * u.uF / u.cm**2 * AREA, 5e-5 * u.siemens / u.cm**2 * AREA
GNA, GKD = 100 * u.mS / u.cm**2 * AREA, 30 * u.mS / u.cm**2 * AREA
EL, ENA, EK, VT = -60.0 * u.mV, 50.0 * u.mV, -90.0 * u.mV, -63.0 * u.mV


def run(brainstate, brainpy, braintools):
    rng = np.random.default_rng(3)

    class HH(brainpy.state.Neuron):
        def init_state(self, *args, **kwargs):
            start = uniform(rng, -75.0, -55.0, self.varshape)
            self.V = brainstate.HiddenState(braintools.init.param(start, self.varshape))
            for name in ("m", "n", "h"):
                setattr(self, name, brainstate.HiddenState(u.math.zeros(self.varshape)))
            self.spike = brainstate.HiddenState(u.math.zeros(self.varshape, dtype=bool))

        def dV(self, V, m, h, n, x):
            ionic = GL * (V - EL) + GNA * m**3 * h * (V - ENA) + GKD * n**4 * (V - EK)
            return (self.sum_current_inputs(x, V) - ionic) / CM

        def rates(self, V):
            v = (V - VT) / u.mV
            return {
                "m": (0.32 * 4 / u.math.exprel((13 - v) / 4), 0.28 * 5 / u.math.exprel((v - 40) / 5)),
                "h": (0.128 * u.math.exp((17 - v) / 18), 4 / (1 + u.math.exp((40 - v) / 5))),
                "n": (0.032 * 5 / u.math.exprel((15 - v) / 5), 0.5 * u.math.exp((10 - v) / 40)),
            }

        def update(self, x=0.0 * u.mA):
            last = self.V.value
            V = brainstate.nn.exp_euler_step(self.dV, last, self.m.value, self.h.value, self.n.value, x)
            for name, (opening, closing) in self.rates(last).items():
                gate = getattr(self, name)
                gate.value = brainstate.nn.exp_euler_step(
                    lambda g, opening=opening, closing=closing: (opening * (1 - g) - closing * g) / u.ms, gate.value
                )
            self.spike.value = u.math.logical_and(last < -20.0 * u.mV, V >= -20.0 * u.mV)
            self.V.value = V
            return self.spike.value

    class EINet(brainstate.nn.Module):
        def __init__(self):
            super().__init__()
            num = EXC + INH
            self.N = HH(num)
            self.E, self.I = (
                brainpy.state.AlignPostProj(
                    comm=fixed_prob(brainstate, rng, size, num, 0.2, weight),
                    syn=brainpy.state.Expon(num, tau=tau), out=brainpy.state.COBA(E=E), post=self.N,
                )
                for size, weight, tau, E in (
                    (EXC, 12.0 * u.nS, 5.0 * u.ms, 0.0 * u.mV), (INH, 67.0 * u.nS, 10.0 * u.ms, -80.0 * u.mV),
                )
            )

        def update(self, t):
            with brainstate.environ.context(t=t):
                spikes = self.N.spike.value
                self.E(spikes[:EXC])
                self.I(spikes[EXC:])
                return self.N(0.1 * u.nA)

    with brainstate.environ.context(dt=0.04 * u.ms):
        net = EINet()
        brainstate.nn.init_all_states(net)
        times = u.math.arange(0.0 * u.ms, 100.0 * u.ms, brainstate.environ.get_dt())
        return {"spikes": total(brainstate.transform.for_loop(net.update, times))}
