from __future__ import annotations

from typing import final

import brainunit as units
import jax.numpy as jnp

from dist_sim.nest.synapses.declared import Parameter, Variable
from dist_sim.nest.synapses.synapse import Synapse


@final
class tsodyks2_synapse(Synapse):
    r"""Short-term plasticity with depression and facilitation, from spike to spike.

    .. math:: x_{n+1} = 1 + (x_n - x_n u_n - 1) e^{-h / \tau_{rec}}, \qquad u_{n+1} = U + u_n (1 - U) e^{-h / \tau_{fac}}

    A spike passes on x u w. The first one finds the initial values; NEST's u is 0.5 unless it is given, whatever U is. tau_fac
    = 0: no facilitation.

    Source: Fuhrmann, Segev, Markram & Tsodyks (2002), doi:10.1152/jn.00258.2001; Maass & Markram (2002),
    doi:10.1016/S0893-6080(01)00144-7. Names, defaults and order of operations are NEST's. Checked against NEST 3.10.
    """

    tau_fac = Parameter(units.ms, 0.0, at_least=0.0, decays=True)
    tau_rec = Parameter(units.ms, 800.0, above=0.0, decays=True)
    U = Parameter(units.UNITLESS, 0.5, at_least=0.0, at_most=1.0)

    x = Variable(1.0, at_least=0.0, at_most=1.0)
    u = Variable(0.5, at_least=0.0, at_most=1.0)

    @staticmethod
    def on_pre(s, p, e):
        x = jnp.where(e.first, s.x, 1.0 + (s.x - s.x * s.u - 1.0) * e.decay.tau_rec)
        u = jnp.where(e.first, s.u, p.U + s.u * (1.0 - p.U) * e.decay.tau_fac)
        return {"x": x, "u": u}, x * u * s.weight
