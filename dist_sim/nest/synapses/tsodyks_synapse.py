from __future__ import annotations

from typing import final

import brainunit as units

from dist_sim.errors import ParameterError
from dist_sim.nest.synapses.declared import Parameter, Variable
from dist_sim.nest.synapses.synapse import Synapse


@final
class tsodyks_synapse(Synapse):
    r"""Short-term plasticity: resources that are recovered, active or inactive, and a release probability that spikes facilitate.

    Between spikes, with z = 1 - x - y,

    .. math:: \dot x = z / \tau_{rec}, \qquad \dot y = -y / \tau_{psc}, \qquad \dot u = -u / \tau_{fac}

    exactly; a presynaptic spike adds U (1 - u) to u, moves u x from x to y and passes on u x w. tau_fac = 0: no facilitation,
    u = U. tau_psc is a parameter of the synapse: give the target's current the same one. The first spike finds what the
    initial values have become since time 0.

    Source: Tsodyks, Uziel & Markram (2000), doi:10.1523/JNEUROSCI.20-01-j0003.2000. Names, defaults and order of operations
    are NEST's. Checked against NEST 3.10.
    """

    tau_psc = Parameter(units.ms, 3.0, above=0.0, decays=True)
    tau_fac = Parameter(units.ms, 0.0, at_least=0.0, decays=True)
    tau_rec = Parameter(units.ms, 800.0, above=0.0, decays=True)
    U = Parameter(units.UNITLESS, 0.5, at_least=0.0, at_most=1.0)

    x = Variable(1.0, at_least=0.0, at_most=1.0)
    y = Variable(0.0, at_least=0.0, at_most=1.0)
    u = Variable(0.0, at_least=0.0, at_most=1.0)

    @classmethod
    def check(cls, p):
        if p["x"] + p["y"] > 1.0:
            raise ParameterError(f"{cls.__name__}(x={p['x']:g}, y={p['y']:g}): x + y must be at most 1.")
        if p["tau_psc"] == p["tau_rec"]:
            raise ParameterError(f"{cls.__name__}(tau_psc={p['tau_psc']:g} ms): must differ from tau_rec.")

    @staticmethod
    def on_pre(s, p, e):
        Pyy, Pzz = e.decay.tau_psc, e.decay.tau_rec
        Pxy = ((Pzz - 1.0) * p.tau_rec - (Pyy - 1.0) * p.tau_psc) / (p.tau_psc - p.tau_rec)
        u = s.u * e.decay.tau_fac
        x = s.x + Pxy * s.y + (1.0 - Pzz) * (1.0 - s.x - s.y)
        u = u + p.U * (1.0 - u)
        released = u * x
        return {"x": x - released, "y": s.y * Pyy + released, "u": u}, released * s.weight
