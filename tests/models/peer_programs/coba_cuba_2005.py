"""Excitation and inhibition with refractory neurons, conductance- and current-based (as examples 103 and 104)."""

import brainunit as u
import numpy as np

from .connections import fixed_prob, total, uniform

EXC, INH = 400, 100


def run(brainstate, brainpy, braintools):
    counts = {}
    outputs = {
        "coba": (lambda E: brainpy.state.COBA(E=E), 6.0 * u.mS, 67.0 * u.mS, 0.1),
        "cuba": (lambda E: brainpy.state.CUBA(), 1.62 * u.mS, -9.0 * u.mS, 0.1),
    }
    for kind, (out, we, wi, prob) in outputs.items():
        rng = np.random.default_rng(2)

        class EINet(brainstate.nn.Module):
            def __init__(self, rng=rng, out=out, we=we, wi=wi, prob=prob):
                super().__init__()
                num = EXC + INH
                self.N = brainpy.state.LIFRef(
                    num, V_rest=-60.0 * u.mV, V_th=-50.0 * u.mV, V_reset=-60.0 * u.mV, tau=20.0 * u.ms, tau_ref=5.0 * u.ms,
                    V_initializer=uniform(rng, -62.0, -50.5, num),
                )
                self.E = brainpy.state.AlignPostProj(
                    comm=fixed_prob(brainstate, rng, EXC, num, prob, 0.1 * we),
                    syn=brainpy.state.Expon(num, tau=5.0 * u.ms), out=out(0.0 * u.mV), post=self.N,
                )
                self.I = brainpy.state.AlignPostProj(
                    comm=fixed_prob(brainstate, rng, INH, num, prob, 0.1 * wi),
                    syn=brainpy.state.Expon(num, tau=10.0 * u.ms), out=out(-80.0 * u.mV), post=self.N,
                )

            def update(self, t, inp):
                with brainstate.environ.context(t=t):
                    spikes = self.N.get_spike() != 0.0
                    self.E(spikes[:EXC])
                    self.I(spikes[EXC:])
                    self.N(inp)
                    return self.N.get_spike()

        with brainstate.environ.context(dt=0.1 * u.ms):
            net = EINet()
            brainstate.nn.init_all_states(net)
            times = u.math.arange(0.0 * u.ms, 200.0 * u.ms, brainstate.environ.get_dt())
            spikes = brainstate.transform.for_loop(lambda t, net=net: net.update(t, 20.0 * u.mA), times)
        counts[kind] = total(spikes)
    return counts
