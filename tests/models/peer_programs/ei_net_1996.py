"""Balanced excitation and inhibition: LIF with current-based synapses that are described and shared (as example 102)."""

import brainunit as u
import numpy as np

from .connections import fixed_prob, total, uniform

EXC = INH = 250
PROB = 0.2


def run(brainstate, brainpy, braintools):
    rng = np.random.default_rng(1)

    class EINet(brainstate.nn.Module):
        def __init__(self):
            super().__init__()
            num = EXC + INH
            self.N = brainpy.state.LIF(
                num, V_rest=-52.0 * u.mV, V_th=-50.0 * u.mV, V_reset=-60.0 * u.mV, tau=10.0 * u.ms,
                V_initializer=uniform(rng, -70.0, -50.0, num), spk_reset="soft",
            )
            strength = 1 / np.sqrt(PROB * EXC) * u.mS
            self.E, self.I = (
                brainpy.state.AlignPostProj(
                    comm=fixed_prob(brainstate, rng, EXC, num, PROB, sign * strength),
                    syn=brainpy.state.Expon.desc(num, tau=2.0 * u.ms),
                    out=brainpy.state.CUBA.desc(),
                    post=self.N,
                )
                for sign in (1, -1)
            )

        def update(self, inp):
            spikes = self.N.get_spike() != 0.0
            self.E(spikes[:EXC])
            self.I(spikes[EXC:])
            self.N(inp)
            return self.N.get_spike()

    with brainstate.environ.context(dt=0.1 * u.ms):
        net = EINet()
        brainstate.nn.init_all_states(net)
        times = u.math.arange(0.0 * u.ms, 200.0 * u.ms, brainstate.environ.get_dt())
        return {"spikes": total(brainstate.transform.for_loop(lambda t: net.update(3.0 * u.mA), times))}
